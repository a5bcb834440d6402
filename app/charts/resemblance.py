"""How alike the layers are, and their loops at every scale: cells over the whole network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.results import Float64
from app.charts.heatmap import cells_trace
from app.charts.parts import layer_axis, layer_mark, unseen_points
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style

_ROWS_TO_CLICK = 24  # of the surface: so many places in each column take a click


def resemblance_figure(
    values: Float64,
    *,
    layers: Sequence[str],
    title: str,
    most_alike: float,
    pair: tuple[str, str],
    palette: Palette,
    height: int = 460,
) -> go.Figure:
    """Draw how alike two layers are as a triangle of cells, the first layer at the top left.

    Parameters
    ----------
    values : ndarray (layers, layers)
        Symmetric. Missing values leave their cells empty.
    layers : sequence of str
        Full names in execution order.
    title : str
        Of the value.
    most_alike : float
        The value with the strongest colour.
    pair : tuple of two str
        The layers to mark.
    palette : Palette
    height : int, default=460
        Pixels.

    Returns
    -------
    Figure
        The heat map and "cells", whose `customdata` holds the names of both layers.
    """
    lower = np.where(np.tri(len(layers), dtype=bool), values, np.nan)
    rows, columns = (indices.tolist() for indices in np.tril_indices(len(layers)))
    names = [figure_text(name or "(model)") for name in layers]
    texts = [
        f"<b>{names[row]}</b><br>and {names[column]}<br>"
        + (f"{title} {value:.3g}" if np.isfinite(value) else "not finite, or all images one point")
        for row, column, value in zip(rows, columns, lower[rows, columns], strict=True)
    ]
    pairs = [[layers[row], layers[column]] for row, column in zip(rows, columns, strict=True)]
    data = [
        cells_trace(lower, title=title, reverse=most_alike == 0, palette=palette),
        unseen_points(columns, rows, pairs, texts),
    ]
    count = len(layers)
    layout = {
        "clickmode": "event+select",
        "margin": {"l": 46, "r": 12, "t": 10, "b": 40},
        "shapes": _pair_mark(layers, pair, palette),
        "xaxis": layer_axis(count, margin=0.7) | {"constrain": "domain"},
        "yaxis": layer_axis(count, margin=0.7)
        | {
            "title": {"text": ""},
            "range": [count - 0.3, -0.7],
            "scaleanchor": "x",
            "constrain": "domain",
        },
    }
    return style(SelectableFigure(data=data, layout=layout), palette, height=height)


def surface_figure(
    scales: Float64,
    loops: Float64,
    *,
    layers: Sequence[str],
    opened: str | None = None,
    clicked: float | None = None,
    palette: Palette,
    height: int = 420,
) -> go.Figure:
    """Draw how many loops each layer has at each scale as coloured cells.

    Parameters
    ----------
    scales : ndarray (steps,)
        Shares of each layer's largest distance, evenly spaced.
    loops : ndarray (layers, steps)
    layers : sequence of str
        Full names in execution order.
    opened : str, optional
        The layer to mark.
    clicked : float, optional
        The scale of that layer to mark with a dot and a label.
    palette : Palette
    height : int, default=420
        Pixels.

    Returns
    -------
    Figure
        The heat map and "cells", whose `customdata` is the name of a layer and a scale.
    """
    few = np.unique(np.linspace(0, len(scales) - 1, _ROWS_TO_CLICK).round().astype(int))
    places, steps = (grid.ravel() for grid in np.meshgrid(np.arange(len(layers)), few))
    texts = [
        f"<b>{figure_text(layers[place] or '(model)')}</b><br>at {100 * scales[step]:.1f} % of its "
        f"largest distance<br>{loops[place, step]:.3g} loops"
        for place, step in zip(places, steps, strict=True)
    ]
    heat = cells_trace(loops.T, title="loops", palette=palette) | {"y": 100 * scales}
    places_and_scales = zip(places, scales[steps].tolist(), strict=True)
    clicks = [[layers[place], scale] for place, scale in places_and_scales]
    data = [heat, unseen_points(places, 100 * scales[steps], clicks, texts)]
    layout = {
        "clickmode": "event+select",
        "margin": {"l": 54, "r": 12, "t": 10, "b": 40},
        "shapes": [mark | {"layer": "above"} for mark in layer_mark(layers, opened, palette)],
        "annotations": _height_mark(layers, opened, clicked, palette),
        "xaxis": layer_axis(len(layers), margin=0.7),
        "yaxis": {"title": {"text": "scale, % of the largest distance"}, "showgrid": False},
    }
    return style(SelectableFigure(data=data, layout=layout), palette, height=height)


def _pair_mark(
    layers: Sequence[str], pair: tuple[str, str], palette: Palette
) -> list[dict[str, Any]]:
    """A frame round the pair's cell."""
    if not set(pair) <= set(layers):
        return []
    column, row = sorted(map(list(layers).index, pair))
    line = {"color": palette.warning, "width": 2}
    sides = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    return [{"type": "rect", "name": "the pair", "line": line, **sides}]


def _height_mark(
    layers: Sequence[str], opened: str | None, clicked: float | None, palette: Palette
) -> list[dict[str, Any]]:
    """A dot at a scale of the open layer, and its label on the side that has more room.

    It is no trace, since Plotly fades the points of other traces when one is clicked.
    """
    if clicked is None or opened is None or opened not in layers:
        return []
    place = list(layers).index(opened)
    return [
        {
            "name": "clicked scale",
            "x": place,
            "y": 100 * clicked,
            "text": f"{100 * clicked:.1f} %",
            "ax": 40 if 2 * place < len(layers) else -40,
            "ay": 0,
            "arrowhead": 6,  # a dot
            "arrowcolor": palette.warning,
            "bordercolor": palette.warning,
            "borderpad": 3,
            "bgcolor": palette.surface,
            "font": {"color": palette.text, "size": 12 * palette.scale},
        }
    ]
