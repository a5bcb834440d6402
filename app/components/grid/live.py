"""A grid while it runs: progress, buttons and the table of results."""

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
from app.components.grid.matrix import render_matrix, with_shown_name
from app.components.shared.polling import poll_until
from app.components.shared.run_names import metrics_of, strategy_title
from app.components.shared.watch import watch_runs
from app.literal import literal, sentence
from app.state import session

VERDICT_HELP = (
    "A pair is one model on one dataset; p is how often chance alone would be as one-sided. Above "
    "0.05 it proves little, the less as pairs share models and data."
)
POLL_EVERY = 1.0  # seconds
RunOfCell = Mapping[RunOptions, Run]
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
    """Draw a grid, and redraw it while one of its runs is active."""
    cells = grid.cells()
    reader = _RunReader(cells)
    pending = any(run.active for run in reader.read()[1].values())

    def draw() -> bool:
        try:
            runs, run_of = reader.read()
            if pending and not any(run.active for run in run_of.values()):
                return True
            _render(grid, cells, runs, run_of)
        except AnalysisError as error:
            st.error(sentence(error))
        if session().comparison.stop_error:
            st.error(sentence(session().comparison.stop_error))
        return False

    poll_until(draw, pending=pending, every=POLL_EVERY)
    if not pending:
        watch_runs(reader.read()[0])


class _RunReader:
    """The runs of a grid, read again only after the store has changed."""

    def __init__(self, cells: Sequence[RunOptions]) -> None:
        self._cells = cells
        self._revision: int | None = None
        self._known: tuple[list[Run], dict[RunOptions, Run]] = [], {}

    def read(self) -> tuple[list[Run], dict[RunOptions, Run]]:
        """Return all runs, and the run that counts for each cell."""
        store = run_queue().store
        revision = store.revision()
        if revision != self._revision:
            runs = store.runs()
            self._known, self._revision = (runs, runs_of(self._cells, runs)), revision
        return self._known


def _render(
    grid: Grid, cells: Sequence[RunOptions], runs: Sequence[Run], run_of: RunOfCell
) -> None:
    for problem in run_queue().problems():
        st.warning(sentence(problem))
    rows = rows_of(cells, run_of)
    decision = verdict(duels(rows))
    if decision:
        st.markdown(decision, help=VERDICT_HELP)
    _render_progress(cells, runs, run_of)
    _render_buttons(cells, run_of)
    render_matrix(grid, rows, cells, run_of)
    failed = [run for run in run_of.values() if run.state in ("failed", "interrupted")]
    if failed:
        with st.expander(f"Why {plural(len(failed), 'run')} did not finish"):
            for run in failed:
                st.markdown(f"**{literal(_cell_text(run))}**: {sentence(run.error)}")


def _render_progress(cells: Sequence[RunOptions], runs: Sequence[Run], run_of: RunOfCell) -> None:
    counts = states(cells, run_of)
    left = [cell for cell in cells if cell not in run_of or run_of[cell].state != "done"]
    parts = [f"{counts[state]} {word}" for state, word in _WORDS.items() if counts.get(state)]
    text = f"{plural(len(cells), 'run')}: {', '.join(parts)}"
    if left:
        text += f" · {_time_text(time_left(left, runs), len(left))}"
    st.progress(counts.get("done", 0) / len(cells), text=text)
    running = next((run for run in run_of.values() if run.state == "running"), None)
    if running is not None:
        epochs = len(metrics_of(running).epochs)
        total = running.options.recipe.epochs
        st.caption(f"Now: {literal(_cell_text(running))}, {epochs} of {plural(total, 'epoch')}.")


def _time_text(left: TimeLeft, cells: int) -> str:
    """The time left, estimated from earlier runs."""
    if left.unknown == cells:
        return "no estimate until a similar run has finished"
    text = f"about {duration_text(left.seconds)} left, estimated from earlier runs"
    if left.unknown:
        text += f", for {cells - left.unknown} of them; no similar run has finished for the others"
    return text


def _render_buttons(cells: Sequence[RunOptions], run_of: RunOfCell) -> None:
    missing = [cell for cell in cells if cell not in run_of or run_of[cell].state in _LEFT]
    active = [run for run in run_of.values() if run.active]
    started = bool(run_of)
    with st.container(horizontal=True, key="grid_buttons"):
        verb = "Continue with" if started else "Start"
        if st.button(
            f"{verb} {plural(len(missing), 'run')}" if missing else "Nothing to start",
            type="primary", icon=":material/play_arrow:", key="grid_start", disabled=not missing,
            help="Queue every run that is not done; done ones are kept. They run one after the "
            "other, and you can leave the page.",
        ):  # fmt: skip
            _attempt(lambda: _start(missing, run_of))
        if active and st.button(
            f"Stop {plural(len(active), 'run')}", icon=":material/stop_circle:", key="grid_stop",
            help="Stop the current run and remove the waiting ones. Done runs are kept, so you can "
            "continue later.",
        ):  # fmt: skip
            # The waiting ones first, so that none of them starts in between.
            ordered = sorted(active, key=lambda run: run.state == "running")
            _attempt(lambda: _stop(ordered))
        st.download_button(
            "CSV", data=lambda: as_csv(cells, run_of), file_name="bettiscope-grid.csv",
            mime="text/csv", icon=":material/download:", key="grid_csv", on_click="ignore",
            help="Save one row per run: settings, state, accuracy, memory, times and the paper's "
            "claims.",
        )  # fmt: skip


def _start(cells: Sequence[RunOptions], run_of: RunOfCell) -> None:
    # Runs that were stopped before they began hold no results; the new ones replace them.
    empty = [run for run in run_of.values() if run.state == "stopped" and run.started is None]
    run_queue().store.delete([run.id for run in empty if run.is_grid_cell])
    run_queue().start(cells, group=f"{SWEPT}page")


def _stop(runs: Sequence[Run]) -> None:
    for run in runs:
        run_queue().stop(run.id)


def _attempt(action: Callable[[], object]) -> None:
    """Act and redraw the page; an error stays on it until the next attempt."""
    session().comparison.stop_error = ""
    try:
        action()
    except AnalysisError as error:
        session().comparison.stop_error = str(error)
    st.rerun()


def _cell_text(run: Run) -> str:
    analysis = run.options.analysis
    data = with_shown_name(DataChoice.of_options(analysis))
    return f"{analysis.model} on {data}, {strategy_title(run)}, seed {run.options.recipe.seed}"
