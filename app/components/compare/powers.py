"""The powers of a score: what the loops are divided by, and how much it counts."""

from __future__ import annotations

import streamlit as st

from analysis.selection.scores import (
    normalization_name,
    normalization_of,
)
from analysis.selection.sizes import SIZES
from app.state import Choice, session

HELP = (
    "Score = loops / (activations^α · parameters^β · FLOPs^γ · training memory^δ). Move a power to "
    "make a score of your own, or choose a named one in the sidebar."
)
_SYMBOLS = dict(zip(SIZES, "αβγδ", strict=True))
_SPAN, _STEP = 2.0, 0.25


def render_powers(choice: Choice) -> None:
    """Draw a slider for each power; they show the sidebar's normalisation, and set it."""
    powers = normalization_of(choice.normalization).powers
    st.caption(HELP)
    for column, (name, size) in zip(st.columns(len(SIZES)), SIZES.items(), strict=True):
        value = float(powers.get(name, 0.0))
        # Only where it differs: what is set is sent to the browser, and takes back a later move.
        if st.session_state.get(_key(name)) != value:
            st.session_state[_key(name)] = value
        column.slider(
            f"{_SYMBOLS[name]} · {size.title}",
            min(-_SPAN, value),
            max(_SPAN, value),
            value,  # of a slider with other ends, which starts anew
            step=_STEP,
            key=_key(name),
            on_change=_apply,
            help=f"{size.help} Above 0 favours small layers, below 0 large ones.",
        )


def no_power_moves(normalization: str | None) -> bool:
    """Whether a poll may draw the whole page, which was last drawn with this normalisation.

    Until the browser knows what a slider has set, its polls carry the normalisation from before,
    and the page would take back the move.
    """
    moved = "normalization" in session().uploads.widget_values
    return not moved and st.session_state.get("normalization") == normalization


def _key(name: str) -> str:
    return f"power_{name}"


def _apply() -> None:
    """Make the sliders the sidebar's normalisation, which links and runs carry.

    A poll may carry the move first, and draws no sidebar. The browser then asks for the page with
    the new power and the old normalisation, so this one is set no earlier than the page is drawn.
    """
    powers = {name: float(st.session_state[_key(name)]) for name in SIZES}
    session().uploads.choose("normalization", normalization_name(powers))
