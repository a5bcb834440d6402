"""Charts of runs that several pages show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import mean

import plotly.graph_objects as go
import streamlit as st

from analysis.runs.standings import comparison_key
from analysis.runs.store import Run
from analysis.text import size_unit
from app.charts.once import drawn_once
from app.charts.tradeoff import RunPoint, tradeoff_figure
from app.charts.training import accuracy_figure, loss_figure
from app.components.shared.run_groups import RunGroup, chosen_groups, curve_of, spread
from app.components.shared.run_names import peak_bytes, training_seconds
from app.components.shared.saving import figure_to_save, settings_of_runs
from app.state import appearance, session
from app.theme import PALETTES

HEIGHT = 290  # pixels
FRONT_HELP = (
    "A colour is a strategy, and a symbol one of its settings: means over seeds, ± standard "
    "deviation, with the cost of choosing. The line (the Pareto front) joins those no other beats."
)
MEMORY_HELP = (
    "The most memory that tensors took in a step: measured, and dashed as predicted before the "
    "run. Hover over a bar to see the memory of the whole process, and what the kept results of "
    "frozen layers take, which are not in the bar."
)
MEMORY, TIME = "peak memory", "time"


def render_curves(runs: Sequence[Run]) -> None:
    """Draw accuracy and loss by epoch; the runs of one strategy share its colour."""
    palette = PALETTES[appearance()]
    curves = [curve_of(group) for group in chosen_groups(runs)]
    epochs = max((run.options.recipe.epochs for run in runs), default=1)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(
            "**Accuracy**",
            help="Thick: validation images, after each epoch; faint: training images, smoothed. "
            "Of several seeds the mean, in a band of ± one standard deviation.",
        )
        draw_chart(
            accuracy_figure(curves, epochs=epochs, palette=palette, height=HEIGHT),
            "accuracy", "Accuracy by epoch", runs,
        )  # fmt: skip
    with right:
        st.markdown(
            "**Loss**",
            help="Cross-entropy. Where the loss of training images (faint, dotted) falls and that "
            "of validation images (thick) rises, the model overfits.",
        )
        draw_chart(
            loss_figure(curves, epochs=epochs, palette=palette, height=HEIGHT),
            "loss", "Loss by epoch", runs,
        )  # fmt: skip


def render_tradeoff(
    runs: Sequence[Run], *, key: str, on_pick: Callable[[str], None] | None = None
) -> None:
    """Draw accuracy against memory or time; a click calls `on_pick` for each run of a point."""
    st.markdown("**Accuracy against cost**", help=FRONT_HELP)
    cost = st.segmented_control(
        "Cost", [MEMORY, TIME], default=MEMORY, required=True, key=f"{key}_cost",
        label_visibility="collapsed",
    )  # fmt: skip
    # Each click makes a new chart: otherwise the point would stay selected, and the next click
    # on it would only remove the selection.
    chart = f"chart_{key}_tradeoff_{session().comparison.table_version if on_pick else 0}"

    def pick() -> None:
        points = st.session_state[chart].selection.points
        if on_pick is not None and points:
            for run_id in points[-1]["customdata"][0].split():
                on_pick(run_id)

    done = [run for run in runs if run.result is not None]
    what = f"accuracy-against-{cost.replace(' ', '-')}"
    figure, config = figure_to_save(tradeoff(runs, cost), what, *settings_of_runs(done or runs))
    st.plotly_chart(
        figure,
        key=chart,
        on_select=pick if on_pick is not None else "ignore",
        selection_mode="points",
        theme=None,
        config=config,
        alt=f"Accuracy against {cost}",
    )


def tradeoff(runs: Sequence[Run], cost: str) -> go.Figure:
    """Test accuracy against `MEMORY` or `TIME`, one point per setting with finished runs."""
    done = [run for run in runs if run.result is not None]
    unit, scale = "s", 1.0
    costs = {
        run.id: training_seconds(run) + (run.selection.seconds if run.selection else math.nan)
        for run in done
    }
    if cost == MEMORY:
        costs = {run.id: peak_bytes(run) for run in done}
        measured = [value for value in costs.values() if not math.isnan(value)]
        unit, scale = size_unit(max(measured, default=1e6))
    points = [
        _point(group, [costs[run.id] / scale for run in group.runs])
        for group in chosen_groups(done)
    ]
    return tradeoff_figure(
        points,
        x_title=f"{cost.capitalize()}, choosing included",
        unit=unit,
        y_title="Test accuracy",
        front=len({comparison_key(run) for run in done}) < 2,
        palette=PALETTES[appearance()],
        height=HEIGHT,
    )


def _point(group: RunGroup, costs: list[float]) -> RunPoint:
    accuracies = [run.result.test_accuracy for run in group.runs if run.result is not None]
    first, count = group.runs[0].options.recipe.seed, len(group.runs)
    return RunPoint(
        " ".join(run.id for run in group.runs),
        group.name,
        group.strategy,
        f"seed {first}" if count == 1 else f"mean of {count} seeds",
        mean(costs),
        mean(accuracies),
        cost_spread=spread(costs),
        accuracy_spread=spread(accuracies),
        variant=group.variant,
    )


def draw_chart(figure: go.Figure, name: str, alt: str, runs: Sequence[Run]) -> None:
    """Draw a figure of these runs without selections; its legend has one entry per name."""
    names: set[str] = set()
    for trace in figure.data:
        if trace.name in names:
            trace.showlegend = False
        elif trace.showlegend is not False:
            names.add(trace.name)
    figure, config = figure_to_save(figure, name.replace("_", "-"), *settings_of_runs(runs))
    st.plotly_chart(drawn_once(figure), key=f"chart_{name}", theme=None, config=config, alt=alt)
