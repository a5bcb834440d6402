"""What layers are worth, beside what criteria say of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.charts.layer_names import short_names
from app.charts.parts import layer_axis, layer_mark
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style

BEST, CHOSEN, OTHER = "worth most", "selected by the criterion", "other layers"
CLEAR, UNCLEAR = "better than chance", "not told apart from chance"
ROW = 22  # px
_AXES = 300  # px of each axis where the page is narrow
_LETTER, _LINE = 6.5, 16  # px of a name
_STEADY = {"marker": {"opacity": 1}}  # a click fades nothing


def criteria_figure(
    table: pd.DataFrame, *, marked: str | None = None, title: str, palette: Palette
) -> go.Figure:
    """Draw the rank correlation of each criterion with the gain, and its interval.

    Parameters
    ----------
    table : DataFrame
        Index criterion, the best first; title, value, low, high, clear (bool). A criterion without
        a value has a row and no mark.
    marked : str, optional
        The criterion to mark.
    title : str
        Of the axis.
    palette : Palette

    Returns
    -------
    Figure
        A trace for criteria that are better than chance, and one for the others. A point's
        `customdata[0]` is its criterion.
    """
    clear = table["clear"].to_numpy(dtype=bool)
    known = table["value"].notna().to_numpy()
    places = np.arange(len(table))
    traces = []
    for name, which, color in ((CLEAR, clear, palette.accent), (UNCLEAR, ~clear, palette.noise)):
        at = np.flatnonzero(which & known)
        own = table.iloc[at]
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": name,
                "x": own["value"], "y": places[at],
                "marker": {"size": 10, "color": color},
                "error_x": {
                    "symmetric": False, "thickness": 2, "width": 0, "color": color,
                    "array": np.maximum(own["high"] - own["value"], 0),
                    "arrayminus": np.maximum(own["value"] - own["low"], 0),
                },
                "customdata": [[criterion] for criterion in own.index],
                "hovertext": [
                    f"<b>{figure_text(row['title'])}</b><br>{row['value']:.2f}, "
                    f"interval {row['low']:.2f} to {row['high']:.2f}"
                    for _, row in own.iterrows()
                ],
                "hovertemplate": "%{hovertext}<extra></extra>",
                "selected": _STEADY, "unselected": _STEADY,
            }
        )  # fmt: skip
    rows = [
        f"<b>{figure_text(row['title'])}</b>" if name == marked else figure_text(row["title"])
        for name, row in table.iterrows()
    ]
    layout: dict[str, Any] = {
        "clickmode": "event+select",
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "margin": {"l": 8, "r": 12, "t": 30, "b": 44},
        "xaxis": {"range": [-1.02, 1.02], "title": {"text": title}},
        "yaxis": {
            "range": [len(table) - 0.4, -0.6], "showgrid": False, "automargin": True,
            "tickvals": places.tolist(), "ticktext": rows, "tickfont": {"color": palette.text},
        },
        "shapes": [
            {"type": "line", "name": "chance", "layer": "below", "x0": 0, "x1": 0, "yref": "paper",
             "y0": 0, "y1": 1, "line": {"color": palette.secondary, "width": 1, "dash": "dot"}}
        ],
    }  # fmt: skip
    figure = SelectableFigure(data=traces, layout=layout)
    return style(figure, palette, height=74 + ROW * max(1, len(table)))


def worth_figure(
    table: pd.DataFrame,
    *,
    criterion: str,
    opened: str | None = None,
    palette: Palette,
    height: int = 430,
) -> go.Figure:
    """Draw for each layer what it gains, and below what a criterion gives it.

    Parameters
    ----------
    table : DataFrame
        Index layer, in execution order; gain and sd in points, score, selected and best (bool).
        Layers without a score have no lower bar; with one seed, `sd` is missing.
    criterion : str
        Its title.
    opened : str, optional
        The layer to mark.
    palette : Palette
    height : int, default=430
        Pixels.

    Returns
    -------
    Figure
        A bar's `customdata[0]` is its layer's full name.
    """
    texts = _hover_texts(table, criterion)
    bars = []
    for name, which, color in _looks(table, palette):
        at = np.flatnonzero(which)
        own = table.iloc[at]
        shared = _marks(name, table, at, texts) | {
            "type": "bar", "x": at, "width": 0.8, "marker": {"color": color},
        }  # fmt: skip
        spread = {"array": own["sd"].fillna(0), "visible": bool(own["sd"].notna().any()),
                  "thickness": 1, "width": 0, "color": palette.secondary}  # fmt: skip
        bars.append(shared | {"y": own["gain"], "error_y": spread})
        bars.append(shared | {"y": own["score"], "yaxis": "y2", "showlegend": False})
    layout = {
        "barmode": "overlay",
        "clickmode": "event+select",
        "shapes": layer_mark(table.index.tolist(), opened, palette),
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "margin": {"l": 60, "r": 12, "t": 30, "b": 40},
        "xaxis": layer_axis(len(table)) | {"anchor": "y2"},
        "yaxis": {"domain": [0.5, 1], "title": {"text": "gain, points"}},
        "yaxis2": {"domain": [0, 0.42], "title": {"text": "score"}, "nticks": 4,
                   "rangemode": "tozero", "exponentformat": "power"},
    }  # fmt: skip
    return style(SelectableFigure(data=bars, layout=layout), palette, height=height)


def scatter_figure(
    table: pd.DataFrame,
    *,
    criterion: str,
    opened: str | None = None,
    palette: Palette,
    height: int = 430,
) -> go.Figure:
    """Draw each layer's gain against its place by a criterion; `table` is `worth_figure`'s.

    Layers that gain most or are selected have their names where these do not touch, the others
    on hovering.
    """
    places = table["score"].rank(ascending=False, method="average", na_option="bottom")
    texts, labels = _hover_texts(table, criterion), short_names(table.index.tolist())
    marked = [name == opened for name in table.index]
    named = (table["best"] | table["selected"]).to_numpy(dtype=bool)
    names = [label if on else "" for label, on in zip(labels, named, strict=True)]
    positions = _text_positions(names, table["gain"], places)
    traces = []
    for name, which, color in _looks(table, palette):
        at = np.flatnonzero(which)
        traces.append(
            _marks(name, table, at, texts)
            | {
                "type": "scatter",
                "mode": "markers+text",
                "x": places.iloc[at],
                "y": table["gain"].iloc[at],
                "text": [figure_text(names[i]) if positions[i] else "" for i in at],
                "textposition": [positions[i] or "top right" for i in at],
                "textfont": {"size": 11, "color": palette.text},
                "cliponaxis": False,
                "marker": {
                    "opacity": 1,
                    "size": [14 if marked[i] else 9 for i in at],
                    "color": color,
                    "line": {
                        "width": [2.5 if marked[i] else 1 for i in at],
                        "color": [palette.warning if marked[i] else palette.surface for i in at],
                    },
                },
            }
        )
    layout = {
        "clickmode": "event+select",
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "margin": {"l": 60, "r": 16, "t": 30, "b": 44},
        "xaxis": {
            "range": [0, len(table) + 1],
            "title": {"text": f"place by {figure_text(criterion)}: 1 is trained first"},
        },
        "yaxis": {"title": {"text": "gain, points"}},
    }
    return style(SelectableFigure(data=traces, layout=layout), palette, height=height)


def _text_positions(names: list[str], gains: pd.Series, places: pd.Series) -> list[str]:
    """Where each name stands, the best gain first; empty where it would lie on another name."""
    x = places.to_numpy() / (len(places) + 1) * _AXES
    y = (gains - gains.min()).to_numpy() / (np.ptp(gains) or 1) * _AXES
    taken: list[tuple[float, float, float]] = []  # left, right and bottom in pixels
    positions = [""] * len(names)
    for i in np.argsort(-gains.to_numpy(), kind="stable"):
        width = _LETTER * len(names[i])
        for side, height in product(("right", "left"), ("top", "bottom")):
            left = x[i] if side == "right" else x[i] - width
            bottom = y[i] if height == "top" else y[i] - _LINE
            fits = left >= 0 and left + width <= _AXES
            free = all(
                left > end or left + width < start or abs(bottom - low) >= _LINE
                for start, end, low in taken
            )
            if width and fits and free:
                positions[i] = f"{height} {side}"
                taken.append((left, left + width, bottom))
                break
    return positions


def _looks(table: pd.DataFrame, palette: Palette) -> list[tuple[str, np.ndarray[Any, Any], str]]:
    best = table["best"].to_numpy(dtype=bool)
    chosen = table["selected"].to_numpy(dtype=bool)
    found = f"{BEST}, and selected"
    return [
        (OTHER, ~best & ~chosen, palette.muted),
        (CHOSEN, chosen & ~best, palette.ink),
        (BEST, best & ~chosen, palette.clusters[2]),
        (found, best & chosen, palette.accent),
    ]


def _marks(
    name: str, table: pd.DataFrame, at: np.ndarray[Any, Any], texts: Sequence[str]
) -> dict[str, Any]:
    return {
        "name": name,
        "legendgroup": name,
        "customdata": [[table.index[place]] for place in at],
        "hovertext": [texts[place] for place in at],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "selected": _STEADY,
        "unselected": _STEADY,
    }


def _hover_texts(table: pd.DataFrame, criterion: str) -> list[str]:
    texts = []
    for name, row in table.iterrows():
        spread = "" if pd.isna(row["sd"]) else f" ± {row['sd']:.1f}"
        score = "no score" if pd.isna(row["score"]) else f"{row['score']:.3g}"
        texts.append(
            f"<b>{figure_text(str(name) or '(model)')}</b><br>"
            f"gain {row['gain']:+.1f}{spread} points<br>{figure_text(criterion)}: {score}"
        )
    return texts
