"""The proof: train on shifted images the layers chosen before the shift, and those chosen after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.costs.training_memory import MemoryEstimate
from analysis.datasets import dataset_spec
from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.runs.store import Run
from analysis.selection.drift import Drift
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.progress import runs_of, states, time_left
from analysis.text import plural, size_text
from app.cache import estimates, run_queue
from app.components.shared.memory_tile import classes_of, memory_request
from app.components.shared.polling import poll_until
from app.components.shared.run_actions import attempt, render_action_error, stop_runs
from app.components.shared.run_names import STATES
from app.components.shared.time_left import time_left_text
from app.components.shared.verdict import render_verdict
from app.literal import sentence
from app.state import Choice, Shown

FRESH, STALE = "adabet", "stale"
SEEDS, MOST_SEEDS = 3, 10
POLL_EVERY = 1.0  # seconds
WHAT = (
    "Trains on the images at severity {severity} twice per seed: the layers that they choose, and "
    "those that the clean images chose. Everything else is the same."
)
SEEDS_HELP = (
    "How many times each selection trains, each time with another order of images and another new "
    "classifier. Use three or more to compare them."
)
SAME = (
    "Both select the same layers at severity {severity}, so both would train the same network. "
    "Choose another severity or ρ."
)
COST_HELP = "Memory, predicted for one training step with {batch} images, without computing it."
Found = Mapping[RunOptions, Run]


def render_proof(shown: Shown, choice: Choice, found: Drift, shift: str, severity: int) -> None:
    """Draw what would be trained, the button, and what the runs show."""
    st.markdown("**Does the old selection still do?**")
    st.caption(WHAT.format(severity=severity))
    old, new = _selected(found, 0), _selected(found, severity)
    if why := _why_not(shown.options, old, new, severity):
        st.info(sentence(why))
        return
    seeds = st.number_input(
        "Seeds", 1, MOST_SEEDS, SEEDS, key="proof_seeds", bind="query-params", width=130,
        help=SEEDS_HELP,
    )  # fmt: skip
    planned = _plan(shown.options, choice, shift, severity, int(seeds))
    try:
        _render_runs(shown, planned, found, severity)
    except AnalysisError as error:
        st.error(sentence(error))
    render_action_error()


def _plan(
    options: AnalysisOptions, choice: Choice, shift: str, severity: int, seeds: int
) -> list[RunOptions]:
    """A run for each seed and selection; all choose by the images of the analysis on the page."""
    analysis = replace(options, shift=shift, severity=severity)
    images = min(RunOptions.train_samples, dataset_spec(options.dataset).sizes["train"])
    return [
        choice.apply_to(
            RunOptions(
                analysis=analysis,
                strategy=strategy,
                train_samples=images,
                recipe=Recipe(seed=(options.seed + k) % 2**32),
            )
        )
        for k in range(seeds)
        for strategy in (FRESH, STALE)
    ]


def _selected(found: Drift, severity: int) -> tuple[str, ...]:
    """The selected layers, best first."""
    rows = found.rows[severity]
    return tuple(rows.loc[rows["selected"]].sort_values("rank", kind="stable")["layer"])


def _why_not(
    options: AnalysisOptions, old: Sequence[str], new: Sequence[str], severity: int
) -> str:
    if not classes_of(options.dataset):
        return "The images are gone or have changed. Analyse again before you train."
    if untrainable := dataset_spec(options.dataset).why_untrainable:
        return untrainable
    if not old or not new:
        return "Nothing is selected, so there is nothing to train. Use a larger ρ."
    return SAME.format(severity=severity) if set(old) == set(new) else ""


def _render_runs(shown: Shown, planned: Sequence[RunOptions], found: Drift, severity: int) -> None:
    runs = run_queue().store.runs()
    run_of = runs_of(planned, runs)
    active = [run for run in run_of.values() if run.active]
    missing = [plan for plan in planned if plan not in run_of or run_of[plan].state not in _KEPT]
    if missing:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                f"Train {plural(len(missing), 'run')}",
                type="primary",
                icon=":material/play_arrow:",
                key="train_proof",
                help="The runs follow one another, and the page Runs shows them as well. You can "
                "leave the page.",
                on_click=attempt,
                args=(_queue, missing),
            )
            time = time_left_text(time_left(missing, runs), len(missing))
            st.caption(f"{time[:1].upper()}{time[1:]}.")
    _render_selections(shown, found, severity, planned[0].largest_step)
    if active:
        _render_progress(planned, active)
    for run in run_of.values():
        if run.state in ("failed", "interrupted"):
            st.error(sentence(run.error), title=STRATEGIES[run.options.strategy].title)
    render_verdict([run for run in run_of.values() if run.state == "done"])


_KEPT = ("done", "queued", "running")


def _queue(plans: Sequence[RunOptions]) -> None:
    run_queue().start(plans)


def _render_progress(planned: Sequence[RunOptions], active: Sequence[Run]) -> None:
    ids = {run.id for run in active}

    def draw() -> bool:
        runs = run_queue().store.runs()
        now = [run for run in runs if run.id in ids]
        if not any(run.active for run in now):
            return True
        counts = states(planned, runs_of(planned, runs))
        bar, button = st.columns([5, 1], vertical_alignment="center")
        parts = [f"{counts[state]} {word}" for state, word in STATES.items() if state in counts]
        bar.progress(
            counts.get("done", 0) / len(planned),
            text=f"{plural(len(planned), 'run')}: {', '.join(parts)}",
        )
        button.button(
            "Stop",
            key="stop_proof",
            icon=":material/stop_circle:",
            width="stretch",
            help="Stop these runs. Done ones are kept, so you can continue later.",
            on_click=attempt,
            args=(stop_runs, [run for run in now if run.active]),
        )
        return False

    poll_until(draw, pending=True, every=POLL_EVERY)


def _render_selections(shown: Shown, found: Drift, severity: int, recipe: Recipe) -> None:
    """Draw what either selection trains, and the memory predicted for it."""
    head = tuple(found.rows[0].loc[found.rows[0]["head"], "layer"])
    layers = {name: _selected(found, at) for name, at in ((FRESH, severity), (STALE, 0))}
    requests = {
        name: memory_request(shown, "layers", chosen + head, recipe)
        for name, chosen in layers.items()
    }
    pending = any(estimates().get(request) is None for request in requests.values())

    def draw() -> bool:
        answers: dict[str, MemoryEstimate | str | None] = {}
        for name, request in requests.items():
            answer = estimates().get(request)
            answers[name] = answer
        if pending and all(answer is not None for answer in answers.values()):
            return True
        table = [
            {
                "Strategy": STRATEGIES[name].title,
                "Predicted peak": _size(answers[name]),
                "Trains": ", ".join(layers[name] + head),
            }
            for name in (FRESH, STALE)
        ]
        st.dataframe(
            pd.DataFrame(table),
            hide_index=True,
            height="content",
            column_config={
                "Predicted peak": st.column_config.Column(
                    help=COST_HELP.format(batch=recipe.batch_size)
                )
            },
            alt="What either selection trains, and the memory predicted for it",
        )
        return False

    poll_until(draw, pending=pending, every=0.3)


def _size(answer: MemoryEstimate | str | None) -> str:
    if answer is None:
        return "…"
    return size_text(answer.peak.total) if isinstance(answer, MemoryEstimate) else "no prediction"
