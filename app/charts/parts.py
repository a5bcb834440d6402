"""Parts of several figures: legends, whole-number ticks, marked layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.theme import Palette

LEGEND_WIDTH = 296.0  # px, of a figure 360 px wide
LEGEND_MARK = 46.0  # px, the mark of an entry and the gap after its text
LEGEND_CHARACTER = 5.6  # px, a wide estimate
LEGEND_LINE = 19  # px
RANK_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)  # of a logarithmic axis
CELLS = "cells"
MANY_POINTS = 3000  # above, they are drawn by WebGL
LINES_INCLUDED = 2  # of the legend, in the height that a caller asks for


def set_legend_above(figure: go.Figure) -> None:
    """Put the legend above the plot, where it can take as many lines as it needs."""
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "xanchor": "left"},
    )


def extra_height(names: Sequence[str]) -> int:
    """Return the pixels that a legend of many names needs besides its first two lines.

    The estimate is for the narrowest screen, since a figure does not know its width.
    """
    lines, left = 0, 0.0
    for name in names:
        needed = LEGEND_MARK + LEGEND_CHARACTER * len(name)
        if needed > left:
            lines, left = lines + 1, LEGEND_WIDTH
        left -= needed
    return LEGEND_LINE * max(0, lines - LINES_INCLUDED)


def say_empty(figure: go.Figure, text: str, palette: Palette) -> None:
    """Write `text` in the middle of a plot that has nothing to show yet."""
    figure.add_annotation(
        text=text,
        x=0.5,
        y=0.5,
        xref="x domain",
        yref="y domain",
        showarrow=False,
        font={"color": palette.secondary, "size": 13},
        bgcolor=palette.surface,
        borderpad=4,
    )


def whole_step(last: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50 … that reaches `last` in at most eight steps."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if last <= 8 * digit * power:
                return digit * power
        power *= 10


def layer_axis(count: int, *, margin: float = 0.8) -> dict[str, Any]:
    """Return a horizontal axis with a place for each layer, in execution order."""
    ends = [0, count - 1] if count > 1 else [0]
    return {
        "range": [-margin, count - 1 + margin],
        "showgrid": False,
        "title": {"text": "place in the network: first to run at the left"},
        "tickvals": ends,
        "ticktext": ["first", "last"][: len(ends)],
    }


def layer_mark(layers: Sequence[str], opened: str | None, palette: Palette) -> list[dict[str, Any]]:
    """Return the line through the open layer on such an axis; none if it is not there."""
    if opened is None or opened not in layers:
        return []
    line = {"color": palette.warning, "width": 2}
    place = layers.index(opened)
    mark = {"type": "line", "name": "marked layer", "layer": "below", "line": line}
    return [mark | {"x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1}]


def unseen_points(
    x: ArrayLike, y: ArrayLike, names: Sequence[Sequence[object]], texts: list[str]
) -> dict[str, Any]:
    """Return the trace "cells" for the hover and the click of a heat map.

    Plotly gives no click on a heat map to Streamlit.

    Parameters
    ----------
    x, y : array_like of shape (points,)
    names : sequence of sequences
        Each point's `customdata`; the first is the layer that a click chooses.
    texts : list of str
        The hover.
    """
    unseen = {"marker": {"opacity": 0}}
    return {
        "type": "scattergl" if len(texts) > MANY_POINTS else "scatter",
        "name": CELLS,
        "x": x,
        "y": y,
        "customdata": names,
        "hovertext": texts,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "mode": "markers",
        "marker": {"size": 14, "symbol": "square", "opacity": 0},
        "selected": unseen,
        "unselected": unseen,
        "showlegend": False,
    }
