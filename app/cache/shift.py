"""What Compare shows of a shift: the analyses of its severities, and what they do to a choice."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.options import LoopUnit
from analysis.results import TopologyReport
from analysis.selection.drift import Drift, drift, resummarize_series
from analysis.selection.ranking import equal_rho
from analysis.topology.mixtures import STEPS, MixtureRequest, load_mixtures, mixture_key
from analysis.topology.shift_series import ShiftRequest, ShiftSeries, load_series, series_keys
from analysis.topology.store import is_saved
from app.charts.drift import layer_map_figure, overlap_figure
from app.state import Choice
from app.theme import PALETTES, DrawnFigure

# In all that follows `key` names a series: by the fingerprint of the analysis on the page, which
# changes with the files behind it, and the shift.


def missing_analyses(key: str, request: ShiftRequest) -> int:
    """How many analyses of a series are not saved."""
    return sum(not is_saved(each) for each in _keys(key, request))


def saved_series(key: str, request: ShiftRequest) -> ShiftSeries | None:
    """The series, if all its analyses are saved.

    Raises
    ------
    StoreError
        If a saved analysis is damaged or cannot be read.
    """
    return None if missing_analyses(key, request) else _loaded(key, request)


@st.cache_resource(max_entries=64, show_spinner=False)
def _keys(key: str, _request: ShiftRequest) -> tuple[str, ...]:
    return tuple(series_keys(_request))


@st.cache_resource(max_entries=2, show_spinner=False)
def _loaded(key: str, _request: ShiftRequest) -> ShiftSeries | None:
    return load_series(_request, _keys(key, _request))


def mixture_series(
    key: str, request: ShiftRequest, severity: int, series: ShiftSeries
) -> ShiftSeries | None:
    """The images mixed with those of a severity, with the other draws of `series`, if saved.

    Raises
    ------
    StoreError
        If the file is damaged or cannot be read.
    """
    made = mixture_key(_keys(key, request)[severity])
    if not is_saved(made):
        return None
    reports = _mixtures(made, MixtureRequest(request.severities[severity]))
    if reports is None:
        return None
    shares = (100 * step // (STEPS - 1) for step in range(STEPS))
    titles = tuple(f"With {share} % of the images shifted" for share in shares)
    return replace(series, reports=reports, titles=titles, notes=())


@st.cache_resource(max_entries=2, show_spinner=False)
def _mixtures(key: str, _request: MixtureRequest) -> tuple[TopologyReport, ...] | None:
    return load_mixtures(_request, key)


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Choice: repr})
def _mixture_chart(
    key: str, choice: Choice, step: int, appearance: str, _mixed: ShiftSeries
) -> DrawnFigure:
    found = series_drift(key, choice, _mixed)
    figure = overlap_figure(
        found.shared,
        chosen=found.chosen,
        luck=found.luck,
        by_size=found.by_size,
        severity=step,
        step=100 // (STEPS - 1),
        axis="shifted images, %",
        palette=PALETTES[appearance],
        height=260,
    )
    return DrawnFigure(figure.to_dict())


def mixture_chart(
    key: str, choice: Choice, step: int, appearance: str, mixed: ShiftSeries
) -> DrawnFigure:
    """The overlap by share of shifted images."""
    drawn: DrawnFigure = _mixture_chart(key, _equal(choice, mixed), step, appearance, mixed)
    return drawn


def series_drift(key: str, choice: Choice, series: ShiftSeries) -> Drift:
    """What the shift does to the selection."""
    found: Drift = _drift(key, _equal(choice, series), series)
    return found


def _equal(choice: Choice, series: ShiftSeries) -> Choice:
    """The same choice for every ρ that chooses as many layers."""
    return replace(choice, rho=equal_rho(series.reports[0], rho=choice.rho, preset=choice.preset))


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Choice: repr})
def _drift(key: str, choice: Choice, _series: ShiftSeries) -> Drift:
    if choice.min_persistence:
        _series = _resummarized(key, choice.min_persistence, choice.persistence_unit, _series)
    return drift(
        _series,
        rho=choice.rho,
        normalization=choice.normalization,
        preset=choice.preset,
        summary=choice.summary,
    )


@st.cache_resource(max_entries=2, show_spinner=False)
def _resummarized(
    key: str, min_persistence: float, persistence_unit: LoopUnit, _series: ShiftSeries
) -> ShiftSeries:
    return resummarize_series(
        _series, min_persistence=min_persistence, persistence_unit=persistence_unit
    )


def drift_figures(
    key: str, choice: Choice, severity: int, opened: str, appearance: str, series: ShiftSeries
) -> tuple[DrawnFigure, DrawnFigure, DrawnFigure]:
    """The overlap by severity, and b₁ and rank by layer and severity."""
    figures: tuple[DrawnFigure, DrawnFigure, DrawnFigure] = _figures(
        key, _equal(choice, series), severity, opened, appearance, series
    )
    return figures


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs={Choice: repr})
def _figures(
    key: str, choice: Choice, severity: int, opened: str, appearance: str, _series: ShiftSeries
) -> tuple[DrawnFigure, DrawnFigure, DrawnFigure]:
    found, palette = series_drift(key, choice, _series), PALETTES[appearance]
    overlap = overlap_figure(
        found.shared,
        chosen=found.chosen,
        luck=found.luck,
        by_size=found.by_size,
        severity=severity,
        palette=palette,
    )
    selected = found.values("selected") > 0  # a layer that one severity lacks is NaN
    loops, ranks = (
        layer_map_figure(
            found.values(column),
            layers=found.layers,
            selected=selected,
            title=title,
            low_is_good=column == "rank",
            digits=digits,
            opened=opened,
            palette=palette,
        )
        for column, title, digits in (("b1", "b₁", 1), ("rank", "rank", 0))
    )
    return (
        DrawnFigure(overlap.to_dict()), DrawnFigure(loops.to_dict()), DrawnFigure(ranks.to_dict()),
    )  # fmt: skip
