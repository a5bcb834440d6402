"""Explore: all layers of one analysis, and a closer look at any of them."""

from __future__ import annotations

import streamlit as st

from analysis.options import AnalysisOptions
from analysis.selection.ranking import best_layer
from app.cache import layer_rows
from app.components.explore.layout import set_layout
from app.components.explore.microscope import render_microscope, render_pinned
from app.components.explore.overview import (
    render_overview,
    render_sentences_below,
    report_unknown_layers,
)
from app.components.explore.profile import render_profile
from app.components.explore.saving import render_export
from app.components.explore.table import render_table
from app.components.shared.obtain import describe, render_obtained, summarised
from app.components.shared.rho_parts import render_rho_part
from app.state import Choice, open_layer

controls: tuple[AnalysisOptions | None, Choice] = st.session_state["controls"]
options, choice = controls
set_layout()
overview = st.container(key="overview", gap="xsmall")
with overview:
    with st.container(key="heading", horizontal=True, vertical_alignment="center"):
        st.title("Which layers should you train?", anchor=False, width="content")
        about, export = st.container(key="about"), st.container(width="content")
    shown = render_obtained(options)
if shown is not None:
    shown = summarised(shown, choice)
    rows, report = layer_rows(shown.key, choice, shown.report), shown.report
    best = best_layer(rows)
    open_layer(shown.options.model, report.names, best)
    report_unknown_layers(shown.options.model)

    with overview:
        render_rho_part("overview", render_overview, shown, choice)
    with about:
        seen = report.input_format
        st.caption(
            f"{describe(shown.options)}{f', seen as {seen.brief}' if seen else ''}. {shown.stored}",
            help=f"What the network sees of each image: {seen.text}" if seen else None,
        )
    with export:
        render_export(shown, choice)
    with st.container(key="panes"):
        wide, close = st.columns([8, 5], gap="medium")
        # First: with another open row the profile is sent again, which takes the browser longer.
        with close, st.container(key="microscope", gap="xsmall"):
            render_microscope(shown, rows, choice, best)
        with wide:
            render_profile(shown, rows, choice)
    render_sentences_below(shown, rows, choice)
    render_pinned(shown, rows, choice)
    render_table(shown, choice)
