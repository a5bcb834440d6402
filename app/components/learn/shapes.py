"""The second step: shapes whose loops are known, and noise, which has loops too."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.text import p_value_text
from analysis.topology.known_shapes import SHAPES, long_loops
from analysis.topology.rotation import RotationTest
from app.cache.learn import Cloud, Known, known_cloud, known_test, toy
from app.charts.longest import longest_figure
from app.charts.once import drawn_once
from app.components.learn.frame import ask, step_columns
from app.components.learn.loop import LONG
from app.components.shared.glossary import linked
from app.components.shared.live_microscope import draw_live
from app.state import appearance, is_large
from app.theme import PALETTES, chart_config

TITLE = "Shapes with known answers"
TEXT = (
    f"{linked('b₁')} counts the {linked('loop', 'loops')} of a shape that nothing fills. Guess it, "
    "then see whether the points show it, and when noise hides it."
)
_ANSWERS = ["0", "1", "2", "3 or more"]
_DEFAULT = Known("Circle")
_BEFORE = (
    "**Pure noise has loops too.** Here is the longest one of each of {} clouds of noise, as wide "
    "in every direction as these points. Do these points have a longer one?"
)


def render_shapes() -> None:
    """Draw the step."""
    st.fragment(_render, key="learn_shapes_step")()


def _render() -> None:
    left, right = step_columns()
    with right:
        known = _choose()
    cloud = known_cloud(known)
    with left:
        guess = ask(known.shape, f"{known.shape}: what is b₁?", _ANSWERS)
        if guess is not None:
            _render_answer(guess, known, cloud)
        noise = st.empty()
    with right:
        data = toy(repr(known), cloud, appearance(), quiet=guess is None)
        draw_live(data | {"short": is_large()}, key="learn_shape")
    _render_noise(noise, known, revealed=guess is not None)  # last, since it may take seconds


def _choose() -> Known:
    """Draw the controls of the shape."""
    shape, points, noise, dimension = st.columns(4, vertical_alignment="bottom")
    return Known(
        shape.selectbox(
            "Shape",
            list(SHAPES),
            key="shape",
            bind="query-params",
        ),
        points.slider("Points", 20, 200, _DEFAULT.points, 10, key="points", bind="query-params"),
        noise.slider("Noise", 0.0, 0.5, _DEFAULT.noise, 0.05, key="noise", bind="query-params"),
        dimension.slider(
            "Dimensions", 2, 50, _DEFAULT.dimension, key="dimension", bind="query-params"
        ),
        st.session_state.get("learn_seed", 0),
    )


def _render_answer(guess: str, known: Known, cloud: Cloud) -> None:
    shape = SHAPES[known.shape]
    found = long_loops(cloud.loops)
    with st.container(key="answer", gap="small"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.metric(f"Long loops (you said {guess})", found, help=LONG)
            st.button(
                "Other points",
                icon=":material/refresh:",
                key="again",
                on_click=_draw_again,
                help="Draw other points of the same shape.",
            )
        st.markdown(f"By theory **b₁ = {shape.loops}**. {shape.why}")


def _render_noise(place: DeltaGenerator, known: Known, *, revealed: bool) -> None:
    """Draw the loops of pure noise, and how far they are; once revealed, the test against them."""
    test = known_test(known, partial(place.progress, text="Comparing with pure noise"))
    with place.container(gap="small"):
        st.markdown(_against_noise(test) if revealed else _BEFORE.format(test.draws))
        figure = longest_figure(
            float(test.observed[2]) if revealed else None,
            test.null[:, 2],
            palette=PALETTES[appearance()],
            height=100 if is_large() else 112,
        )
        st.plotly_chart(
            drawn_once(figure),
            key="longest",
            theme=None,
            config=chart_config("bettiscope-longest-loop"),
            alt="The longest loops of pure noise, and once you have guessed that of these points",
        )


def _against_noise(test: RotationTest) -> str:
    """What the rotation test says of the longest loop."""
    p = float(test.p[3])
    as_long = int((test.null[:, 2] >= test.observed[2]).sum())
    verdict = "More than noise" if p <= 0.05 else "Noise does that too"
    return (
        f"**{verdict}:** of {test.draws} clouds of pure noise, as wide in every direction, "
        f"{as_long} have a loop as long (p {p_value_text(p)}). They have "
        f"{np.mean(test.null[:, 0]):.0f} loops on average, these points {test.observed[0]:.0f}."
    )


def _draw_again() -> None:
    st.session_state["learn_seed"] = st.session_state.get("learn_seed", 0) + 1
