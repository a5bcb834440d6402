"""Redraw the page when another session changes the runs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress

from analysis.errors import AnalysisError
from analysis.runs.store import Run
from app.cache import run_queue
from app.components.shared.polling import poll_until

EVERY = 3.0  # seconds; one small query unless something changed


def watch_runs(runs: Sequence[Run]) -> None:
    """Redraw the page when a run is added, ended, deleted or restored elsewhere."""
    drawn = _states(runs)
    seen = [run_queue().store.revision()]

    def have_changed() -> bool:
        with suppress(AnalysisError):  # the page itself shows it
            revision = run_queue().store.revision()
            if revision != seen[0]:
                seen[0] = revision
                return _states(run_queue().store.runs()) != drawn
        return False

    poll_until(have_changed, pending=True, every=EVERY)


def _states(runs: Sequence[Run]) -> Hashable:
    return tuple((run.id, run.state) for run in runs)
