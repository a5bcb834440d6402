"""A group of fine-tunes while they run, and afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median

import streamlit as st

from analysis.costs.training_memory import MemoryEstimate, MemoryRequest
from analysis.errors import AnalysisError
from analysis.runs.store import Run
from analysis.text import size_text
from analysis.training.metrics import StepMetrics
from app.cache import estimates, run_queue
from app.charts.memory import memory_figure
from app.components.shared.memory_tile import classes_of
from app.components.shared.motion import render_motion
from app.components.shared.polling import poll_until
from app.components.shared.run_actions import attempt, render_action_error, stop_runs
from app.components.shared.run_charts import (
    HEIGHT,
    MEMORY_HELP,
    draw_chart,
    render_curves,
    render_tradeoff,
)
from app.components.shared.run_groups import (
    RunGroup,
    chosen_groups,
    render_single_switch,
    spread,
)
from app.components.shared.run_names import (
    STATES,
    metrics_of,
    names_of,
    peak_use,
    settings_text,
    shown_accuracy,
    steps_per_epoch,
)
from app.components.shared.run_notes import render_notes
from app.components.shared.saving import render_figures_popover
from app.components.shared.verdict import render_verdict
from app.literal import literal, sentence
from app.state import appearance
from app.theme import PALETTES

POLL_EVERY = 1.0  # seconds
_RUNNING = "the current run"
_RECENT = 20  # steps from which the pace is estimated


def render_live(runs: Sequence[Run]) -> None:
    """Draw a group of runs, and redraw it while one of them is active."""
    ids = [run.id for run in runs]
    active = any(run.active for run in runs)

    def draw() -> bool:
        try:
            stored = {run.id: run for run in run_queue().store.runs()}
            group = [stored[run_id] for run_id in ids if run_id in stored]
            if not group or (active and not any(run.active for run in group)):
                return True
            _render_group(group)
        except AnalysisError as error:
            st.error(sentence(error))
        render_action_error()
        return False

    poll_until(draw, pending=active, every=POLL_EVERY)


def _render_group(runs: list[Run]) -> None:
    names = names_of(runs)
    for problem in run_queue().problems():
        st.warning(sentence(problem))
    with st.container(horizontal=True, vertical_alignment="center", key="live_settings"):
        st.caption(settings_text(runs[0]))
        render_figures_popover()
    render_single_switch(runs)
    with st.container(horizontal=True, key="live_tiles"):
        for group in chosen_groups(runs):
            _render_tile(group)
    for run in runs:
        if run.state == "running":
            _render_running(run, literal(names[run.id]))
    waiting = [run for run in runs if run.state == "queued"]
    if waiting:
        st.button(
            f"Cancel {len(waiting)} waiting",
            key="cancel",
            icon=":material/cancel:",
            type="tertiary",
            on_click=attempt,
            args=(stop_runs, waiting),
        )
    for run in runs:
        if run.state in ("failed", "interrupted"):
            st.error(f"**{literal(names[run.id])}**: {sentence(run.error)}")
        elif run.error:
            st.info(f"**{literal(names[run.id])}**: {sentence(run.error)}")
    render_notes(runs, names)
    render_verdict(runs)
    render_curves(runs)
    left, right = st.columns(2, gap="medium")
    with left:
        _render_memory(runs, names)
    with right:
        render_tradeoff(runs, key="live")
    if not any(run.active for run in runs):  # what is polled stays quick to draw
        render_motion(runs, names)


def _render_tile(group: RunGroup) -> None:
    value, note = tile_texts(group)
    st.metric(
        literal(group.name),
        value,
        delta=note,
        delta_color="off",
        delta_arrow="off",
        help="Accuracy on the validation images while a run is active, and on the test images once "
        "it is done. Training time and peak memory are measured.",
        border=True,
    )


def tile_texts(group: RunGroup) -> tuple[str, str]:
    """The accuracy of a group's tile, and the note below it.

    Of several seeds the mean over those that are done, else over those that have begun.
    """
    done = [run for run in group.runs if run.result is not None]
    shown = [run for run in done or group.runs if not math.isnan(shown_accuracy(run))]
    accuracies = [100 * shown_accuracy(run) for run in shown]
    value = f"{mean(accuracies):.1f}{_plus_minus(accuracies)} %" if shown else "–"
    parts = ["test" if done else "validation"] if shown else []
    if len(group.runs) > 1:
        parts.append(f"{len(shown)} of {len(group.runs)} seeds")
    if len(done) == len(group.runs):
        parts.append(f"{mean(run.result.seconds for run in done if run.result):.1f} s")
        peaks = [peak.total for run in done if (peak := peak_use(run))]
        parts += [size_text(max(peaks))] if peaks else []
    else:
        run = next((run for run in group.runs if run.state == "running"), None)
        states = dict.fromkeys(STATES[each.state] for each in group.runs if each.result is None)
        parts.append(_progress(run) if run else ", ".join(states))
    return value, " · ".join(parts)


def _plus_minus(values: Sequence[float]) -> str:
    return f" ± {spread(values):.1f}" if len(values) > 1 else ""


def _progress(run: Run) -> str:
    metrics, epochs = metrics_of(run), run.options.recipe.epochs
    if not metrics.steps:
        return "getting ready"
    if len(metrics.epochs) == epochs:
        return "testing"
    return f"epoch {len(metrics.epochs) + 1} of {epochs}"


def _render_running(run: Run, name: str) -> None:
    metrics = metrics_of(run)
    total = run.options.recipe.epochs * steps_per_epoch(run)
    done = metrics.steps[-1].step if metrics.steps else 0
    if not metrics.steps:
        doing = "choosing the layers" if run.selection is None else "first step"
        text = f"{name}: getting ready ({doing})"
    else:
        text = (
            f"{name}: step {done} of {total}{pace_text(metrics.steps, total, once=_runs_once(run))}"
        )
    bar, button = st.columns([6, 1], vertical_alignment="center")
    bar.progress(min(1.0, done / total), text=text)
    if run.stop_requested:
        button.button("Stopping …", key=f"stop_{run.id}", disabled=True, width="stretch")
    else:
        button.button(
            "Stop",
            key=f"stop_{run.id}",
            icon=":material/stop_circle:",
            width="stretch",
            help=f"Stop {name} now and keep its results so far.",
            on_click=attempt,
            args=(stop_runs, [run]),
        )


def _runs_once(run: Run) -> bool:
    frozen = run.selection.frozen_part if run.selection else None
    return frozen is not None and frozen.once


def pace_text(steps: Sequence[StepMetrics], total: int, *, once: bool = False) -> str:
    """How fast a training goes, and how long it still takes.

    If the frozen part runs only `once`, the first epoch is the slow one.
    """
    recent = steps[-_RECENT:]
    if len(recent) < 3:
        return ""
    durations = [b.seconds - a.seconds for a, b in pairwise(recent)]
    typical = max(median(durations), 1e-6)
    # The mean of several steps includes the time of validation and sampled steps.
    each, about = steps[-1].seconds / steps[-1].step, "at most" if once else "about"
    later = [step.seconds for step in steps if step.epoch > 1]
    if once and len(later) > 2:
        each, about = (later[-1] - later[0]) / (len(later) - 1), "about"
    left = (total - steps[-1].step) * each
    return f" · {recent[-1].images / typical:,.0f} images/s · {about} {max(1, left):.0f} s left"


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
            format_func=lambda option: names.get(option, option),
            label_visibility="collapsed",
        )
        shown = next((run for run in runs if run.id == chosen), shown)
    whole = estimates().known(
        _full_request(shown)
    )  # starts no prediction, as runs need the processor
    draw_chart(
        memory_figure(
            metrics_of(shown).memory,
            shown.selection.predicted if shown.selection else None,
            whole.peak if isinstance(whole, MemoryEstimate) and _partial(shown) else None,
            planned=_planned_samples(shown),
            palette=PALETTES[appearance()],
            height=HEIGHT,
        ),
        "memory", f"Memory by kind of {names[shown.id]}", [shown],
    )  # fmt: skip


def _partial(run: Run) -> bool:
    return run.options.strategy != "full"


def _full_request(run: Run) -> MemoryRequest:
    return MemoryRequest(
        model=run.options.analysis.model,
        classes=classes_of(run.options.analysis.dataset),
        scope="everything",
        recipe=run.options.largest_step,
        weights=run.options.analysis.weights,
        input_side=run.options.analysis.input_side,
    )


def _planned_samples(run: Run) -> int:
    first = 1 if steps_per_epoch(run) > 1 else 0
    return first + run.options.recipe.epochs
