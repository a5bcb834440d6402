"""The powers of a score: what the loops are divided by, and how much it counts."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.selection.scores import (
    normalization_name,
    normalization_of,
)
from analysis.selection.sizes import SIZES
from app.components.shared.polling import draws_parts
from app.components.shared.power_parts import redraw_power_parts
from app.state import Choice, session

HELP = (
    "Score = loops / (activations^α · parameters^β · FLOPs^γ · training memory^δ). Move a power to "
    "make a score of your own, or choose a named one in the sidebar."
)
_SYMBOLS = dict(zip(SIZES, "αβγδ", strict=True))
_SPAN, _STEP = 2.0, 0.25


def render_powers(choice: Choice) -> None:
    """Draw a slider for each power; they show the sidebar's normalisation, and set it."""
    powers = _powers(choice.normalization)
    st.caption(HELP)
    for column, (name, size) in zip(st.columns(len(SIZES)), SIZES.items(), strict=True):
        value = powers[name]
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


def current_choice(choice: Choice) -> Choice:
    """The choice of the page, with the normalisation of the sliders if one has moved since.

    The controls of the sidebar may be behind: see `no_power_moves`.
    """
    if draws_parts():
        shown, powers = session().powers_of, _moved()
        name = shown if powers == _powers(shown) else normalization_name(powers)
        choice = replace(choice, normalization=name)
    session().powers_of = choice.normalization
    return choice


def no_power_moves(normalization: str) -> bool:
    """Whether a poll may draw the whole page, whose rankings show this normalisation as chosen.

    Until the browser knows what a slider has set, its polls carry the normalisation from before,
    and the page would take back the move.
    """
    moved = "normalization" in session().uploads.widget_values
    return not moved and st.session_state.get("normalization") == normalization


def _key(name: str) -> str:
    return f"power_{name}"


def _powers(normalization: str) -> dict[str, float]:
    powers = normalization_of(normalization).powers
    return {name: float(powers.get(name, 0.0)) for name in SIZES}


def _moved() -> dict[str, float]:
    """The powers as the sliders have them now."""
    return {name: float(st.session_state[_key(name)]) for name in SIZES}


def _apply() -> None:
    """Make the sliders the sidebar's normalisation, which links and runs carry.

    A poll may carry the move first. The browser then asks for the rankings with the new power and
    the old normalisation, which is why they are drawn by the powers.
    """
    redraw_power_parts(normalization_name(_moved()))
