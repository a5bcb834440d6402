"""What a shift does to the layers: the selection's overlap, and a value per layer and severity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.charts.heatmap import cells_trace
from app.charts.parts import layer_axis, unseen_points, whole_step
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style

SHIFTED, LUCK, MEAN, SIZE = "this shift", "draws without shift", "their mean", "size alone"
CHOSEN = "selected"
_TALLEST = 0.02  # share of the axis that a band without a height gets


def overlap_figure(
    shared: Sequence[int],
    *,
    chosen: int,
    luck: tuple[float, float, float] | None,
    by_size: float,
    severity: int,
    step: int = 1,
    axis: str = "severity",
    palette: Palette,
    height: int = 300,
) -> go.Figure:
    """Draw how many selected layers are selected at each severity too.

    Parameters
    ----------
    shared : sequence of int
        Layers by severity, from 0.
    chosen : int
        Layers that are selected without the shift.
    luck : tuple of float, optional
        The least, the mean and the most layers that two draws without the shift share.
    by_size : float
        Layers of the selection without the shift that size alone would select.
    severity : int
        The one to mark.
    step : int, default=1
        From one severity to the next on the axis.
    axis : str, default="severity"
        Title of the axis.
    palette : Palette
    height : int, default=300
        Pixels.

    Returns
    -------
    Figure
        Traces "draws without shift" and "their mean" if `luck` is given, "size alone", and
        "this shift".
    """
    places = [step * number for number in range(len(shared))]
    ends = [places[0] - 0.4 * step, places[-1] + 0.4 * step]
    traces: list[dict[str, Any]] = []
    if luck is not None:
        traces += _luck(luck, ends, chosen, palette)
    traces.append(
        {
            "name": SIZE,
            "x": ends,
            "y": [by_size, by_size],
            "mode": "lines",
            "line": {"color": palette.warning, "width": 1.75, "dash": "dot"},
            "hovertemplate": f"size alone selects {by_size:.3g} of them<extra></extra>",
        }
    )
    marked = [number == severity for number in range(len(shared))]
    traces.append(
        {
            "name": SHIFTED,
            "x": places,
            "y": list(shared),
            "mode": "lines+markers",
            "line": {"color": palette.accent, "width": 2},
            "marker": {
                "size": [12 if mark else 7 for mark in marked],
                "color": palette.accent,
                "opacity": 1,  # the default of marks of several sizes is less
                "line": {"color": palette.text, "width": [2 if mark else 0 for mark in marked]},
            },
            "hovertemplate": f"{axis} %{{x}}: %{{y}} of {chosen}<extra></extra>",
        }
    )
    room = max(chosen, 1)
    layout = {
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "margin": {"l": 46, "r": 12, "t": 48, "b": 40},
        "xaxis": {"title": {"text": axis}, "range": ends, "dtick": step, "showgrid": False},
        "yaxis": {
            "title": {"text": f"layers kept, of {chosen}"},
            "range": [-0.06 * room, 1.06 * room],
            "dtick": whole_step(room),
        },
    }
    figure = go.Figure(data=[{"type": "scatter"} | trace for trace in traces], layout=layout)
    return style(figure, palette, height=height)


def layer_map_figure(
    values: ArrayLike,
    *,
    layers: Sequence[str],
    selected: ArrayLike,
    title: str,
    low_is_good: bool = False,
    digits: int = 1,
    opened: str | None = None,
    palette: Palette,
    height: int = 230,
) -> go.Figure:
    """Draw a value of each layer at each severity as coloured cells, without the shift at the top.

    Parameters
    ----------
    values : array_like of shape (layers, severities)
        Missing ones leave their cells empty.
    layers : sequence of str
        Full names in execution order.
    selected : array_like of bool, shape (layers, severities)
        Cells with a dot.
    title : str
        Of the value.
    low_is_good : bool, default=False
        Whether the lowest value has the strongest colour, as of ranks.
    digits : int, default=1
        After the point, on hover.
    opened : str, optional
        The layer to mark.
    palette : Palette
    height : int, default=230
        Pixels.

    Returns
    -------
    Figure
        The heat map, "selected" (the dots), and "cells", whose `customdata[0]` is the name of the
        layer that a click chooses.
    """
    cells, dots = np.asarray(values, dtype=float), np.asarray(selected, dtype=bool)
    if cells.shape != dots.shape or len(cells) != len(layers):
        raise ValueError(f"`values` must be ({len(layers)}, severities), got {cells.shape}")
    heat = cells_trace(cells.T, title=title, reverse=low_is_good, palette=palette)
    heat |= {"xgap": 1 if len(layers) < 60 else 0, "ygap": 1}
    count = cells.shape[1]
    layout = {
        "clickmode": "event+select",
        "margin": {"l": 46, "r": 12, "t": 10, "b": 40},
        "shapes": _frame(layers, opened, count, palette),
        "xaxis": layer_axis(len(layers), margin=0.7),
        "yaxis": {
            "title": {"text": "severity"},
            "range": [count - 0.4, -0.6],
            "dtick": 1,
            "showgrid": False,
        },
    }
    data = [heat, _dots(dots, palette), _cells(cells, layers, dots, f"{title} %.{digits}f")]
    return style(SelectableFigure(data=data, layout=layout), palette, height=height)


def _luck(
    luck: tuple[float, float, float], ends: list[float], chosen: int, palette: Palette
) -> list[dict[str, Any]]:
    low, mean, high = luck
    least = _TALLEST * max(chosen, 1) / 2
    if high - low < 2 * least:
        low, high = low - least, high + least
    return [
        {
            "name": LUCK,
            "x": [*ends, *ends[::-1]],
            "y": [low, low, high, high],
            "mode": "lines",
            "fill": "toself",
            "fillcolor": palette.muted,
            "opacity": 0.55,
            "line": {"width": 0},
            "hoverinfo": "skip",
        },
        {
            "name": MEAN,
            "x": ends,
            "y": [mean, mean],
            "mode": "lines",
            "line": {"color": palette.ink, "width": 1.75, "dash": "dash"},
            "hovertemplate": f"two draws share {mean:.3g} on average<extra></extra>",
        },
    ]


def _frame(
    layers: Sequence[str], opened: str | None, count: int, palette: Palette
) -> list[dict[str, Any]]:
    if opened is None or opened not in layers:
        return []
    place = list(layers).index(opened)
    line = {"color": palette.warning, "width": 2}
    sides = {"x0": place - 0.5, "x1": place + 0.5, "y0": -0.5, "y1": count - 0.5}
    return [{"type": "rect", "name": "marked layer", "line": line, **sides}]


def _dots(selected: np.ndarray, palette: Palette) -> dict[str, Any]:
    places, severities = np.nonzero(selected)
    return {
        "type": "scatter",
        "name": CHOSEN,
        "x": places,
        "y": severities,
        "mode": "markers",
        "hoverinfo": "skip",
        "showlegend": False,
        "marker": {
            "size": 7 if len(selected) < 60 else 5,
            "color": palette.surface,
            "line": {"color": palette.text, "width": 1.5},
        },
    }


def _cells(
    values: np.ndarray, layers: Sequence[str], selected: np.ndarray, form: str
) -> dict[str, Any]:
    places, severities = np.indices(values.shape).reshape(2, -1)
    texts = [
        f"<b>{figure_text(layers[place] or '(model)')}</b><br>"
        + (f"severity {severity}" if severity else "without the shift")
        + ("<br>" + form % value if np.isfinite(value) else "<br>not ranked or not finite")
        + ("<br>selected" if chosen else "")
        for place, severity, value, chosen in zip(
            places.tolist(), severities.tolist(), values.ravel(), selected.ravel(), strict=True
        )
    ]
    return unseen_points(places, severities, [[layers[place]] for place in places.tolist()], texts)
