"""What Compare's section Luck draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import AnalysisError, StoreError
from analysis.options import AnalysisOptions
from analysis.results import TopologyReport
from analysis.selection.certainty import rank_intervals
from analysis.selection.influence import Influence, image_influence
from analysis.selection.overlap import draw_overlaps, part_overlaps, shares_of_draws
from analysis.topology.part_clouds import PartClouds
from analysis.topology.part_store import PartsRequest, load_parts, parts_saved_at
from analysis.topology.redraws import redraws_of, why_no_redraws
from analysis.topology.removal_store import RemovalRequest, load_removal, removal_saved_at
from analysis.topology.store import fingerprints, is_saved, load_analysis
from app.charts.influence import influence_figure
from app.charts.luck import luck_figure
from app.charts.overlap import Line, overlap_figure
from app.state import Choice, Shown
from app.theme import PALETTES, DrawnFigure


@st.cache_resource(max_entries=128, show_spinner=False)
def luck_table(
    key: str, choice: Choice, _rows: pd.DataFrame, _report: TopologyReport
) -> pd.DataFrame:
    """By layer: b₁, its error, rank, between which ranks others put it, and how often chosen."""
    columns = ["b1", "b1_se", "rank", "selected", "probability"]
    table = _rows.set_index("layer")[columns]
    how = {"normalization": choice.normalization, "summary": choice.summary}
    ends = rank_intervals(_report, _rows, **how)
    return table.assign(low=np.nan, high=np.nan) if ends is None else table.join(ends)


def other_draws(shown: Shown) -> tuple[TopologyReport, ...]:
    """The analyses of other images, if all are saved; else none."""
    keys, _ = _redraw_keys(shown.options, shown.fingerprint)
    reports = [_saved_report(key) for key in keys] if all(map(is_saved, keys)) else []
    if None in reports:
        _saved_report.clear()
        return ()
    # Loops are counted as in what is shown.
    unit, least = shown.report.persistence_unit, shown.report.min_persistence
    return tuple(
        replace(report, min_persistence=least, persistence_unit=unit)
        for report in reports
        if report is not None
    )


def why_no_other_draws(shown: Shown) -> str:
    """Why no other images can be drawn, in a sentence; empty if they can."""
    return _redraw_keys(shown.options, shown.fingerprint)[1]


@st.cache_resource(max_entries=64, show_spinner=False)
def _redraw_keys(options: AnalysisOptions, key: str) -> tuple[list[str], str]:
    try:
        return fingerprints(redraws_of(options)), why_no_redraws(options)
    except AnalysisError as error:  # the images behind a saved analysis are gone
        return [], str(error)


@st.cache_resource(max_entries=16, show_spinner=False)
def _saved_report(key: str) -> TopologyReport | None:
    try:
        return load_analysis(key)
    except StoreError:  # a damaged file, which is now set aside
        return None


@st.cache_resource(max_entries=64, show_spinner=False)
def drawn_overlaps(
    key: str,
    choice: Choice,
    _others: Sequence[TopologyReport],
    _rows: pd.DataFrame,
    _report: TopologyReport,
) -> tuple[pd.DataFrame, pd.Series]:
    """The overlap of all draws' selections by subsets, and which share of others has a layer."""
    how = {"normalization": choice.normalization, "summary": choice.summary}
    overlaps = draw_overlaps([_report, *_others], _rows, **how)
    return overlaps, shares_of_draws(_others, _rows, **how)


@st.cache_resource(max_entries=16, show_spinner=False)
def _parts(request: PartsRequest, _report: TopologyReport) -> PartClouds | None:
    return load_parts(request, _report)


def parts_of_images(request: PartsRequest, report: TopologyReport) -> PartClouds | None:
    """What was measured in parts of the images of a saved analysis; None if that was never done."""
    return None if parts_saved_at(request) is None else _parts(request, report)


@st.cache_resource(max_entries=128, show_spinner=False)
def parts_table(
    key: str, choice: Choice, _parts: PartClouds, _rows: pd.DataFrame, _report: TopologyReport
) -> pd.DataFrame:
    """The overlap of the selections from parts of the images, by the way they are measured."""
    how = {"normalization": choice.normalization, "summary": choice.summary}
    return part_overlaps(_report, _parts, _rows, **how)


@st.cache_resource(max_entries=128, show_spinner=False)
def overlap_chart(lines: tuple[Line, ...], x_title: str, appearance: str) -> DrawnFigure:
    """How far the selections of different images overlap."""
    figure = overlap_figure(lines, x_title=x_title, palette=PALETTES[appearance])
    return DrawnFigure(figure.to_dict())


@st.cache_resource(max_entries=128, show_spinner=False)
def luck_chart(
    key: str, choice: Choice, opened: str, appearance: str, draws: int, _table: pd.DataFrame
) -> DrawnFigure:
    """How probable the choice of each layer is, and how many of some other draws chose it."""
    return DrawnFigure(luck_figure(_table, opened=opened, palette=PALETTES[appearance]).to_dict())


@st.cache_resource(max_entries=64, show_spinner=False)
def influence_of(
    key: str,
    choice: Choice,
    _rows: pd.DataFrame,
    _report: TopologyReport,
    groups: tuple[int, ...] = (),
) -> Influence | None:
    """How the selection depends on each image, or each group of images."""
    how = {"normalization": choice.normalization, "summary": choice.summary}
    return image_influence(_report, _rows, groups=np.array(groups) if groups else None, **how)


@st.cache_resource(max_entries=64, show_spinner=False)
def influence_chart(
    key: str,
    choice: Choice,
    what: str,
    appearance: str,
    _influence: Influence,
    _names: Sequence[str],
) -> DrawnFigure:
    """The lead without each of the images, or of `what` else."""
    figure = influence_figure(
        _influence.without,
        _influence.error,
        lead=_influence.lead,
        decisive=_influence.decisive,
        names=_names,
        palette=PALETTES[appearance],
    )
    return DrawnFigure(figure.to_dict())


def report_without(request: RemovalRequest, report: TopologyReport) -> TopologyReport | None:
    """The analysis without some images; None if that was never measured."""
    how = report.min_persistence, report.persistence_unit
    return None if removal_saved_at(request) is None else _report_without(request, *how, report)


@st.cache_resource(max_entries=16, show_spinner=False)
def _report_without(
    request: RemovalRequest, least: float, unit: str, _report: TopologyReport
) -> TopologyReport | None:
    return load_removal(request, _report)
