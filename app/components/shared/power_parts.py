"""The parts of Compare that a moved power draws again, and nothing else."""

from __future__ import annotations

import streamlit as st

from app.components.shared.polling import draws_parts
from app.state import session

NORMALIZATION, LAYER, RANKINGS = "normalization", "layer_choice", "rankings"
_WIDGET = "normalization"


def redraw_power_parts(normalization: str) -> None:
    """Choose the normalisation of the powers, and draw it; to be called when one moved."""
    session().uploads.choose(_WIDGET, normalization)
    if draws_parts():
        st.rerun([NORMALIZATION, LAYER, RANKINGS])


def take_moved_power() -> bool:
    """Set the sidebar's control of the normalisation as a power asks for; whether one does."""
    moved = session().uploads.widget_values.pop(_WIDGET, None)
    if moved is not None:
        st.session_state[_WIDGET] = moved
    return moved is not None
