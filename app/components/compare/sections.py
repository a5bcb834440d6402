"""The sections of the page Compare, of which one is drawn at a time, and the layer they mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pandas as pd
import streamlit as st

from analysis.selection.ranking import best_layer
from app.cache import layer_rows
from app.components.shared.layer_control import open_in_part, take_choice
from app.components.shared.polling import draws_parts, redraw_page
from app.components.shared.power_parts import LAYER
from app.literal import visible
from app.state import Choice, Shown

_STYLE = """<style>
@media (min-width: 641px) {
  [data-testid=stMainBlockContainer] { padding: 4.2rem 2.5rem 2.5rem; }
  h1 { padding-top: 0; }
  [data-testid=stLayoutWrapper]:has(> .st-key-layer_choice) { margin-left: auto; }
}
</style>"""


@dataclass(frozen=True)
class Section:
    question: str  # that it answers
    # Takes the analysis, its rows as ranked by the sidebar's choice, that choice, and the layer to
    # mark in every chart.
    render: Callable[[Shown, pd.DataFrame, Choice, str], None]


def set_layout() -> None:
    """Give the charts the room that other pages leave empty."""
    st.html(_STYLE)


def choose_section(sections: Mapping[str, Section]) -> Section:
    """Draw the choice of the section, and return the chosen one.

    The link carries the section's name as the control shows it, so keep it to one word.
    """
    names = list(sections)
    name = st.segmented_control(
        "Section",
        names,
        default=names[0],
        required=True,
        key="section",
        bind="query-params",
        label_visibility="collapsed",
    )
    return sections[name or names[0]]


def show_layer_choice(shown: Shown, choice: Choice) -> None:
    """Draw the choice of the layer that all charts of the page mark."""
    with st.container(width="content", key=LAYER):
        st.fragment(_render_layer_choice, key=LAYER)(shown, choice)


def _render_layer_choice(shown: Shown, choice: Choice) -> None:
    if draws_parts():  # a power has moved
        choice = replace(choice, normalization=st.session_state["normalization"])
    rows = layer_rows(shown.key, choice, shown.report)
    open_in_part(LAYER, best_layer(rows))
    st.selectbox(
        "Layer to mark in all charts",
        rows["layer"].tolist(),
        key="layer",
        on_change=_choose_layer,
        format_func=lambda name: visible(name) or "(model)",
        help="Choose a layer here, or click it in a chart. Explore opens the same layer.",
        width=340,
    )


def _choose_layer() -> None:
    if take_choice(LAYER):
        redraw_page()
