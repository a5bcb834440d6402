"""The control of the open layer, which lies in a part of its page.

Polls of other parts carry it too. What they carry may be from before a click that chose another
layer, and takes the control's callback: so only a run of the control's own part counts.
"""

from __future__ import annotations

import streamlit as st

from app.components.shared.polling import draws_parts, is_asked_by
from app.state import choose_layer, chosen_or, open_chosen_layer


def open_in_part(part: str, best: str) -> str:
    """The open layer, to be drawn in this part: the chosen one, else the best."""
    if draws_parts() and is_asked_by(part) and st.session_state["layer"] != chosen_or(best):
        choose_layer(st.session_state["layer"])  # a poll took the callback
        st.rerun()
    return open_chosen_layer(best)


def take_choice(part: str) -> bool:
    """Choose the layer that the control of this part shows, if it counts; for its callback."""
    counts = is_asked_by(part)
    if counts:
        choose_layer(st.session_state["layer"])
    return counts
