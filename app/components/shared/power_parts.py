"""The parts of Compare that a moved power draws again, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app.components.shared.polling import redraw_parts
from app.state import session

NORMALIZATION, LAYER, RANKINGS = "normalization", "layer_choice", "rankings"
_WIDGET = "normalization"


def start_power_parts(draw_normalization: Callable[[], str]) -> str:
    """Draw the sidebar's normalisation, before any other part."""
    session().powers_of = ""
    with st.container():  # for the reason given in `poll_until`
        return st.fragment(draw_normalization, key=NORMALIZATION)()


def redraw_power_parts(normalization: str) -> None:
    """Choose the normalisation of the powers, and draw it; to be called when one moved."""
    if not session().powers_of:
        return  # a late poll carries sliders that are no longer on the page
    session().uploads.choose(_WIDGET, normalization)
    redraw_parts(NORMALIZATION, LAYER, RANKINGS)


def take_moved_power() -> bool:
    """Set the sidebar's control of the normalisation as a power asks for; whether one does."""
    moved = session().uploads.widget_values.pop(_WIDGET, None)
    if moved is not None:
        st.session_state[_WIDGET] = moved
    return moved is not None
