"""A table of numbers as coloured cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.theme import Palette, style

CLEAR = "clear"


def heat_map_figure(
    values: ArrayLike,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    titles: tuple[str, str, str],
    span: tuple[float, float] | None = None,
    diverging: bool = False,
    marked: ArrayLike | None = None,
    digits: int = 2,
    palette: Palette,
    height: int = 260,
) -> go.Figure:
    """Draw one cell for each value, the first row at the bottom.

    Parameters
    ----------
    values : array_like of shape (r, c)
        Missing values leave their cells empty.
    rows, columns : sequence of str
        Distinct names of the r rows and c columns.
    titles : tuple of three str
        Of the rows, the columns and the value.
    span : tuple of float, optional
        The values at the ends of the colour scale; by default those that occur.
    diverging : bool, default=False
        Whether zero has the colour of the page, and negative values another one.
    marked : array_like of bool, shape (r, c), optional
        Cells with a dot, in the trace "clear".
    digits : int, default=2
        After the point, on hover.
    palette : Palette
    height : int, default=260
        Pixels.
    """
    cells = np.asarray(values, dtype=float)
    if cells.shape != (len(rows), len(columns)):
        raise ValueError(f"`values` must be ({len(rows)}, {len(columns)}), got {cells.shape}")
    known = cells[np.isfinite(cells)]
    low, high = span or ((known.min(), known.max()) if len(known) else (0.0, 1.0))
    row_title, column_title, value_title = titles
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x=list(columns),
            y=list(rows),
            zmin=low,
            zmax=high if high > low else low + 1,
            colorscale=_colors(palette, diverging),
            xgap=1,
            ygap=1,
            hoverongaps=False,
            hovertemplate=f"{row_title} %{{y}}<br>{column_title} %{{x}}<br>"
            f"{value_title} %{{z:.{digits}f}}<extra></extra>",
            colorbar={
                "title": {"text": value_title, "side": "right"},
                "thickness": 10,
                "outlinewidth": 0,
                "tickfont": {"color": palette.secondary, "size": 11 * palette.scale},
            },
        )
    )
    if marked is not None:
        where = np.argwhere(np.asarray(marked, dtype=bool))
        figure.add_scatter(
            x=[columns[c] for _, c in where],
            y=[rows[r] for r, _ in where],
            mode="markers",
            name=CLEAR,
            hoverinfo="skip",
            showlegend=False,
            marker={"size": 4, "color": palette.text},
        )
    figure.update_xaxes(
        title_text=column_title, type="category", showgrid=False, nticks=6, tickangle=0
    )
    figure.update_yaxes(title_text=row_title, type="category", showgrid=False)
    return style(figure, palette, height=height)


def cells_trace(
    values: ArrayLike, *, title: str, reverse: bool = False, palette: Palette
) -> dict[str, Any]:
    """Coloured cells without a hover of their own, the strongest colour at the highest value.

    Parameters
    ----------
    values : array_like of shape (r, c)
        Missing values leave their cells empty.
    title : str
        Of the value, beside the colour bar.
    reverse : bool, default=False
        Whether the lowest value has the strongest colour.
    palette : Palette
    """
    cells = np.asarray(values, dtype=float)
    known = cells[np.isfinite(cells)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    return {
        "type": "heatmap",
        "z": cells,
        "zmin": low,
        "zmax": high if high > low else low + 1,
        "colorscale": [[0, palette.band], [1, palette.accent]],
        "reversescale": reverse,
        "hoverinfo": "skip",
        "colorbar": {
            "title": {"text": title, "side": "right"},
            "thickness": 10,
            "outlinewidth": 0,
            "nticks": 5,
            "tickfont": {"color": palette.secondary, "size": 11 * palette.scale},
        },
    }


def _colors(palette: Palette, diverging: bool) -> list[tuple[float, str]]:
    if not diverging:
        return [(0, palette.band), (1, palette.accent)]
    return [(0, palette.warning), (0.5, palette.band), (1, palette.accent)]
