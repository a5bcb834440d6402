"""The first step: a ring of points, which can be moved, and its loop."""

from __future__ import annotations

import streamlit as st

from analysis.text import plural
from analysis.topology.known_shapes import LEAST_RATIO, long_loops
from app.cache.learn import Cloud, Points, plane_cloud, ring, toy
from app.charts.live import FRAME, MOST_POINTS
from app.components.learn.frame import ask, step_columns
from app.components.shared.glossary import linked
from app.components.shared.live_microscope import draw_live, moved_points
from app.state import appearance

TITLE = "A loop is a way round a hole"
TEXT = (
    f"Points at most {linked('ε', 'ε (epsilon)')} apart are joined, and three joined points are "
    "filled. Drag ε, "
    "drag the points, or click to add some."
)
LONG = f"A loop counts as long if it dies at more than {LEAST_RATIO:g} times the ε of its birth."
_KEY = "learn_loop"
_ANY = 10**9  # answers all reports
_START = 0.12  # of ε: before anything is joined


def render_loop() -> None:
    """Draw the step."""
    st.fragment(_render, key="learn_loop_step")()


def _render() -> None:
    points = _points()
    cloud = plane_cloud(points)
    left, right = step_columns()
    with left:
        guess = ask("loop", "As ε grows, how many loops will live long?", ["0", "1", "2", "many"])
        if guess is not None:
            _render_answer(guess, cloud)
        st.button("New ring", icon=":material/refresh:", on_click=_draw_ring)
    with right:
        data = toy(
            "ring",
            cloud,
            appearance(),
            version=str(hash(points)),
            quiet=guess is None,
            report=st.session_state.get("learn_report", _ANY),
            start=_START,
        )
        draw_live(data, key=_KEY, on_move=_take_points)


def _render_answer(guess: str, cloud: Cloud) -> None:
    count = long_loops(cloud.loops)
    with st.container(key="answer", gap="small"):
        st.metric(f"Long loops (you said {guess})", count)
        st.markdown(_story(cloud))
        st.markdown(f"{LONG} **Try it:** pull points out of the ring until no long loop is left.")


def _story(cloud: Cloud) -> str:
    """What is born and what dies, in numbers."""
    loops = cloud.loops
    if not len(loops):
        return f"{plural(len(cloud.distances), 'point')} and no loop: nothing closes round a hole."
    birth, death = loops[(loops[:, 1] / loops[:, 0]).argmax()]
    rest = len(loops) - 1
    others = (
        f" {plural(rest, 'other loop')} {'is' if rest == 1 else 'are'} shorter." if rest else ""
    )
    return (
        f"The longest loop is **born at ε = {birth:.2f}**, when edges close it, and **dies at "
        f"{death:.2f}**, when triangles fill it.{others}"
    )


def link_text(points: Points) -> str:
    """Points as a link carries them: "1,0.5;-0.25,0"."""
    return ";".join(f"{x:.3g},{y:.3g}" for x, y in points)


def linked_points(text: str) -> Points | None:
    """The points of a link; None if it has none that can be drawn."""
    try:
        pairs = [part.split(",") for part in text.split(";") if part]
        points = tuple((float(x), float(y)) for x, y in pairs)
    except ValueError:
        return None
    left, right, bottom, top = FRAME
    inside = all(left <= x <= right and bottom <= y <= top for x, y in points)
    return points if inside and len(points) <= MOST_POINTS else None


def _points() -> Points:
    """The points of this session: those of the link at first, or a ring."""
    if "learn_points" not in st.session_state:
        text = st.query_params.get("ring")
        linked = None if text is None else linked_points(text)
        if text is not None and linked is None:
            del st.query_params["ring"]
            st.toast(
                "The points of the link cannot be drawn, so a ring is shown. A link has up to "
                f"{MOST_POINTS} points, with x from {FRAME[0]:g} to {FRAME[1]:g} and y from "
                f"{FRAME[2]:g} to {FRAME[3]:g}, such as ring=1,0;0,1;-1,0;0,-1.",
                duration="infinite",
            )
        st.session_state["learn_points"] = ring(0) if linked is None else linked
    points: Points = st.session_state["learn_points"]
    return points


def _take_points() -> None:
    _set_points(*moved_points(_KEY))


def _draw_ring() -> None:
    seed = st.session_state.get("learn_ring", 0) + 1
    st.session_state["learn_ring"] = seed
    _set_points(ring(seed), _ANY)


def _set_points(points: Points, report: int) -> None:
    """Show other points, which the link then carries; the report is the one that they answer."""
    st.session_state["learn_points"], st.session_state["learn_report"] = points, report
    st.query_params["ring"] = link_text(points)
