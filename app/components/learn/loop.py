"""The first step: a ring of points, which can be moved, and its loop."""

from __future__ import annotations

import streamlit as st

from analysis.text import plural
from analysis.topology.known_shapes import LEAST_RATIO, long_loops
from app.cache.learn import Cloud, Points, plane_cloud, ring, toy
from app.components.learn.frame import ask
from app.components.shared.live_microscope import draw_live, moved_points
from app.state import appearance

TITLE = "A loop is a way round a hole"
TEXT = (
    "Two points are joined when they are at most ε apart, and three joined points are filled. "
    "Drag ε, drag the points, or click to add some."
)
_KEY = "learn_loop"
_ANY = 10**9  # answers all reports
_START = 0.12  # of ε: before anything is joined


def render_loop() -> None:
    """Draw the step."""
    st.fragment(_render, key="learn_loop_step")()


def _render() -> None:
    points: Points = st.session_state.setdefault("learn_points", ring(0))
    cloud = plane_cloud(points)
    left, right = st.columns([3, 7], gap="medium")
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
        st.markdown(
            f"**Try it:** pull points out of the ring until no loop is left. Here a loop is long "
            f"if it dies at more than {LEAST_RATIO:g} times the ε of its birth."
        )


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


def _take_points() -> None:
    st.session_state["learn_points"], st.session_state["learn_report"] = moved_points(_KEY)


def _draw_ring() -> None:
    seed = st.session_state.get("learn_ring", 0) + 1
    st.session_state["learn_ring"] = seed
    st.session_state["learn_points"], st.session_state["learn_report"] = ring(seed), _ANY
