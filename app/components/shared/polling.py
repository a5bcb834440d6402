"""Parts of a page that draw themselves again until what they wait for has come."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Protocol

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.jobs.jobs import Job
from app.cache import jobs
from app.state import session


def poll_until(draw: Callable[[], bool], *, pending: bool, every: float) -> None:
    """Draw a part of the page every few seconds until it is done, then draw the whole page.

    Parameters
    ----------
    draw : callable
        Draws the part and returns False; once what it waits for has come, returns True.
    pending : bool
        Whether there is something to wait for. If not, the part is drawn only once.
    every : float
        Seconds between two drawings.
    """

    # Streamlit identifies a fragment by its function's name: without `wraps` all would share one.
    @wraps(draw)
    def draw_once() -> None:
        if draw():
            st.rerun()

    # A timer may ask for the fragment while the whole page is drawn. Streamlit then drops what the
    # page has drawn of the fragment but not yet sent, the browser moves all that follows up by one
    # place, and the fragment overwrites its next neighbour. In a container it has no neighbour.
    with st.container():
        st.fragment(draw_once, run_every=every if pending else None)()


def redraw_page() -> None:
    """Draw the whole page, not only the part with the widget whose callback this is."""
    if draws_parts():
        st.rerun()


def redraw_parts(*keys: str) -> None:
    """Draw these parts of the page alone, in this order; for the end of a callback."""
    if draws_parts():
        # A late poll may carry the controls of a page that was left, which has other parts.
        with suppress(StreamlitAPIException):
            st.rerun([*keys])


def is_asked_by(part: str) -> bool:
    """Whether a control of this part alone asks for the run, or the whole page is drawn."""
    context = get_script_run_ctx()
    if context is None or not context.fragment_ids_this_run:
        return True
    try:
        own = context.fragment_storage.resolve_target(part)
    except StreamlitAPIException:  # there is no such part
        return False
    return own == context.fragment_ids_this_run


def draws_parts() -> bool:
    """Whether only parts of the page are drawn; in a callback, whether only they would be."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


class Waiting(Protocol):
    """What a session remembers of a job that it waits for."""

    stopped: bool


def stop_waiting(state: Waiting, job: Job) -> None:
    """Leave a job, which ends unless another session waits for it too; for a button's callback.

    A callback comes before the page is drawn: a drawing that ends early does not lose the click.
    """
    jobs().leave(job, session().id)
    state.stopped = True
    redraw_page()
