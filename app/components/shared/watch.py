"""Notice what other sessions do to the runs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress

import streamlit as st

from analysis.errors import AnalysisError
from analysis.runs.store import Run
from app.cache import run_queue

EVERY = 3.0  # seconds; it costs one small query unless something happened


def watch_runs(runs: Sequence[Run]) -> None:
    """Draw the page again when a run was added, ended, deleted or restored elsewhere."""
    drawn = _states(runs)
    seen = [run_queue().store.revision()]

    def look() -> None:
        with suppress(AnalysisError):  # the page itself tells it
            revision = run_queue().store.revision()
            if revision != seen[0]:
                seen[0] = revision
                if _states(run_queue().store.runs()) != drawn:
                    st.rerun()

    st.fragment(look, run_every=EVERY)()


def _states(runs: Sequence[Run]) -> Hashable:
    return tuple((run.id, run.state) for run in runs)
