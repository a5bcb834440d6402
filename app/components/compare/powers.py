"""The powers of a score: what the loops are divided by, and how much it counts."""

from __future__ import annotations

import streamlit as st

from analysis.selection.scores import (
    normalization_name,
    normalization_of,
)
from analysis.selection.sizes import SIZES
from app.state import Choice

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


def _key(name: str) -> str:
    return f"power_{name}"


def _apply() -> None:
    """Make the sliders the sidebar's normalisation, which links and runs carry."""
    powers = {name: float(st.session_state[_key(name)]) for name in SIZES}
    st.session_state["normalization"] = normalization_name(powers)
