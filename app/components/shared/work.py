"""Long work that a button starts: the button, then its progress with Stop, then the result."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from app.cache import jobs
from app.components.shared.polling import poll_until, stop_waiting
from app.literal import sentence
from app.state import Work, session

_POLL = 0.3  # seconds


def result_of_work(name: str, request: Hashable) -> object:
    """What the work gave, until the page is left; None if it is not done."""
    job = session().work.get(name, Work()).job
    return job.result if job is not None and job.request == request else None


def render_work(
    name: str, request: Hashable, *, label: str, icon: str, primary: bool = True
) -> None:
    """Draw the button that starts some work, or the progress of the work.

    Parameters
    ----------
    name : str
        Different from that of any other work; a part of the keys of its widgets.
    request : hashable
        Of a type in `analysis.worker.ANSWERS`.
    label, icon : str
        Of the button.
    primary : bool
        Whether the button stands out.
    """
    work = session().work.setdefault(name, Work())
    job = work.job
    if job is None or job.request != request or job.state != "running" or work.stopped:
        if job is not None and job.request == request:
            if job.state == "failed":
                st.error(sentence(job.error), title="This failed")
            elif work.stopped or job.state == "stopped":
                st.info(f"Stopped. Press **{label}** to start again.")
        st.button(
            label,
            key=f"start_{name}",
            icon=icon,
            type="primary" if primary else "secondary",
            on_click=start_work,
            args=(name, request),
        )
        return

    def draw() -> bool:
        return _render_progress(name)

    draw.__qualname__ = f"progress_of_{name}"  # Streamlit tells fragments apart by it
    poll_until(draw, pending=True, every=_POLL)


def start_work(name: str, request: Hashable) -> None:
    """Start some work, or join it if it runs for another session."""
    work = session().work.setdefault(name, Work())
    if work.job is not None and not work.stopped:
        jobs().leave(work.job, session().id)
    work.job, work.stopped = jobs().start(request, session().id), False


def _render_progress(name: str) -> bool:
    work = session().work[name]
    job = work.job
    if job is None or job.state != "running":
        return True
    jobs().watch(job, session().id)
    bar, button = st.columns([5, 1], vertical_alignment="center")
    progress = job.progress
    if progress is None:
        bar.progress(0.0, text="Getting ready")
    else:
        left = job.seconds_left
        wait = f" · about {left:.0f} s left" if left is not None and left >= 1 else ""
        share = min(1.0, progress.done / max(1, progress.total))
        bar.progress(share, text=sentence(f"{progress.stage}: {progress.layer}{wait}"))
    button.button(
        "Stop", key=f"stop_{name}", icon=":material/stop_circle:", width="stretch",
        on_click=stop_waiting, args=(work, job),
    )  # fmt: skip
    return False
