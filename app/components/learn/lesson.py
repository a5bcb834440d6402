"""The analysis that the later steps are about."""

from __future__ import annotations

import streamlit as st

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions
from app.cache import DrawnImages, drawn_images, jobs
from app.cache.learn import lesson
from app.components.shared.work import render_work, result_of_work, start_work
from app.literal import sentence
from app.state import Shown, session

_NAME = "lesson"


def obtain_lesson() -> Shown | None:
    """The analysis; until it is there, the way to it is drawn."""
    try:
        shown = lesson(result_of_work(_NAME, AnalysisOptions()))
    except AnalysisError as error:
        st.error(sentence(error))
        return None
    if shown is None:
        if jobs().is_running(AnalysisOptions()) and _NAME not in session().work:
            start_work(_NAME, AnalysisOptions())  # joins it
        st.info("This step needs the analysis of a small network. It takes seconds.")
        render_work(_NAME, AnalysisOptions(), label="Analyse", icon=":material/play_arrow:")
    return shown


def images_of_lesson(shown: Shown) -> DrawnImages | None:
    """Its images; without them the step shows points only."""
    try:
        return drawn_images(shown.options, shown.key)
    except AnalysisError:
        return None
