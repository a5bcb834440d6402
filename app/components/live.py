"""A group of fine-tunes while they run, and right after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

import plotly.graph_objects as go
import streamlit as st

from analysis.datasets import DATASETS
from analysis.errors import AnalysisError
from analysis.estimates import MemoryEstimate, MemoryRequest
from analysis.metrics import StepMetrics
from analysis.runs import Run
from analysis.strategies import STRATEGIES
from app.cache import estimates, run_queue
from app.charts.memory import memory_figure, memory_unit, size_text
from app.charts.tradeoff import RunPoint, tradeoff_figure
from app.charts.training import accuracy_figure, loss_figure
from app.components.run_names import (
    STATES,
    best_accuracy,
    curves_of,
    metrics_of,
    names_of,
    peak_bytes,
    steps_per_epoch,
    training_seconds,
)
from app.components.verdict import verdict_sentence
from app.state import appearance
from app.theme import PALETTES, chart_config

POLL_EVERY = 0.5  # seconds
CHART_HEIGHT = 290  # pixels
_RUNNING = "the running one"
_RECENT = 20  # steps by which the pace is judged

MEMORY_HELP = (
    "The most memory that tensors took in a step, measured on the first step and on one of each "
    "epoch. It counts tensors, not what the process or the libraries take besides: hover a bar "
    "for that. Dashed: predicted before the run."
)
FRONT_HELP = (
    "One point a run. The line joins the runs that no other run beats in both accuracy and cost "
    "(the Pareto front)."
)


def render_live(runs: Sequence[Run]) -> None:
    """Draw a group of runs, again and again for as long as one of them is not over."""
    ids = [run.id for run in runs]
    active = any(run.active for run in runs)

    def draw() -> None:
        try:
            now = {run.id: run for run in run_queue().store.runs()}
            current = [now[each] for each in ids if each in now]
            if active and not any(run.active for run in current):
                st.rerun()
            _render_group(current)
        except AnalysisError as error:
            st.error(str(error))

    st.fragment(draw, run_every=POLL_EVERY if active else None)()


def _render_group(runs: list[Run]) -> None:
    names = names_of(runs)
    for trouble in run_queue().problems():
        st.warning(trouble)
    with st.container(horizontal=True, key="live_tiles"):
        for run in runs:
            _render_tile(run, names[run.id])
    for run in runs:
        if run.state == "running":
            _render_running(run, names[run.id])
    waiting = [run for run in runs if run.state == "queued"]
    if waiting and st.button(
        f"Cancel {len(waiting)} waiting", key="cancel", icon=":material/cancel:", type="tertiary"
    ):
        for run in waiting:
            run_queue().stop(run.id)
    for run in runs:
        if run.state in ("failed", "interrupted"):
            st.error(f"**{names[run.id]}**: {run.error}")
        elif run.error:
            st.info(f"**{names[run.id]}**: {run.error}")
    sentence = verdict_sentence(runs)
    if sentence:
        st.markdown(sentence)
    render_curves(runs)
    left, right = st.columns(2, gap="medium")
    with left:
        _render_memory(runs, names)
    with right:
        render_tradeoff(runs, key="live")


def _render_tile(run: Run, name: str) -> None:
    accuracy = best_accuracy(run)
    value = "–" if math.isnan(accuracy) else f"{100 * accuracy:.1f} %"
    epochs = metrics_of(run).epochs
    note = STATES[run.state]
    if run.state == "running":
        note = f"epoch {len(epochs) + 1} of {run.options.recipe.epochs}" if epochs else "starting"
        if len(epochs) == run.options.recipe.epochs:
            note = "testing"
    elif run.result is not None:
        peak = peak_bytes(run)
        note = f"{run.result.seconds:.1f} s" + (f" · {size_text(peak)}" if peak else "")
    what = "Test accuracy" if run.result is not None else "Validation accuracy"
    st.metric(
        name,
        value,
        delta=note,
        delta_color="off",
        delta_arrow="off",
        help=f"{what}. Validation accuracy is shown while a run goes on; test accuracy, taken "
        "once with the last weights, when it is done. Below: training time and peak memory, both "
        "measured.",
        border=True,
    )


def _render_running(run: Run, name: str) -> None:
    metrics = metrics_of(run)
    total = run.options.recipe.epochs * steps_per_epoch(run)
    done = metrics.steps[-1].step if metrics.steps else 0
    if not metrics.steps:
        doing = "choosing the layers" if run.selection is None else "first step"
        text = f"{name}: getting ready ({doing})"
    else:
        text = f"{name}: step {done} of {total}{_pace(metrics.steps, total)}"
    bar, button = st.columns([6, 1], vertical_alignment="center")
    bar.progress(min(1.0, done / total), text=text)
    if run.stop_requested:
        button.button("Stopping …", key=f"stop_{run.id}", disabled=True, width="stretch")
    elif button.button(
        "Stop", key=f"stop_{run.id}", icon=":material/stop_circle:", width="stretch"
    ):
        run_queue().stop(run.id)
        st.rerun(scope="fragment")


def _pace(steps: Sequence[StepMetrics], total: int) -> str:
    recent = steps[-_RECENT:]
    if len(recent) < 3:
        return ""
    each = [b.seconds - a.seconds for a, b in pairwise(recent)]
    typical = max(median(each), 1e-6)
    # Validation and sampled steps take time as well: the mean of all steps so far tells.
    left = (total - steps[-1].step) * steps[-1].seconds / steps[-1].step
    return f" · {recent[-1].images / typical:,.0f} images/s · about {max(1, left):.0f} s left"


def render_curves(runs: Sequence[Run], *, by_strategy: bool = True) -> None:
    """Draw accuracy and loss over the epochs; runs of one strategy may share its colour."""
    curves, palette = curves_of(runs, by_strategy=by_strategy), PALETTES[appearance()]
    epochs = max((run.options.recipe.epochs for run in runs), default=1)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(
            "**Accuracy**",
            help="Thick: share of validation images that are classified right, after each epoch. "
            "Faint: of the training images of each step, smoothed.",
        )
        _chart(
            accuracy_figure(curves, epochs=epochs, palette=palette, height=CHART_HEIGHT),
            "accuracy", "Accuracy by epoch",
        )  # fmt: skip
    with right:
        st.markdown(
            "**Loss**",
            help="Mean cross-entropy, in nats. Thick: of validation images. Dotted and faint: of "
            "training images. Training loss that falls while validation loss rises is overfitting.",
        )
        _chart(
            loss_figure(curves, epochs=epochs, palette=palette, height=CHART_HEIGHT),
            "loss", "Loss by epoch",
        )  # fmt: skip


def _render_memory(runs: list[Run], names: dict[str, str]) -> None:
    running = next((run for run in runs if run.state == "running"), None)
    measured = [run for run in runs if metrics_of(run).memory]
    st.markdown("**Memory by kind**", help=MEMORY_HELP)
    shown = running or (measured[0] if measured else runs[0])
    if len(runs) > 1:
        chosen = st.selectbox(
            "Memory of",
            [*([_RUNNING] if running else []), *names],
            key="memory_of",
            format_func=lambda each: names.get(each, each),
            label_visibility="collapsed",
        )
        shown = next((run for run in runs if run.id == chosen), shown)
    whole = estimates().get(_full_request(shown))
    _chart(
        memory_figure(
            metrics_of(shown).memory,
            shown.selection.predicted if shown.selection else None,
            whole.peak if isinstance(whole, MemoryEstimate) and _partial(shown) else None,
            planned=_planned_samples(shown),
            palette=PALETTES[appearance()],
            height=CHART_HEIGHT,
        ),
        "memory", f"Memory by kind of {names[shown.id]}",
    )  # fmt: skip


def render_tradeoff(
    runs: Sequence[Run], *, key: str, on_pick: Callable[[str], None] | None = None
) -> None:
    """Draw accuracy against memory or time; a click on a point hands its run's id on."""
    st.markdown("**Accuracy against cost**", help=FRONT_HELP)
    cost = st.segmented_control(
        "Cost",
        ["peak memory", "training time"],
        default="peak memory",
        required=True,
        key=f"{key}_cost",
        label_visibility="collapsed",
    )
    chart = f"chart_{key}_tradeoff"

    def pick() -> None:
        points = st.session_state[chart].selection.points
        if on_pick is not None and points:
            on_pick(points[-1]["customdata"][0])

    st.plotly_chart(
        tradeoff(runs, cost),
        key=chart,
        on_select=pick if on_pick is not None else "ignore",
        selection_mode="points",
        theme=None,
        config=chart_config(f"bettiscope-{key}-tradeoff"),
        alt=f"Accuracy against {cost}",
    )


def tradeoff(runs: Sequence[Run], cost: str) -> go.Figure:
    """Accuracy against "peak memory" or "training time", one point a run."""
    names = names_of(runs)
    scale, unit = 1.0, "s"
    costs = {run.id: training_seconds(run) for run in runs}
    if cost == "peak memory":
        peaks = {run.id: peak_bytes(run) for run in runs}
        costs = {each: math.nan if peak is None else float(peak) for each, peak in peaks.items()}
        finite = [value for value in costs.values() if not math.isnan(value)]
        unit, scale = memory_unit(max(finite, default=1e6))
    points = [
        RunPoint(
            run.id,
            names[run.id],
            STRATEGIES[run.options.strategy].title
            if run.options.strategy in STRATEGIES
            else run.options.strategy,
            run.options.recipe.seed,
            costs[run.id] / scale,
            best_accuracy(run),
        )
        for run in runs
    ]
    return tradeoff_figure(
        points,
        x_title=cost.capitalize(),
        unit=unit,
        y_title="Test accuracy" if all(run.result for run in runs) else "Accuracy so far",
        strategies=[strategy.title for strategy in STRATEGIES.values()],
        palette=PALETTES[appearance()],
        height=CHART_HEIGHT,
    )


def _partial(run: Run) -> bool:
    return run.options.strategy != "full"


def _full_request(run: Run) -> MemoryRequest:
    return MemoryRequest(
        model=run.options.analysis.model,
        classes=len(DATASETS[run.options.analysis.dataset].class_names),
        scope="everything",
        recipe=run.options.recipe,
    )


def _planned_samples(run: Run) -> int:
    first = 1 if steps_per_epoch(run) > 1 else 0
    return first + run.options.recipe.epochs


def _chart(figure: go.Figure, name: str, alt: str) -> None:
    st.plotly_chart(
        figure, key=f"chart_{name}", theme=None, config=chart_config(f"bettiscope-{name}"), alt=alt
    )
