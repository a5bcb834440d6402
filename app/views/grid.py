"""Grid: compare every strategy on every chosen model and dataset."""

from __future__ import annotations

import streamlit as st

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions
from app.cache import run_queue
from app.components.grid.form import render_form
from app.components.grid.live import render_grid
from app.literal import sentence
from app.state import Choice

controls: tuple[AnalysisOptions | None, Choice] = st.session_state["controls"]

st.title("Does it hold across models and data?", anchor=False)
try:
    swept = any(run.is_grid_cell for run in run_queue().store.runs())  # then the form is folded
    with st.container(key="grid_form"), st.expander("What to run", expanded=not swept):
        # If the sidebar's settings are invalid, the sidebar itself says so.
        grid = render_form(controls[0] or AnalysisOptions(), controls[1])
    if grid is not None:
        render_grid(grid)
except AnalysisError as error:
    st.error(sentence(error))
