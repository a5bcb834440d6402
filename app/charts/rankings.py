"""Several rankings of the same layers: their ranks, where they select, and how far they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.results import Float64
from analysis.text import plural
from app.charts.layer_names import short_names
from app.charts.parts import RANK_TICKS
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style, translucent

OTHER, SELECTED, OPENED = "other layers", "layers that some ranking selects", "the marked layer"
POINTS, CHOSEN, HEAD = "not selected", "selected", "head, always trained"
STRIP_ROW = 34  # px
_NAMED = 8  # of the last ranking's selected layers, at most; more names would overlap
_CHARACTER = 6.0  # px, a wide estimate
_ANGLES = [0, 90]  # of titles: on a phone they stand upright
_MOST = 140  # px for names at the right, less on a phone than its columns


def bump_figure(
    rankings: Mapping[str, pd.DataFrame],
    *,
    current: str | None = None,
    opened: str | None = None,
    palette: Palette,
    height: int = 460,
) -> go.Figure:
    """Draw one column per ranking, and each layer as a line through its ranks.

    Parameters
    ----------
    rankings : mapping of str to DataFrame
        By its title, each ranking of the same layers, as `ranking.ranking` returns it.
    current : str, optional
        The title of the ranking that decides what trains.
    opened : str, optional
        The layer to mark.
    palette : Palette
    height : int, default=460
        Pixels.

    Returns
    -------
    Figure
        The best is at the top, where the axis of ranks, which is logarithmic, has most room. A
        point's `customdata[0]` is its layer's full name.
    """
    titles, tables = list(rankings), list(rankings.values())
    names = tables[0]["layer"].tolist()
    ranks = np.array([t["rank"].to_numpy(dtype=float, na_value=np.nan) for t in tables])  # (K, L)
    chosen = np.array([t["selected"].to_numpy(dtype=bool) for t in tables])
    marked = np.array([name == opened for name in names])
    some = chosen.any(axis=0)
    texts = _hover_texts(rankings)
    traces = [
        _lines(OTHER, ranks[:, ~some & ~marked], palette.muted, 1.0),
        _lines(SELECTED, ranks[:, some & ~marked], palette.ink, 1.5),
    ]
    for name, which, color, size in (
        (POINTS, ~chosen, palette.muted, 6),
        (CHOSEN, chosen, palette.accent, 11),
    ):
        column, row = np.nonzero(which & np.isfinite(ranks))
        traces.append(
            _marks(
                name,
                column,
                ranks[column, row],
                [names[i] for i in row],
                [texts[k][i] for k, i in zip(column, row, strict=True)],
                color=color,
                size=size,
                symbol="circle",
                border=palette.surface,
            )
        )
    # On top of the others, whose points below answer the pointer.
    sizes = np.where(chosen[:, marked], 13, 8).ravel().tolist()
    dots = {"color": palette.warning, "size": sizes, "line": {"width": 1, "color": palette.surface}}
    line = _lines(OPENED, ranks[:, marked], palette.warning, 3.5)
    traces.append({**line, "mode": "lines+markers", "marker": dots})
    last = float(np.nanmax(ranks, initial=1.0))
    ends = _end_names(names, ranks[-1], chosen[-1] | marked)
    layout: dict[str, Any] = {
        "showlegend": False,
        "clickmode": "event+select",
        "annotations": [
            {
                "text": text, "x": 1.0, "xref": "paper", "xanchor": "left", "xshift": 2,
                "y": math.log10(place), "yref": "y", "showarrow": False,
                "font": {"size": 11, "color": palette.text},
            }
            for place, text in ends.items()
        ],
        "shapes": _band(titles, current, palette),
        "margin": {
            # Room for upright titles too: where Plotly has to make it, it draws the figure twice.
            "l": 40, "t": 10 + int(_CHARACTER * max(len(w) for t in titles for w in t.split())),
            "b": 10,
            "r": 8 + min(_MOST, int(_CHARACTER * max(map(len, ends.values()), default=0))),
        },
        "xaxis": {
            "side": "top", "showgrid": False, "range": [-0.3, len(titles) - 0.75],
            "tickvals": list(range(len(titles))), "ticktext": [_wrapped(t) for t in titles],
            "autotickangles": _ANGLES, "tickfont": {"color": palette.text},
        },
        "yaxis": {
            "type": "log", "range": [math.log10(last * 1.15), math.log10(0.85)],
            "tickvals": [tick for tick in RANK_TICKS if tick <= last],
            "title": {"text": "rank"},
        },
    }  # fmt: skip
    return style(SelectableFigure(data=traces, layout=layout), palette, height=height)


def strip_figure(
    rankings: Mapping[str, pd.DataFrame],
    *,
    current: str | None = None,
    opened: str | None = None,
    palette: Palette,
) -> go.Figure:
    """Draw one strip per ranking, with the layers from left to right in execution order.

    Parameters are those of `bump_figure`, and so is `customdata`.
    """
    titles, tables = list(rankings), list(rankings.values())
    names = tables[0]["layer"].tolist()
    texts = _hover_texts(rankings, brief=True)
    chosen, head = (
        np.array([t[c].to_numpy(dtype=bool) for t in tables]) for c in ("selected", "head")
    )
    looks = {  # color, symbol, size, color of the border
        POINTS: (~chosen & ~head, palette.muted, "line-ns", 9, palette.muted),
        HEAD: (head & ~chosen, palette.ink, "diamond", 9, palette.surface),
        CHOSEN: (chosen, palette.accent, "square", 13, palette.surface),
    }
    traces = []
    for name, (which, color, symbol, size, border) in looks.items():
        row, place = np.nonzero(which)
        traces.append(
            _marks(
                name,
                place,
                row,
                [names[i] for i in place],
                [texts[k][i] for k, i in zip(row, place, strict=True)],
                color=color,
                size=size,
                symbol=symbol,
                border=border,
            )
        )
    shapes = []
    if opened in names:
        at = names.index(opened)
        line = {"color": palette.warning, "width": 2}
        shapes.append(
            {
                "type": "line",
                "name": OPENED,
                "layer": "below",
                "x0": at,
                "x1": at,
                "yref": "y domain",
                "y0": 0,
                "y1": 1,
                "line": line,
            }
        )
    bold = [f"<b>{figure_text(t)}</b>" if t == current else figure_text(t) for t in titles]
    layout = {
        "showlegend": False,
        "clickmode": "event+select",
        "shapes": shapes,
        "margin": {"l": 112, "r": 12, "t": 8, "b": 40},
        "xaxis": {
            "range": [-0.8, len(names) - 0.2],
            "showgrid": False,
            "title": {"text": "order in the network"},
            "tickvals": [0, len(names) - 1],
            "ticktext": ["first", "last"],
        },
        "yaxis": {
            "range": [len(titles) - 0.5, -0.5],
            "tickvals": list(range(len(titles))),
            "ticktext": bold,
            "showgrid": False,
            "tickfont": {"color": palette.text},
        },
    }
    figure = SelectableFigure(data=traces, layout=layout)
    return style(figure, palette, height=48 + STRIP_ROW * len(titles))


def agreement_figure(
    values: Float64, titles: Sequence[str], *, signed: bool, palette: Palette
) -> go.Figure:
    """Draw a matrix of agreements with its numbers.

    Parameters
    ----------
    values : ndarray (K, K) of float
        In [-1, 1] if `signed`, else in [0, 1]; NaN is drawn as a dash.
    titles : sequence of K str
    signed : bool
        Whether values below 0 have a colour of their own.
    palette : Palette
    """
    count = len(titles)
    texts = [["–" if np.isnan(v) else f"{v:.2f}".replace("-", "−") for v in row] for row in values]
    most, none = translucent(palette.accent, 0.5), translucent(palette.accent, 0)
    least = translucent(palette.warning, 0.5)
    scale = [[0, least], [0.5, translucent(palette.warning, 0)], [0.5, none], [1, most]]
    wrapped = [_wrapped(title) for title in titles]
    heat = {
        "type": "heatmap", "z": np.where(np.isnan(values), 0, values).tolist(), "text": texts,
        "texttemplate": "%{text}", "textfont": {"color": palette.text, "size": 12},
        "zmin": -1 if signed else 0, "zmax": 1, "showscale": False, "xgap": 2, "ygap": 2,
        "colorscale": scale if signed else [[0, none], [1, most]],
        "hovertemplate": "%{customdata}: %{text}<extra></extra>",
        "customdata": [[f"{figure_text(a)} and {figure_text(b)}" for b in titles] for a in titles],
    }  # fmt: skip
    ticks = {"tickvals": list(range(count)), "showgrid": False}
    layout = {
        "margin": {"l": 92, "r": 8, "t": 74, "b": 8},
        "xaxis": {**ticks, "ticktext": wrapped, "side": "top", "autotickangles": _ANGLES},
        "yaxis": {
            **ticks,
            "ticktext": [figure_text(t) for t in titles],
            "range": [count - 0.5, -0.5],
        },
    }
    return style(go.Figure(data=[heat], layout=layout), palette, height=82 + 36 * count)


def _lines(name: str, ranks: Float64, color: str, width: float) -> dict[str, Any]:
    """Each column of (K, n) as a line, all in one trace."""
    columns, count = ranks.shape
    gap = np.full((1, count), np.nan)
    x = np.concatenate([np.repeat(np.arange(columns, dtype=float)[:, None], count, 1), gap])
    y = np.concatenate([ranks, gap])
    return {
        "type": "scatter", "name": name, "mode": "lines", "hoverinfo": "skip",
        "x": _plain(x.T.ravel()), "y": _plain(y.T.ravel()),
        "line": {"color": color, "width": width},
    }  # fmt: skip


def _plain(values: Float64) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _marks(
    name: str,
    x: Any,
    y: Any,
    layers: list[str],
    texts: list[str],
    *,
    color: str,
    size: int,
    symbol: str,
    border: str,
) -> dict[str, Any]:
    return {
        "type": "scatter", "name": name, "mode": "markers",
        "x": np.asarray(x).tolist(), "y": np.asarray(y).tolist(),
        "customdata": [[layer] for layer in layers],
        "hovertext": texts, "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {
            "color": color, "size": size, "symbol": symbol, "opacity": 1,
            "line": {"width": 1, "color": border},
        },
        # A click marks the layer in every chart; Plotly need not fade the others.
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 1}},
    }  # fmt: skip


def _hover_texts(rankings: Mapping[str, pd.DataFrame], *, brief: bool = False) -> list[list[str]]:
    """For each ranking and layer: its name and rank, and its loops and sizes unless brief."""
    rows = next(iter(rankings.values()))
    names = [figure_text(name or "(model)") for name in rows["layer"]]
    kinds = {kind: figure_text(kind) for kind in set(rows["kind"])}
    heads = [f"<b>{n}</b> · {kinds[k]}<br>" for n, k in zip(names, rows["kind"], strict=True)]
    sizes = zip(rows["b1"], rows["activation_size"], rows["parameters"], strict=True)
    tails = [
        ("" if math.isnan(b1) else f"b₁: {plural(b1, 'loop')}<br>")
        + f"|a|: {activations:,} activations<br>parameters: {parameters:,}"
        for b1, activations, parameters in sizes
    ]
    if brief:
        tails = [""] * len(names)
    texts = []
    for title, table in rankings.items():
        ranks = table["rank"].to_numpy(dtype=float, na_value=np.nan).tolist()
        shown = figure_text(title)
        middles = [
            ("head: trained without being ranked<br>" if head else "")
            if math.isnan(rank)
            else f"{shown}: rank {rank:.0f}{', selected' if chosen else ''}<br>"
            for rank, chosen, head in zip(ranks, table["selected"], table["head"], strict=True)
        ]
        texts.append([h + m + t for h, m, t in zip(heads, middles, tails, strict=True)])
    return texts


def _band(titles: list[str], current: str | None, palette: Palette) -> list[dict[str, Any]]:
    if current not in titles:
        return []
    at = titles.index(current)
    return [
        {
            "type": "rect", "name": "current", "layer": "below", "line": {"width": 0},
            "fillcolor": palette.band, "x0": at - 0.22, "x1": at + 0.22,
            "yref": "y domain", "y0": 0, "y1": 1,
        }
    ]  # fmt: skip


def _end_names(names: list[str], ranks: Float64, which: Any) -> dict[float, str]:
    """What to write beside each rank of the last column."""
    shorts, ends = short_names(names), {}
    for place in sorted({float(r) for r in ranks[which] if not math.isnan(r)})[:_NAMED]:
        here = [i for i in range(len(names)) if which[i] and ranks[i] == place]
        more = f" +{len(here) - 1}" if len(here) > 1 else ""
        ends[place] = figure_text(shorts[here[0]]) + more
    return ends


def _wrapped(title: str) -> str:
    return figure_text(title).replace(" ", "<br>")
