"""The layer profile on the page: all columns on a wide screen, two on a phone."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.cache import TALL, profile
from app.charts.profile import COLUMNS, Column
from app.components.explore.saving import to_save
from app.state import Choice, Shown, appearance, choose_layer, session

HEIGHT = 960  # pixels of a profile that scrolls
NARROW: tuple[Column, ...] = ("b1", "score")
# With its wrapper, which keeps the height of a profile that scrolls.
_STYLE = """<style>
@media (max-width: 640px) {
  .st-key-profile_wide, [data-testid=stLayoutWrapper]:has(> .st-key-profile_wide) { display: none; }
}
@media (min-width: 641px) {
  .st-key-profile_narrow, [data-testid=stLayoutWrapper]:has(> .st-key-profile_narrow) {
    display: none;
  }
}
</style>"""


def render_profile(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw one row per layer; a click on a row opens it under the microscope."""
    st.html(_STYLE)
    open_row = _open_row(shown, choice, layer)
    if len(rows) > TALL:
        st.caption(f"Scroll the profile to see all {len(rows)} layers.")
    for kind, columns in (("wide", COLUMNS), ("narrow", NARROW)):
        with st.container(
            key=f"profile_{kind}", height=HEIGHT if len(rows) > TALL else "content", border=False
        ):
            key = f"rows_{kind}"
            figure = profile(shown.key, choice, columns, appearance(), open_row, rows)
            figure, config = to_save(figure, "profile", shown, choice)
            st.plotly_chart(
                figure,
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
