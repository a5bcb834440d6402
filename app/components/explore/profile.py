"""The layer profile on the page: aligned columns on a screen, two of them on a phone."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.cache import TALL, profile
from app.charts.profile import COLUMNS, Column
from app.state import Choice, Shown, appearance, session, set_open_layer
from app.theme import chart_config

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
    """Draw one row a layer; a click on a row opens it under the microscope."""
    st.html(_STYLE)
    marked = _marked(shown, choice, layer)
    if len(rows) > TALL:
        st.caption(f"All {len(rows)} layers are here: scroll the profile.")
    for kind, columns in (("wide", COLUMNS), ("narrow", NARROW)):
        with st.container(
            key=f"profile_{kind}", height=HEIGHT if len(rows) > TALL else "content", border=False
        ):
            key = f"rows_{kind}"
            st.plotly_chart(
                profile(shown.key, choice, columns, appearance(), marked, rows),
                key=key,
                on_select=lambda key=key: _open(key),
                selection_mode="points",
                theme=None,
                config=chart_config(f"bettiscope-{shown.options.model}-profile"),
                alt="Layer profile: one row a layer with its loops, score, clusters and cost",
            )


def _marked(shown: Shown, choice: Choice, layer: str) -> str:
    """The row to draw as open: it moves only when the figure changes for another reason.

    After a click the browser marks the row by itself, and a figure that followed it would lose
    the selection.
    """
    state = session().profile
    drawn = (shown.key, choice, appearance())
    if state.figure_key != drawn:
        state.figure_key, state.open_row = drawn, layer
    return state.open_row


def _open(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:  # a second click on the same row empties the selection: the layer stays open
        set_open_layer(points[-1]["customdata"][0])
