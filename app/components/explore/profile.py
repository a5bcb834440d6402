"""The layer profile on the page: all columns where there is room for them, else two."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.cache import profile, profile_titles
from app.charts.profile import COLUMNS, Column
from app.components.explore.saving import to_save
from app.state import Choice, Shown, appearance, choose_layer, session

NARROW: tuple[Column, ...] = ("b1", "score")


def render_profile(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw one row per layer; a click on a row opens it under the microscope."""
    open_row, look = _open_row(shown, choice, layer), appearance()
    for kind, columns in (("wide", COLUMNS), ("narrow", NARROW)):
        figure = profile(shown.key, choice, columns, look, open_row, rows)
        titles = profile_titles(shown.key, choice, columns, look, rows)
        with st.container(key=f"rows_and_titles_{kind}", gap=None):
            # A copy of the profile's own titles, which lies over them until the page scrolls.
            with st.container(key=f"titles_{kind}"):
                st.plotly_chart(
                    titles, key=f"titles_{kind}_chart", theme=None, config={"staticPlot": True}
                )
            with st.container(key=f"profile_{kind}", border=False):
                key = f"rows_{kind}"
                drawn, config = to_save(figure, "profile", shown, choice)
                st.plotly_chart(
                    drawn,
                    key=key,
                    on_select=lambda key=key: _open(key),
                    selection_mode="points",
                    theme=None,
                    config=config,
                    alt="Layer profile: one row per layer with its loops, score, clusters and cost",
                )


def _open_row(shown: Shown, choice: Choice, layer: str) -> str:
    """The row to draw as open. It changes only when the figure changes for another reason.

    The browser itself highlights a clicked row, and a new figure would lose the selection.
    """
    state = session().profile
    figure_key = (shown.key, choice, appearance())
    if state.figure_key != figure_key:
        state.figure_key, state.open_row = figure_key, layer
    return state.open_row


def _open(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:  # a second click on the same row empties the selection: the layer stays open
        choose_layer(points[-1]["customdata"][0])
