"""How figures and tables are saved: their names, formats and captions, on every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from analysis.runs.store import Run
from analysis.selection.export import caption, file_stem, run_settings, shared_settings
from analysis.version import __version__
from app.charts.saving import captioned
from app.state import appearance, session
from app.theme import PALETTES, chart_config

FORMATS = ("SVG", "PNG")
_FORMAT, _CAPTIONS = "figure_format", "captions"


def keep_figure_choices() -> None:
    """Keep for the next page how figures are saved; Streamlit forgets the widgets of the last."""
    figures = session().figures
    figures.format = st.session_state.get(_FORMAT, figures.format)
    figures.captions = st.session_state.get(_CAPTIONS, figures.captions)


def render_figure_choices() -> None:
    """Draw the choices of how figures are saved."""
    # Not set by `st.session_state`: a browser that first opens the popover later would not see it.
    figures = session().figures
    st.segmented_control(
        "Format of figures",
        FORMATS,
        default=figures.format,
        required=True,
        key=_FORMAT,
        help="For the camera button above each figure. SVG stays sharp at any size.",
    )
    st.toggle(
        "Caption with the settings",
        value=figures.captions,
        key=_CAPTIONS,
        help="Write the settings below each figure, also when it is saved.",
    )


def render_figures_popover() -> None:
    """Draw the choices where nothing else is saved with them."""
    with st.popover("Figures", icon=":material/image:", help="How figures are saved."):
        render_figure_choices()


def figure_to_save(
    figure: go.Figure,
    what: str,
    settings: Mapping[str, Any],
    differing: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[go.Figure, dict[str, Any]]:
    """The figure and its settings for Plotly, so that it is saved as was chosen."""
    if st.session_state.get(_CAPTIONS, session().figures.captions):
        figure = captioned(figure, caption(settings, differing), PALETTES[appearance()])
    kind = str(st.session_state.get(_FORMAT, session().figures.format)).lower()
    return figure, chart_config(file_stem(what, settings), kind)


def settings_of_run(run: Run) -> dict[str, Any]:
    """What decides the numbers of a run, and the version that made them."""
    return run_settings(run.options, run.versions.get("bettiscope", __version__))


def settings_of_runs(runs: Sequence[Run]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What the settings of runs have in common, and the values of those that differ."""
    return shared_settings(map(settings_of_run, runs))
