"""What Compare draws, and the other pages do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.results import Float64, Integers, TopologyReport
from analysis.selection.agreement import Agreement, SizeDominance, agreement
from analysis.selection.cluster_claim import ClusterClaim
from analysis.selection.cluster_claim import cluster_claim as claim_of
from analysis.selection.scores import NORMALIZATIONS, normalization_of
from analysis.topology.calibration import Calibration, calibration
from analysis.topology.cluster_grid import purity_grid
from analysis.topology.layer_test_store import RotationRequest
from analysis.topology.layer_tests import OF_TESTS, LayerTests
from analysis.topology.permuted import PermutedLoops
from analysis.topology.permuted_store import PermutedRequest, load_permuted, permuted_saved_at
from analysis.topology.resummarize import resummarize
from analysis.topology.summaries import SUMMARIES
from app.cache import layer_rows, ranked_rows
from app.charts.null import calibration_figure, null_figure
from app.charts.rankings import agreement_figure, bump_figure, strip_figure
from app.state import Choice
from app.theme import PALETTES, DrawnFigure


def rankings_of(key: str, choice: Choice, report: TopologyReport) -> dict[str, pd.DataFrame]:
    """`layer_rows` by every normalisation, and by that of `choice` if it is one of its own."""
    names = dict.fromkeys([*NORMALIZATIONS, choice.normalization])
    return {name: layer_rows(key, replace(choice, normalization=name), report) for name in names}


@st.cache_resource(max_entries=128, show_spinner=False)
def rankings_agreement(
    key: str, choice: Choice, _rankings: Mapping[str, pd.DataFrame]
) -> Agreement:
    """How far the rankings of `rankings_of` agree."""
    return agreement(_rankings)


@st.cache_resource(max_entries=256, show_spinner=False)
def size_dominance(key: str, choice: Choice, _rows: pd.DataFrame) -> SizeDominance:
    """How far the ranking of `layer_rows` follows the size of the layers."""
    return SizeDominance.of(_rows)


@st.cache_resource(max_entries=128, show_spinner=False)
def ranks(
    key: str, choice: Choice, opened: str, appearance: str, _rankings: Mapping[str, pd.DataFrame]
) -> DrawnFigure:
    """The ranks of the layers by each normalisation."""
    return DrawnFigure(
        bump_figure(
            **_titled(choice, _rankings), opened=opened, palette=PALETTES[appearance]
        ).to_dict()
    )


@st.cache_resource(max_entries=128, show_spinner=False)
def places(
    key: str, choice: Choice, opened: str, appearance: str, _rankings: Mapping[str, pd.DataFrame]
) -> DrawnFigure:
    """Where in the network each normalisation selects."""
    return DrawnFigure(
        strip_figure(
            **_titled(choice, _rankings), opened=opened, palette=PALETTES[appearance]
        ).to_dict()
    )


def _titled(choice: Choice, rankings: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    return {
        "rankings": {normalization_of(name).title: rows for name, rows in rankings.items()},
        "current": normalization_of(choice.normalization).title,
    }


@st.cache_resource(max_entries=128, show_spinner=False)
def agreement_figures(
    key: str, choice: Choice, appearance: str, _agreement: Agreement
) -> tuple[DrawnFigure, DrawnFigure]:
    """Two matrices: the agreement of the whole orders, and that of the selections."""
    titles, palette = [normalization_of(n).title for n in _agreement.names], PALETTES[appearance]
    orders = agreement_figure(_agreement.tau, titles, signed=True, palette=palette)
    choices = agreement_figure(_agreement.jaccard, titles, signed=False, palette=palette)
    return DrawnFigure(orders.to_dict()), DrawnFigure(choices.to_dict())


@st.cache_resource(max_entries=16, show_spinner=False)
def cluster_claim(key: str, _report: TopologyReport) -> ClusterClaim:
    """Whether b₁ follows the number of clusters, at every setting of DBSCAN."""
    return claim_of(_report)


@st.cache_resource(max_entries=64, show_spinner=False)
def cluster_purity(
    key: str, layer: str, _eps: Float64, _classes: Integers, _report: TopologyReport
) -> Float64:
    """How pure a layer's clusters are at the settings of its grid."""
    return purity_grid(_report.layer(layer).distances, _classes, eps=_eps)


# Heads of narrow columns.
DEFINITIONS = {
    "b1": "b₁",
    "betti-maximum": "maximum",
    "total-persistence": "total",
    "longest-loop": "longest",
    "entropy": "entropy",
    "b1-z": "z",
    "long-loops": "passing",
}


def over_title(percent: float) -> str:
    """The head of b₁ without loops up to that share of a layer's largest distance."""
    return f"over\N{NO-BREAK SPACE}{percent:g}\N{NO-BREAK SPACE}%"


def definition_rankings(
    key: str,
    choice: Choice,
    percent: float,
    tested: tuple[RotationRequest, LayerTests] | None,
    report: TopologyReport,
) -> dict[str, pd.DataFrame]:
    """The layers ranked by each way to count their loops, by its head."""
    rankings = {}
    for name in SUMMARIES:
        rankings[DEFINITIONS[name]] = layer_rows(key, replace(choice, summary=name), report)
        if name == "b1":
            rankings[over_title(percent)] = _rows_over(key, choice, percent, report)
    if tested is not None:
        for name in OF_TESTS:
            rankings[DEFINITIONS[name]] = _tested_rows(key, choice, name, *tested, report)
    return rankings


@st.cache_resource(max_entries=256, show_spinner=False)
def _rows_over(key: str, choice: Choice, percent: float, _report: TopologyReport) -> pd.DataFrame:
    longer = resummarize(_report, min_persistence=percent / 100, persistence_unit="diameter")
    return ranked_rows(longer, replace(choice, summary="b1"))


@st.cache_resource(max_entries=64, show_spinner=False)
def _tested_rows(
    key: str,
    choice: Choice,
    summary: str,
    request: RotationRequest,
    _tests: LayerTests,
    _report: TopologyReport,
) -> pd.DataFrame:
    return ranked_rows(_report, replace(choice, summary=summary), _tests)


@st.cache_resource(max_entries=128, show_spinner=False)
def definition_figures(
    key: str,
    choice: Choice,
    opened: str,
    appearance: str,
    _rankings: Mapping[str, pd.DataFrame],
    _agreement: Agreement,
) -> tuple[DrawnFigure, DrawnFigure]:
    """The ranks by each of `definition_rankings`, and how far these order the layers alike."""
    palette, current = PALETTES[appearance], DEFINITIONS[choice.summary]
    ranks = bump_figure(_rankings, current=current, opened=opened, palette=palette)
    orders = agreement_figure(_agreement.tau, _agreement.names, signed=True, palette=palette)
    return DrawnFigure(ranks.to_dict()), DrawnFigure(orders.to_dict())


CALIBRATION_CLOUDS, CALIBRATION_BLOCK = 300, 12


def permuted_loops(request: PermutedRequest, report: TopologyReport) -> PermutedLoops | None:
    """The loops of permuted clouds of an analysis; None if they were never counted."""
    if permuted_saved_at(request) is None:
        return None
    loops: PermutedLoops | None = _permuted_loops(request, report)
    if loops is None:  # damaged; what takes its place has the same request
        _permuted_loops.clear()
    return loops


@st.cache_resource(max_entries=16, show_spinner=False)
def _permuted_loops(request: PermutedRequest, _report: TopologyReport) -> PermutedLoops | None:
    return load_permuted(request, _report)


@st.cache_resource(max_entries=64, show_spinner=False)
def null_chart(
    request: RotationRequest,
    permuted: PermutedRequest | None,
    opened: str,
    appearance: str,
    _table: pd.DataFrame,
) -> DrawnFigure:
    """The loops of each layer against those of rotated clouds, and of permuted ones if counted."""
    return DrawnFigure(null_figure(_table, opened=opened, palette=PALETTES[appearance]).to_dict())


def calibrations(count: int) -> list[Calibration]:
    """The test of that many Gaussian clouds; a block takes a fraction of a second."""
    blocks = range(0, count, CALIBRATION_BLOCK)
    return [one for block in blocks for one in _calibrations(block)][:count]


@st.cache_resource(show_spinner=False)
def _calibrations(first: int) -> list[Calibration]:
    numbers = range(first, first + CALIBRATION_BLOCK)
    return [calibration(number, points=(16, 32)) for number in numbers]


def calibration_chart(count: int, appearance: str) -> go.Figure:
    """Their p-values against those of an exact test."""
    p = np.array([one.p for one in calibrations(count)])
    names = ("more loops", "fewer loops", "total persistence", "longest loop")
    return calibration_figure(dict(zip(names, p.T, strict=True)), palette=PALETTES[appearance])
