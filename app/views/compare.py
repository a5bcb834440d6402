"""Compare: how the choice of layers depends on how they are scored, and how sure it is."""

from __future__ import annotations

import streamlit as st

from analysis.options import AnalysisOptions
from analysis.selection.ranking import best_layer
from app.cache import layer_rows
from app.components.compare.alike import render_alike
from app.components.compare.clusters import render_clusters
from app.components.compare.definitions import render_definitions
from app.components.compare.luck import render_luck
from app.components.compare.normalisations import render_normalisations
from app.components.compare.sections import Section, choose_section, set_layout, show_layer_choice
from app.components.compare.shift import render_shift
from app.components.compare.topology import render_topology
from app.components.compare.worth import render_worth
from app.components.shared.obtain import describe, render_obtained, summarised
from app.state import Choice, open_layer

# To add a section, write its component and add a line. Only the chosen one is drawn.
SECTIONS = {
    "Normalisations": Section("Which layers does each score choose?", render_normalisations),
    "Topology": Section("Is it topology?", render_topology),
    "Luck": Section("Is it luck?", render_luck),
    "Definitions": Section("Does it matter how loops are counted?", render_definitions),
    "Clusters": Section("Do loops follow clusters?", render_clusters),
    "Alike": Section("Which layers are alike?", render_alike),
    "Worth": Section("Does it matter?", render_worth),
    "Shift": Section("Does it survive a shift?", render_shift),
}

controls: tuple[AnalysisOptions | None, Choice] = st.session_state["controls"]
options, choice = controls
set_layout()
st.title("How sure is the choice of layers?", anchor=False)
shown = render_obtained(options)
if shown is not None:
    shown = summarised(shown, choice)
    rows = layer_rows(shown.key, choice, shown.report)
    layer = open_layer(shown.options.model, shown.report.names, best_layer(rows))
    st.caption(f"{describe(shown.options)}; ρ = {choice.rho:.2f}. {shown.stored}")
    with st.container(horizontal=True, vertical_alignment="bottom", key="sections"):
        section = choose_section(SECTIONS)
        show_layer_choice(shown, choice)
    st.subheader(section.question, anchor=False)
    section.render(shown, rows, choice, layer)
