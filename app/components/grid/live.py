"""A grid's runs as they come: how many are done, what there is to press, and the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from analysis.errors import AnalysisError
from analysis.options import RunOptions
from analysis.runs.records import SWEPT
from analysis.runs.store import Run
from analysis.sweeps.duels import duels, verdict
from analysis.sweeps.grid import DataChoice, Grid
from analysis.sweeps.progress import TimeLeft, runs_of, states, time_left
from analysis.sweeps.table import as_csv, rows_of
from analysis.text import duration_text, plural
from app.cache import run_queue
from app.components.grid.matrix import named, render_matrix
from app.components.shared.polling import poll_until
from app.components.shared.run_names import metrics_of, strategy_title
from app.components.shared.watch import watch_runs
from app.state import session

VERDICT_HELP = (
    "A pair is one model on one dataset. The sign test says how often fair coins would fall as "
    "one-sidedly: p above 0.05 is what chance often gives. Pairs share models and data, so the "
    "true evidence is weaker still."
)
POLL_EVERY = 1.0  # seconds
Found = Mapping[RunOptions, Run]
_WORDS = {
    "done": "done",
    "running": "running",
    "queued": "waiting",
    "failed": "failed",
    "stopped": "stopped",
    "interrupted": "interrupted",
    "missing": "not started",
}
_LEFT = ("missing", "stopped", "failed", "interrupted")  # what Start and Continue queue


def render_grid(grid: Grid) -> None:
    """Draw a grid, again and again for as long as one of its runs is not over."""
    cells = grid.cells()
    held = _Reading(cells)
    pending = any(run.active for run in held.now()[1].values())

    def draw() -> bool:
        try:
            runs, found = held.now()
            if pending and not any(run.active for run in found.values()):
                return True
            _render(grid, cells, runs, found)
        except AnalysisError as error:
            st.error(str(error))
        if session().comparison.stop_error:
            st.error(session().comparison.stop_error)
        return False

    poll_until(draw, pending=pending, every=POLL_EVERY)
    if not pending:
        watch_runs(held.now()[0])


class _Reading:
    """The runs of a grid, read again only after the store has changed."""

    def __init__(self, cells: Sequence[RunOptions]) -> None:
        self._cells = cells
        self._revision: int | None = None
        self._known: tuple[list[Run], dict[RunOptions, Run]] = [], {}

    def now(self) -> tuple[list[Run], dict[RunOptions, Run]]:
        """All runs, and those that count for a cell."""
        store = run_queue().store
        revision = store.revision()
        if revision != self._revision:
            runs = store.runs()
            self._known, self._revision = (runs, runs_of(self._cells, runs)), revision
        return self._known


def _render(grid: Grid, cells: Sequence[RunOptions], runs: Sequence[Run], found: Found) -> None:
    for trouble in run_queue().problems():
        st.warning(trouble)
    rows = rows_of(cells, found)
    told = verdict(duels(rows))
    if told:
        st.markdown(told, help=VERDICT_HELP)
    _render_progress(cells, runs, found)
    _render_buttons(cells, found)
    render_matrix(grid, rows, cells, found)
    failed = [run for run in found.values() if run.state in ("failed", "interrupted")]
    if failed:
        with st.expander(f"Why {plural(len(failed), 'run')} did not get done"):
            for run in failed:
                st.markdown(f"**{_cell_text(run)}**: {run.error}")


def _render_progress(cells: Sequence[RunOptions], runs: Sequence[Run], found: Found) -> None:
    counts = states(cells, found)
    left = [cell for cell in cells if cell not in found or found[cell].state != "done"]
    parts = [f"{counts[state]} {word}" for state, word in _WORDS.items() if counts.get(state)]
    text = f"{plural(len(cells), 'run')}: {', '.join(parts)}"
    if left:
        text += f" · {_time_text(time_left(left, runs), len(left))}"
    st.progress(counts.get("done", 0) / len(cells), text=text)
    running = next((run for run in found.values() if run.state == "running"), None)
    if running is not None:
        epochs = len(metrics_of(running).epochs)
        total = running.options.recipe.epochs
        st.caption(f"Now: {_cell_text(running)}, {epochs} of {plural(total, 'epoch')}.")


def _time_text(left: TimeLeft, cells: int) -> str:
    """What is left to do takes, judged by earlier runs."""
    if left.unknown == cells:
        return "how long that takes is not known before one like them is done"
    text = f"about {duration_text(left.seconds)} left, judged by earlier runs"
    if left.unknown:
        text += f", for {cells - left.unknown} of them; the others are not like any that was done"
    return text


def _render_buttons(cells: Sequence[RunOptions], found: Found) -> None:
    missing = [cell for cell in cells if cell not in found or found[cell].state in _LEFT]
    active = [run for run in found.values() if run.active]
    started = bool(found)
    with st.container(horizontal=True, key="grid_buttons"):
        verb = "Continue with" if started else "Start"
        if st.button(
            f"{verb} {plural(len(missing), 'run')}" if missing else "Nothing to start",
            type="primary", icon=":material/play_arrow:", key="grid_start", disabled=not missing,
            help="Queues what is not done yet: one after the other, each in a process of its own. "
            "What is done is kept and not run again. You may leave the page.",
        ):  # fmt: skip
            _attempt(lambda: _start(missing, found))
        if active and st.button(
            f"Stop {plural(len(active), 'run')}", icon=":material/stop_circle:", key="grid_stop",
            help="Ends the run that goes on and takes back those that wait. What is done stays; "
            "Continue goes on from there.",
        ):  # fmt: skip
            # Those that wait first, lest one of them begins in between.
            waiting = sorted(active, key=lambda run: run.state == "running")
            _attempt(lambda: _stop(waiting))
        st.download_button(
            "CSV", data=lambda: as_csv(cells, found), file_name="bettiscope-grid.csv",
            mime="text/csv", icon=":material/download:", key="grid_csv", on_click="ignore",
            help="One row a run: settings, state, accuracy, memory measured and predicted, times "
            "and what the paper claims.",
        )  # fmt: skip


def _start(cells: Sequence[RunOptions], found: Found) -> None:
    # Those that were stopped before they began hold nothing, and would stand beside the new ones.
    empty = [run for run in found.values() if run.state == "stopped" and run.started is None]
    run_queue().store.delete([run.id for run in empty if run.swept])
    run_queue().start(cells, group=f"{SWEPT}page")


def _stop(runs: Sequence[Run]) -> None:
    for run in runs:
        run_queue().stop(run.id)


def _attempt(action: Callable[[], object]) -> None:
    """Do it and draw the page anew; what went wrong stays until the next attempt."""
    session().comparison.stop_error = ""
    try:
        action()
    except AnalysisError as error:
        session().comparison.stop_error = str(error)
    st.rerun()


def _cell_text(run: Run) -> str:
    analysis = run.options.analysis
    data = named(DataChoice.of_options(analysis))
    return f"{analysis.model} on {data}, {strategy_title(run)}, seed {run.options.recipe.seed}"
