"""How sure the choice of each layer is: how often others choose it, and where they rank it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.charts.parts import RANK_TICKS, layer_axis, layer_mark
from app.charts.profile_columns import FAINT, SURE
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style, translucent

CHOSEN, LUCKY, OTHER = "selected", "selected by luck", "not selected"
COUNTED = "counted in other draws"
SELDOM = 0.01  # probability from which a layer that no draw has chosen has a diamond


def luck_figure(
    table: pd.DataFrame, *, opened: str | None = None, palette: Palette, height: int = 460
) -> go.Figure:
    """Draw for each layer how probable its choice is, and below between which ranks it lies.

    Parameters
    ----------
    table : DataFrame
        Index layer, in execution order; selected (bool), probability (that other images choose
        it), rank, low and high (between which 90 % of other draws rank it). What is missing is not
        drawn. With a column drawn, the share of other draws that were analysed and choose it.
    opened : str, optional
        The layer to mark.
    palette : Palette
    height : int, default=460
        Pixels.

    Returns
    -------
    Figure
        For each of "selected", "selected by luck" (by fewer than half of other draws) and "not
        selected" a trace of bars above and one of points below. A mark's `customdata[0]` is its
        layer's full name. "counted in other draws" is a trace of diamonds above.
    """
    selected = table["selected"].to_numpy(dtype=bool)
    lucky = selected & (table["probability"].to_numpy(dtype=float) < SURE)
    looks = (
        (OTHER, ~selected, palette.muted),
        (LUCKY, lucky, translucent(palette.accent, FAINT)),
        (CHOSEN, selected & ~lucky, palette.accent),
    )
    texts = [_hover_text(str(name), row) for name, row in table.iterrows()]
    bars, points = [], []
    for name, which, color in looks:
        at = np.flatnonzero(which & table["rank"].notna().to_numpy())
        bars.append(_bars(name, table, at, texts, color, palette))
        ink = palette.ink if name == OTHER else color
        points.append(_points(name, table, at, texts, ink, palette))
    if "drawn" in table:
        points.append(_counted(table, texts, palette))
    last = float(table[["rank", "high"]].max().max()) if len(table) else 1.0
    count = int(selected.sum())
    layout = {
        "barmode": "overlay",
        "clickmode": "event+select",
        "shapes": [*_border(count, palette), *layer_mark(table.index.tolist(), opened, palette)],
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "margin": {"l": 56, "r": 12, "t": 30, "b": 40},
        "xaxis": layer_axis(len(table)) | {"anchor": "y2"},
        "yaxis": {
            "domain": [0.6, 1],
            "range": [0, 1.02],
            "tickvals": [0, 0.5, 1],
            "ticktext": ["0 %", "50 %", "100 %"],
            "title": {"text": "chosen"},
        },
        "yaxis2": {
            "domain": [0, 0.53],
            "type": "log",  # most room where layers are chosen
            "range": [math.log10(max(last, 2.0) * 1.15), math.log10(0.85)],
            "tickvals": [tick for tick in RANK_TICKS if tick <= last],
            "title": {"text": "rank"},
        },
    }
    return style(SelectableFigure(data=bars + points, layout=layout), palette, height=height)


def _bars(
    name: str,
    table: pd.DataFrame,
    at: np.ndarray[Any, Any],
    texts: list[str],
    color: str,
    palette: Palette,
) -> dict[str, Any]:
    return _marks(name, table, at, texts) | {
        "type": "bar",
        "y": table["probability"].to_numpy(dtype=float)[at],
        "width": 0.8,
        "marker": {
            "color": color,
            "line": {"width": 1 if name == LUCKY else 0, "color": palette.accent},
        },
    }


def _points(
    name: str,
    table: pd.DataFrame,
    at: np.ndarray[Any, Any],
    texts: list[str],
    color: str,
    palette: Palette,
) -> dict[str, Any]:
    ranks, low, high = (
        table[column].to_numpy(dtype=float, na_value=np.nan)[at]
        for column in ("rank", "low", "high")
    )
    chosen = name != OTHER
    return _marks(name, table, at, texts) | {
        "type": "scatter",
        "mode": "markers",
        "y": ranks,
        "yaxis": "y2",
        "cliponaxis": False,
        "showlegend": False,
        "marker": {
            "size": 10 if chosen else 6,
            "color": color,
            "line": {"width": 1.5 if chosen else 0, "color": palette.accent},
        },
        "error_y": {
            "symmetric": False,
            # An own rank that shares its place may lie outside.
            "array": np.maximum(high - ranks, 0),
            "arrayminus": np.maximum(ranks - low, 0),
            "thickness": 3 if chosen else 1.5,
            "width": 0,
            "color": palette.accent if chosen else palette.muted,
        },
    }


def _counted(table: pd.DataFrame, texts: list[str], palette: Palette) -> dict[str, Any]:
    # A row of zeros would hide the others.
    some = (table["drawn"] > 0) | (table["probability"] >= SELDOM) | table["selected"]
    at = np.flatnonzero((some & table["drawn"].notna()).to_numpy())
    return _marks(COUNTED, table, at, texts) | {
        "type": "scatter",
        "mode": "markers",
        "y": table["drawn"].to_numpy(dtype=float)[at],
        "cliponaxis": False,
        "marker": {
            "symbol": "diamond",
            "size": 7,
            "color": palette.surface,
            "line": {"width": 1.75, "color": palette.text},
        },
    }


def _marks(
    name: str, table: pd.DataFrame, at: np.ndarray[Any, Any], texts: list[str]
) -> dict[str, Any]:
    steady = {"marker": {"opacity": 1}}  # a click fades nothing
    return {
        "name": name,
        "x": at,
        "customdata": [[table.index[place]] for place in at],
        "hovertext": [texts[place] for place in at],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "legendgroup": name,
        "selected": steady,
        "unselected": steady,
    }


def _border(count: int, palette: Palette) -> list[dict[str, Any]]:
    """A line between the ranks that are selected and those that are not."""
    if not count:
        return []
    line = {"color": palette.secondary, "width": 1, "dash": "dot"}
    border = {"type": "line", "name": "last selected rank", "layer": "below", "line": line}
    return [border | {"xref": "paper", "x0": 0, "x1": 1, "yref": "y2", "y0": count + 0.5,
                      "y1": count + 0.5}]  # fmt: skip


def _hover_text(name: str, row: pd.Series) -> str:
    lines = [f"<b>{figure_text(name or '(model)')}</b>"]
    if not pd.isna(row["probability"]):
        lines.append(f"chosen by {100 * row['probability']:.0f} % of other draws")
    if not pd.isna(row.get("drawn")):
        lines.append(f"chosen by {100 * row['drawn']:.0f} % of the draws that were analysed")
    if not pd.isna(row["rank"]):
        lines.append(f"rank {row['rank']:.0f}")
    if not pd.isna(row["low"]):
        lines.append(f"90 % of other draws: {row['low']:.0f} to {row['high']:.0f}")
    return "<br>".join(lines)
