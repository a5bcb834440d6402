"""Whether the selection survives a shift of the images, or luck is read as drift."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.datasets import SHIFTS
from analysis.errors import AnalysisError
from analysis.options import MAX_SEVERITY
from analysis.selection.drift import Drift
from analysis.text import plural
from analysis.topology.shift_series import ShiftRequest, ShiftSeries
from app.cache import jobs
from app.cache.shift import drift_figures, missing_analyses, saved_series, series_drift
from app.charts.once import drawn_once
from app.components.compare.mixture import render_mixture
from app.components.compare.proof import render_proof
from app.components.shared.cost import render_cost
from app.components.shared.help_texts import bullet_list
from app.components.shared.work import render_work, result_of_work
from app.literal import sentence
from app.state import Choice, Shown, appearance, choose_clicked
from app.theme import chart_config

LABEL = "Analyse every severity"
REAL = [name for name in SHIFTS if name != "none"]
SHIFT_HELP = "How the images change. Each shift is analysed once, at every severity."
SEVERITY_HELP = "The severity that the sentence is about, from 1 (slight) to 5 (strong)."
OVERLAP = (
    "How many layers of the selection without the shift are selected at each severity too. Inside "
    "the band, other images without any shift change the selection as much."
)
SIZE_HELP = (
    "The dotted line is a control: as many layers of the selection come from their size alone, "
    "which no shift of the images can change."
)
MAPS = (
    "Each column is a layer, each row a severity, from the clean images at the top. A dot marks a "
    "selected layer, the frame the layer you marked; click a cell to mark another."
)
_STYLE = "<style>.st-key-drift_sentence p { font-size: 1.7rem; line-height: 1.3; }</style>"


def render_shift(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section."""
    shift, severity = _choose()
    request = ShiftRequest(shown.options, shift)
    key = f"{shown.fingerprint} {shift}"
    series = _find(key, request) or _unsaved(request)
    if series is None:
        if not jobs().is_running(request):  # a prediction would slow it down
            _render_cost(key, request)
        render_work("shift", request, label=LABEL, icon=":material/blur_on:")
        return
    for note in series.notes:
        st.warning(sentence(note))
    found = series_drift(key, choice, series)
    _render_drift(key, choice, severity, layer, series, found)
    render_mixture(key, request, series, choice, severity)
    render_proof(shown, choice, found, shift, severity)


def _choose() -> tuple[str, int]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        shift = st.segmented_control(
            "Shift",
            REAL,
            default=REAL[0],
            required=True,
            key="drift_shift",
            bind="query-params",
            format_func=lambda name: SHIFTS[name].title,
            help=SHIFT_HELP + bullet_list({SHIFTS[n].title: SHIFTS[n].help for n in REAL}),
        )
        severity = st.segmented_control(
            "Severity",
            range(1, MAX_SEVERITY + 1),
            default=MAX_SEVERITY,
            required=True,
            key="drift_severity",
            bind="query-params",
            help=SEVERITY_HELP,
        )
    return shift or REAL[0], int(severity or MAX_SEVERITY)


def _find(key: str, request: ShiftRequest) -> ShiftSeries | None:
    try:
        with st.spinner("Loading the analyses …"):
            return saved_series(key, request)
    except AnalysisError as error:  # a damaged file, which is analysed again
        st.warning(sentence(error))
        return None


def _unsaved(request: ShiftRequest) -> ShiftSeries | None:
    """What could not be saved is shown until the page is left."""
    result = result_of_work("shift", request)
    return result if isinstance(result, ShiftSeries) else None


def _render_cost(key: str, request: ShiftRequest) -> None:
    missing = missing_analyses(key, request)
    severities, redraws = len(request.severities), len(request.redraws)
    draws = f" and {plural(redraws, 'other draw')} of clean images" if redraws else ""
    saved = severities + redraws - missing
    known = f", of which {saved} {'is' if saved == 1 else 'are'} saved" if saved else ""
    st.caption(
        f"This takes {plural(severities + redraws, 'analysis', 'analyses')}{known}: severity 0 to "
        f"{MAX_SEVERITY}{draws}. You can stop and continue later.",
    )
    if request.why_no_redraws:
        st.caption(sentence(request.why_no_redraws))
    render_cost(request.options, analyses=missing)


def _render_drift(
    key: str, choice: Choice, severity: int, layer: str, series: ShiftSeries, found: Drift
) -> None:
    st.html(_STYLE)
    with st.container(key="drift_sentence"):
        st.markdown(sentence(found.sentence(severity)))
    overlap, loops, ranks = drift_figures(key, choice, severity, layer, appearance(), series)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        st.markdown("**How much of the selection is kept**", help=SIZE_HELP)
        st.caption(OVERLAP)
        st.plotly_chart(
            drawn_once(overlap),
            key="drift_overlap",
            theme=None,
            config=chart_config("bettiscope-shift"),
            alt="Layers that are selected at each severity as without the shift",
        )
    with right:
        st.markdown("**Loops and rank of each layer**")
        st.caption(MAPS)
        for figure, name in ((loops, "b₁"), (ranks, "rank")):
            chart = "drift_b1" if name == "b₁" else "drift_rank"
            st.plotly_chart(
                figure,
                key=chart,
                on_select=lambda chart=chart: choose_clicked(chart),
                selection_mode="points",
                theme=None,
                config=chart_config(f"bettiscope-{chart.replace('_', '-')}"),
                alt=f"The {name} of each layer at each severity",
            )
