"""What Compare's section Alike draws."""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.results import Float64, TopologyReport
from analysis.selection.resemblance import MEASURES, cka_matrix
from analysis.topology.betti_surface import betti_surface
from app.cache import drawn_loops
from app.charts.diagram import common_span, diagram_figure
from app.charts.resemblance import resemblance_figure, surface_figure
from app.theme import PALETTES, DrawnFigure

_BIRTH, _DEATH = "birth (% of largest distance)", "death (% of largest distance)"


@st.cache_resource(max_entries=16, show_spinner=False)
def alike_images(key: str, _report: TopologyReport) -> Float64:
    """How alike each pair of layers arranges the images."""
    return cka_matrix(_report)


@st.cache_resource(max_entries=32, show_spinner=False)
def pairs_chart(
    key: str, measure: str, pair: tuple[str, str], appearance: str, _values: Float64,
    _names: list[str],
) -> DrawnFigure:  # fmt: skip
    """The triangle of all pairs."""
    one = MEASURES[measure]
    return DrawnFigure(
        resemblance_figure(
            _values,
            layers=_names,
            title=one.title,
            most_alike=one.most_alike,
            pair=pair,
            palette=PALETTES[appearance],
        ).to_dict()
    )


@st.cache_resource(max_entries=32, show_spinner=False)
def pair_charts(
    key: str, pair: tuple[str, str], cloud: int | None, appearance: str, _report: TopologyReport
) -> list[DrawnFigure]:
    """The persistence diagrams of a pair of layers, in shares of their largest distances.

    They are those of a cloud, counted from 0, or of all images as one cloud if it is None.
    """
    number = 0 if cloud is None else cloud + 1
    diagrams = [
        100 * drawn_loops(key, name, number, _report) / (_report.layer(name).diameter or 1.0)
        for name in pair
    ]
    span = common_span(diagrams)
    figures = [diagram_figure(d, span=span, palette=PALETTES[appearance]) for d in diagrams]
    for figure in figures:
        figure.update_xaxes(title_text=_BIRTH).update_yaxes(title_text=_DEATH)
    return [DrawnFigure(figure.to_dict()) for figure in figures]


@st.cache_resource(max_entries=16, show_spinner=False)
def _surface(key: str, _report: TopologyReport) -> tuple[Float64, Float64]:
    return betti_surface(_report)


@st.cache_resource(max_entries=32, show_spinner=False)
def surface_chart(
    key: str, opened: str, height: float | None, appearance: str, _report: TopologyReport
) -> tuple[DrawnFigure, float]:
    """The loops of every layer at every scale, and the scale at which most of them live, in %.

    `height` marks a scale of the open layer, as a share of its largest distance.
    """
    scales, loops = _surface(key, _report)
    figure = surface_figure(
        scales,
        loops,
        layers=_report.names,
        opened=opened,
        clicked=height,
        palette=PALETTES[appearance],
    )
    return DrawnFigure(figure.to_dict()), float(100 * scales[np.nansum(loops, axis=0).argmax()])
