"""The sidebar that all pages share: what to analyse, and what to read off it."""

from __future__ import annotations

import streamlit as st

from analysis.costs.analysis_cost import is_quick
from analysis.options import PRESETS, AnalysisOptions
from app.cache import jobs
from app.components.sidebar.choice import render_choice
from app.components.sidebar.saved_space import render_saved_space
from app.components.sidebar.subject import render_subject
from app.state import Choice, session


def render_sidebar() -> tuple[AnalysisOptions | None, Choice]:
    """Draw the controls.

    Returns
    -------
    options : AnalysisOptions or None
        What the controls ask for; None, with a message on the page, if that cannot be.
    choice : Choice
    """
    for widget, value in session().uploads.widget_values.items():
        st.session_state[widget] = value
    session().uploads.widget_values.clear()
    analysis = session().analysis
    with st.sidebar:
        st.markdown("## BettiScope")
        above, below = st.container(), st.container()
        with below:
            st.divider()
            choice = render_choice()  # first, since the preset bounds the number of images
            st.toggle(
                "Large type",
                key="large",
                bind="query-params",
                help="Larger text on pages and in figures, for a projector.",
            )
            render_saved_space()
        with above:
            options = render_subject(PRESETS[choice.preset])
            st.button(
                "Analyse",
                type="primary",
                width="stretch",
                disabled=options is None,
                help="Run the images through the model once and measure every layer. "
                "A saved analysis opens at once.",
                on_click=_remember_click,
            )
        clicked, analysis.clicked = analysis.clicked, False
        if options is not None and clicked:
            analysis.request(options)
        elif options is not None and analysis.target is None and _may_start(options):
            analysis.target = options
        return options, choice


def _remember_click() -> None:
    """Remember it until the sidebar is drawn, which knows the settings.

    As a callback it comes first: a drawing that ends early does not lose the click.
    """
    session().analysis.clicked = True


def _may_start(options: AnalysisOptions) -> bool:
    """Whether to start without a click: it takes seconds, or already runs."""
    return is_quick(options) or jobs().is_running(options)
