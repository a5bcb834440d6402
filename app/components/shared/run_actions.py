"""What the buttons of runs do, as callbacks.

A callback comes before the page is drawn: a drawing that ends early, because the run store is busy
or another click came, does not lose the click.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec

import streamlit as st

from analysis.errors import AnalysisError
from analysis.runs.store import Run
from app.cache import run_queue
from app.literal import sentence
from app.state import session

P = ParamSpec("P")


def attempt(action: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Act; an error stays on the page until the next attempt."""
    session().comparison.action_error = ""
    try:
        action(*args, **kwargs)
    except AnalysisError as error:
        session().comparison.action_error = str(error)


def render_action_error() -> None:
    """Show why the last attempt failed, if it did."""
    if session().comparison.action_error:
        st.error(sentence(session().comparison.action_error))


def stop_runs(runs: Sequence[Run]) -> None:
    """Stop runs; the waiting ones first, so that none of them starts in between.

    Raises
    ------
    AnalysisError
        If one could not be stopped; the others are.
    """
    problem: AnalysisError | None = None
    for run in sorted(runs, key=lambda run: run.state == "running"):
        try:
            run_queue().stop(run.id)
        except AnalysisError as error:
            problem = error
    if problem is not None:
        raise problem
