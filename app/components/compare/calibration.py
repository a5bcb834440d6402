"""Whether the rotation test is exact: its p-values on Gaussian clouds, computed while one looks."""

from __future__ import annotations

import streamlit as st

from analysis.text import plural
from app.cache.compare import CALIBRATION_BLOCK, CALIBRATION_CLOUDS, calibration_chart, calibrations
from app.charts.once import drawn_once
from app.state import appearance, session
from app.theme import chart_config

_EVERY = 0.4  # seconds
EXPLANATION = (
    "Each cloud is 16 to 32 Gaussian points in 2 to 2,000 dimensions, so that there is nothing to "
    "find: an exact test gives a p of at most 0.05 in 5 % of them, of at most 0.5 in half."
)


def render_calibration() -> None:
    """Draw the button, and the chart as far as it has got."""
    state = session().tests
    st.markdown("**Is the test right?**")
    st.caption(EXPLANATION)
    running = state.calibrating and state.calibrated < CALIBRATION_CLOUDS
    st.button(
        "Stop" if running else f"Test {CALIBRATION_CLOUDS} Gaussian clouds",
        key="calibrate",
        icon=":material/stop_circle:" if running else ":material/check_circle:",
        on_click=_stop if running else _begin,
    )
    # The fragment itself ends its timer: the page is drawn again once all clouds are tested.
    with st.container():  # see `poll_until`
        st.fragment(_draw, run_every=_EVERY if running else None)()


def _begin() -> None:
    state = session().tests
    if state.calibrated >= CALIBRATION_CLOUDS:
        state.calibrated = 0
    state.calibrating = True


def _stop() -> None:
    session().tests.calibrating = False


def _draw() -> None:
    state = session().tests
    if state.calibrating and state.calibrated < CALIBRATION_CLOUDS:
        state.calibrated += CALIBRATION_BLOCK
        if state.calibrated >= CALIBRATION_CLOUDS:
            calibrations(state.calibrated)
            state.calibrating = False
            st.rerun()
    if not state.calibrated:
        return
    found = calibrations(state.calibrated)
    wrong = sum(one.asymptotic for one in found) / len(found)
    st.plotly_chart(
        drawn_once(calibration_chart(len(found), appearance())),
        key="calibration",
        theme=None,
        config=chart_config("bettiscope-calibration"),
        alt="Share of Gaussian clouds with a p of at most each value; exact is the diagonal",
    )
    st.caption(
        f"{plural(len(found), 'cloud')}; ties of b₁ are broken at random. Bobrowski and Skraba's "
        f"test finds a loop in {100 * wrong:.1f} % of them."
    )
