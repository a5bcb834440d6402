"""A grid while it runs: progress, buttons and the table of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec

import streamlit as st

from analysis.errors import AnalysisError
from analysis.options import RunOptions
from analysis.runs.records import SWEPT
from analysis.runs.store import Run
from analysis.selection.export import file_stem, run_settings, shared_settings
from analysis.sweeps.duels import duels, verdict
from analysis.sweeps.grid import DataChoice, Grid
from analysis.sweeps.progress import runs_of, states, time_left
from analysis.sweeps.table import as_csv, rows_of
from analysis.text import plural
from app.cache import run_queue
from app.components.grid.matrix import render_matrix, with_shown_name
from app.components.shared.polling import poll_until, redraw_page
from app.components.shared.run_actions import attempt, render_action_error, stop_runs
from app.components.shared.run_names import metrics_of, strategy_title
from app.components.shared.run_notes import render_notes
from app.components.shared.time_left import time_left_text
from app.components.shared.watch import watch_runs
from app.literal import literal, sentence

VERDICT_HELP = (
    "A pair is one model on one dataset; p is how often chance alone would be as one-sided. Above "
    "0.05 it proves little, the less as pairs share models and data."
)
POLL_EVERY = 1.0  # seconds
RunOfCell = Mapping[RunOptions, Run]
P = ParamSpec("P")
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
    file_name = f"{file_stem('grid', shared_settings(map(run_settings, cells))[0])}.csv"
    reader = _RunReader(cells)
    pending = any(run.active for run in reader.read()[1].values())

    def draw() -> bool:
        try:
            runs, run_of = reader.read()
            if pending and not any(run.active for run in run_of.values()):
                return True
            _render(grid, cells, runs, run_of, file_name)
        except AnalysisError as error:
            st.error(sentence(error))
        render_action_error()
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
    grid: Grid, cells: Sequence[RunOptions], runs: Sequence[Run], run_of: RunOfCell, file_name: str
) -> None:
    for problem in run_queue().problems():
        st.warning(sentence(problem))
    rows = rows_of(cells, run_of)
    decision = verdict(duels(rows))
    if decision:
        st.markdown(decision, help=VERDICT_HELP)
    _render_progress(cells, runs, run_of)
    _render_buttons(cells, run_of, file_name)
    render_matrix(grid, rows, cells, run_of)
    known = [run_of[cell] for cell in cells if cell in run_of]
    render_notes(known, {run.id: _cell_text(run) for run in known})
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
        text += f" · {time_left_text(time_left(left, runs), len(left))}"
    st.progress(counts.get("done", 0) / len(cells), text=text)
    running = next((run for run in run_of.values() if run.state == "running"), None)
    if running is not None:
        epochs = len(metrics_of(running).epochs)
        total = running.options.recipe.epochs
        st.caption(f"Now: {literal(_cell_text(running))}, {epochs} of {plural(total, 'epoch')}.")


def _render_buttons(cells: Sequence[RunOptions], run_of: RunOfCell, file_name: str) -> None:
    missing = [cell for cell in cells if cell not in run_of or run_of[cell].state in _LEFT]
    active = [run for run in run_of.values() if run.active]
    started = bool(run_of)
    with st.container(horizontal=True, key="grid_buttons"):
        verb = "Continue with" if started else "Start"
        st.button(
            f"{verb} {plural(len(missing), 'run')}" if missing else "Nothing to start",
            type="primary", icon=":material/play_arrow:", key="grid_start", disabled=not missing,
            help="Queue every run that is not done; done ones are kept. They run one after the "
            "other, and you can leave the page.",
            on_click=_act, args=(_start, missing, run_of),
        )  # fmt: skip
        if active:
            st.button(
                f"Stop {plural(len(active), 'run')}", icon=":material/stop_circle:",
                key="grid_stop",
                help="Stop the current run and remove the waiting ones. Done runs are kept, so you "
                "can continue later.",
                on_click=_act, args=(stop_runs, active),
            )  # fmt: skip
        st.download_button(
            "CSV", data=lambda: as_csv(cells, run_of),
            file_name=file_name,
            mime="text/csv", icon=":material/download:", key="grid_csv", on_click="ignore",
            help="Save one row per run: settings, state, accuracy, memory, times and the paper's "
            "claims.",
        )  # fmt: skip


def _start(cells: Sequence[RunOptions], run_of: RunOfCell) -> None:
    # Runs that were stopped before they began hold no results; the new ones replace them.
    empty = [run for run in run_of.values() if run.state == "stopped" and run.started is None]
    run_queue().store.delete([run.id for run in empty if run.is_grid_cell])
    run_queue().start(cells, group=f"{SWEPT}page")


def _act(action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Act, and draw the whole page: whether it polls has changed, and the form folds."""
    attempt(action, *args, **kwargs)
    redraw_page()


def _cell_text(run: Run) -> str:
    analysis = run.options.analysis
    data = with_shown_name(DataChoice.of_options(analysis))
    return f"{analysis.model} on {data}, {strategy_title(run)}, seed {run.options.recipe.seed}"
