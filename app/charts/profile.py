"""The layer profile: one row a layer, with aligned columns side by side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.theme import Palette, axis_style, style, translucent

Column = Literal["b1", "score", "clusters", "cost"]
COLUMNS: tuple[Column, ...] = ("b1", "score", "clusters", "cost")

CLEAR = "rgba(0,0,0,0)"
GAP = 0.03  # between two columns, share of the plot's width
NAMES = 0.1  # of the plot's width; longer names reach into the left margin
NARROW = {2: 330, 3: 480, 4: 620}  # columns: the least width of the figure (px) that must work
CHARACTER = 6.3  # px, a wide estimate at the size below
NAME_SIZE = 11  # px
TOP, BOTTOM = 76, 10  # margins, px; the mode bar needs room above the titles
OVERFLOW = 1.12  # where an unranked layer's bar ends that would dwarf the ranked ones
LABEL_LENGTHS = (26, 34, 48)  # characters, tried in turn until no two names look alike

# "encoder.layers.encoder_layer_5.ln_1" and "model.blocks.5.ln_1" both say "5.ln_1".
_REPEATED_BLOCK = re.compile(r"^(?:\w+\.)*?(?:layers|blocks|block|h)\.(?:\w*_)?(\d+)(?=\.|$)")


@dataclass(frozen=True)
class _Panel:
    """One column: its horizontal axis and its place."""

    axis: str  # "x", "x2", ...
    start: float  # both as shares of the plot's width
    end: float


def short_names(names: Sequence[str]) -> list[str]:
    """Shorten qualified layer names for labels.

    Parameters
    ----------
    names : sequence of str
        As in `named_modules()`, all different.

    Returns
    -------
    list of str
        As many labels, all different, in the same order. A repeated block keeps only its number
        ("encoder.layers.encoder_layer_5.ln_1" becomes "5.ln_1") unless that would be ambiguous.
    """
    short = [_REPEATED_BLOCK.sub(r"\1", name) or "(model)" for name in names]
    count = Counter(short)
    short = [label if count[label] == 1 else name for label, name in zip(short, names, strict=True)]
    for length in LABEL_LENGTHS:
        cut = [label if len(label) <= length else "…" + label[1 - length :] for label in short]
        if len(set(cut)) == len(cut):
            return cut
    return short


def profile_figure(
    rows: pd.DataFrame,
    *,
    threshold: float | None,
    columns: tuple[Column, ...] = COLUMNS,
    palette: Palette,
    row_height: int = 15,
    normalization_title: str = "best layer = 1",
    opened: str | None = None,
) -> go.Figure:
    """Draw the layers from top to bottom, in the order of `rows`.

    Parameters
    ----------
    rows : DataFrame
        One row a layer: layer (unique), kind, b1 and score (may be missing), rank, clusters,
        noise_share (may be missing), parameters (elements), activation_size (elements of all
        images), activation_bytes (of one image), selected, finite, and head: trained whatever
        its score, so drawn hatched.
    threshold : float or None
        The lowest score that is selected, in the units of `score`; None draws no line.
    columns : tuple, default=("b1", "score", "clusters", "cost")
        What to draw, from left to right; two fit a phone.
    palette : Palette
    row_height : int, default=15
        Pixels.
    normalization_title : str, default="best layer = 1"
        Under the title of the score, e.g. "÷ activation size".
    opened : str, optional
        The layer whose row is marked as open when the figure is first drawn. The browser marks
        clicked cells by itself; a figure that changes loses Streamlit's selection.

    Returns
    -------
    Figure
        A click anywhere in a row selects a point of the trace "cells", whose `customdata[0]` is
        the layer's full name. No other trace answers to the pointer.
    """
    unknown = [column for column in columns if column not in _DRAW]
    if unknown or not columns:
        raise ValueError(f"`columns` must be some of {COLUMNS}, got {columns}")
    labels = short_names(rows["layer"].tolist())
    panels = _layout_panels(len(columns))
    figure = go.Figure()
    _draw_names(figure, rows, labels, panels[0], palette)
    for column, panel in zip(columns, panels[1:], strict=True):
        _DRAW[column](figure, rows, panel, palette)
    if "score" in columns:
        title = f"score<br>{_small(normalization_title)}"
        panel = panels[1 + columns.index("score")]
        _axis(figure, panel)["title"]["text"] = title
        if threshold is not None:
            _draw_threshold(figure, threshold / _best_score(rows), panel, len(rows), palette)
    _draw_cells(figure, rows, panels, palette, opened)
    width = CHARACTER * max(map(len, labels), default=0)
    # Names hang over the left edge of their column, which is narrowest on the smallest screen.
    margin = max(8.0, (width + 12 - NAMES * NARROW.get(len(columns), 330)) / (1 - NAMES))
    figure.update_layout(
        barmode="overlay",
        showlegend=False,
        clickmode="event+select",
        margin={"l": round(margin), "r": 10, "t": TOP, "b": BOTTOM},
        yaxis={
            "range": [len(rows) - 0.5, -1.3],
            "showgrid": False,
            "showticklabels": False,
        },
    )
    return style(figure, palette, height=len(rows) * row_height + TOP + BOTTOM + row_height)


def _layout_panels(columns: int) -> list[_Panel]:
    """The column of the names, then the others, equally wide."""
    each = (1 - NAMES - columns * GAP) / columns
    panels = [_Panel("x", 0.0, NAMES)]
    for number in range(columns):
        start = NAMES + GAP + number * (each + GAP)
        panels.append(_Panel(f"x{number + 2}", start, min(1.0, start + each)))
    return panels


def _axis(figure: go.Figure, panel: _Panel) -> Any:
    return figure.layout[panel.axis.replace("x", "xaxis")]


def _set_axis(figure: go.Figure, panel: _Panel, palette: Palette, **settings: Any) -> None:
    figure.layout[panel.axis.replace("x", "xaxis")] = {
        **axis_style(palette),
        "anchor": "y",
        "domain": [panel.start, panel.end],
        "side": "top",
        "tickangle": 0,
        **settings,
    }


def _title(palette: Palette, text: str, note: str) -> dict[str, Any]:
    return {
        "text": f"{text}<br>{_small(note)}",
        "font": {"size": 12, "color": palette.text},
        "standoff": 4,
    }


def _small(text: str) -> str:
    return f'<span style="font-size:10px">{text}</span>'


def _undimmed(trace: dict[str, Any]) -> dict[str, Any]:
    """Plotly fades whatever a click has not selected, unless told otherwise."""
    steady = {"marker": {"opacity": 1}}
    return {**trace, "selected": steady, "unselected": steady, "hoverinfo": "skip", "yaxis": "y"}


def _by_role(rows: pd.DataFrame, plain: Any, selected: Any, head: Any) -> list[Any]:
    roles = zip(rows["selected"], rows["head"], strict=True)
    return [head if h else selected if s else plain for s, h in roles]


def _numbers(values: pd.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    return values.to_numpy(dtype=float, na_value=np.nan)


def _best_score(rows: pd.DataFrame) -> float:
    """The highest score of a ranked layer; the head may lie far above without being ranked."""
    ranked = rows.loc[rows["rank"].notna(), "score"]
    best = (ranked if ranked.notna().any() else rows["score"]).max()
    return float(best) if best > 0 else 1.0


def _draw_names(
    figure: go.Figure, rows: pd.DataFrame, labels: list[str], panel: _Panel, palette: Palette
) -> None:
    colors = _by_role(rows, palette.text, palette.accent, palette.accent)
    figure.add_scatter(
        name="names",
        x=np.ones(len(rows)),
        y=np.arange(len(rows)),
        mode="text",
        text=labels,
        textposition="middle left",
        textfont={"size": NAME_SIZE, "color": colors},
        cliponaxis=False,
        hoverinfo="skip",
        xaxis=panel.axis,
        # A colour for selected texts keeps Plotly from fading all others.
        selected={"textfont": {"color": palette.text}},
    )
    _set_axis(figure, panel, palette, range=[0, 1], showgrid=False, showticklabels=False)


def _draw_points(
    figure: go.Figure,
    rows: pd.DataFrame,
    values: np.ndarray[Any, np.dtype[np.float64]],
    panel: _Panel,
    palette: Palette,
    symbol: str,
) -> None:
    figure.add_scatter(
        **_undimmed(
            {
                "name": "b1" if symbol == "circle" else "clusters",
                "x": values,
                "y": np.arange(len(rows)),
                "mode": "markers",
                "xaxis": panel.axis,
                "cliponaxis": False,
                "marker": {
                    "size": 7,
                    "color": _by_role(rows, palette.ink, palette.accent, palette.surface),
                    "symbol": symbol,
                    "line": {
                        "width": _by_role(rows, 0, 0, 1.5),
                        "color": palette.accent,
                    },
                },
            }
        )
    )


def _draw_bars(
    figure: go.Figure,
    rows: pd.DataFrame,
    values: np.ndarray[Any, np.dtype[np.float64]],
    panel: _Panel,
    palette: Palette,
    name: str,
) -> None:
    figure.add_bar(
        **_undimmed(
            {
                "name": name,
                "x": values,
                "y": np.arange(len(rows)),
                "orientation": "h",
                "width": 0.68,
                "xaxis": panel.axis,
                "marker": {
                    "color": _by_role(rows, palette.muted, palette.accent, palette.accent),
                    "line": {"width": _by_role(rows, 0, 0, 1), "color": palette.accent},
                    "pattern": {
                        "shape": _by_role(rows, "", "", "/"),
                        "size": 5,
                        "solidity": 0.3,
                    },
                },
            }
        )
    )


def _draw_b1(figure: go.Figure, rows: pd.DataFrame, panel: _Panel, palette: Palette) -> None:
    values = _numbers(rows["b1"])
    _draw_points(figure, rows, values, panel, palette, "circle")
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    pad = max(0.5, 0.08 * (high - low))
    _set_axis(
        figure,
        panel,
        palette,
        range=[low - pad, high + pad],
        nticks=4,
        title=_title(palette, "b₁", "loops"),
    )
    for row in np.flatnonzero(~rows["finite"].to_numpy(dtype=bool)):
        _note(figure, "not finite", row, low - pad, panel, palette.warning)


def _draw_score(figure: go.Figure, rows: pd.DataFrame, panel: _Panel, palette: Palette) -> None:
    values = _numbers(rows["score"]) / _best_score(rows)
    _draw_bars(figure, rows, np.minimum(values, OVERFLOW), panel, palette, "score")
    _set_axis(
        figure,
        panel,
        palette,
        range=[0, OVERFLOW],
        tickvals=[0, 0.5, 1],
        title=_title(palette, "score", ""),
    )
    for row in np.flatnonzero(values > OVERFLOW):
        _note(figure, f"×{values[row]:.3g} ▸", row, 0.06, panel, palette.accent, palette.surface)
    missing = np.isnan(values) & rows["head"].to_numpy(dtype=bool)
    for row in np.flatnonzero(missing):
        _note(figure, "always trained", row, 0, panel, palette.accent)


def _draw_clusters(figure: go.Figure, rows: pd.DataFrame, panel: _Panel, palette: Palette) -> None:
    values = _numbers(rows["clusters"])
    _draw_points(figure, rows, values, panel, palette, "diamond")
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    _set_axis(
        figure,
        panel,
        palette,
        range=[low - 0.5, high + 0.5],
        # Whole numbers only: there is no half cluster.
        tick0=0,
        dtick=max(1, int(np.ceil((high - low) / 4))),
        title=_title(palette, "clusters", "DBSCAN"),
    )


def _draw_cost(figure: go.Figure, rows: pd.DataFrame, panel: _Panel, palette: Palette) -> None:
    size = _numbers(rows["activation_bytes"])
    unit, scale = _byte_unit(float(size.max(initial=0)))
    _draw_bars(figure, rows, size / scale, panel, palette, "cost")
    _set_axis(
        figure,
        panel,
        palette,
        rangemode="tozero",
        nticks=4,
        title=_title(palette, "activation", f"{unit} per image"),
    )


_DRAW = {"b1": _draw_b1, "score": _draw_score, "clusters": _draw_clusters, "cost": _draw_cost}


def _note(
    figure: go.Figure,
    text: str,
    row: int | np.integer[Any],
    x: float,
    panel: _Panel,
    color: str,
    background: str = CLEAR,
) -> None:
    figure.add_annotation(
        text=text,
        x=x,
        y=int(row),
        xref=panel.axis,
        yref="y",
        xanchor="left",
        showarrow=False,
        font={"size": 10, "color": color},
        bgcolor=background,
        borderpad=0,
    )


def _draw_threshold(
    figure: go.Figure, position: float, panel: _Panel, count: int, palette: Palette
) -> None:
    figure.add_shape(
        name="threshold",
        type="line",
        xref=panel.axis,
        yref="y",
        x0=position,
        x1=position,
        y0=-0.6,
        y1=count - 0.5,
        line={"color": palette.accent, "width": 1.25, "dash": "dash"},
    )
    _note(figure, "ρ", -1, position, panel, palette.accent)
    figure.layout.annotations[-1].update(xanchor="center", font={"size": 11})


def _draw_cells(
    figure: go.Figure,
    rows: pd.DataFrame,
    panels: list[_Panel],
    palette: Palette,
    opened: str | None,
) -> None:
    """Cover every row with clear bars that take the pointer, since a mark may be tiny.

    They share one subplot above all others, so that a click in one column forgets a click in
    another; and they are one bar a column, since a hover text stands where its bar ends.
    """
    edges = [0.0, *(p.start - GAP / 2 for p in panels[1:]), 1.0]
    count, cells = len(rows), len(panels)
    names = rows["layer"].tolist()
    tint = _by_role(rows, CLEAR, translucent(palette.accent, 0.07), CLEAR)
    hover = _hover_texts(rows)
    axis = f"x{len(panels) + 1}"
    figure.add_bar(
        name="cells",
        orientation="h",
        base=np.repeat(edges[:-1], count),
        x=np.repeat(np.diff(edges), count),
        y=np.tile(np.arange(count), cells),
        width=1,
        xaxis=axis,
        yaxis="y",
        customdata=[[name] for name in names] * cells,
        hovertext=hover * cells,
        hovertemplate="%{hovertext}<extra></extra>",
        marker={"color": tint * cells, "line": {"width": 0}},
        selected={"marker": {"opacity": 1, "color": translucent(palette.text, 0.14)}},
        unselected={"marker": {"opacity": 1}},
        selectedpoints=(
            [i for i, name in enumerate(names * cells) if name == opened] if opened else None
        ),
    )
    _set_axis(figure, _Panel(axis, 0.0, 1.0), palette, range=[0, 1], visible=False)


def _hover_texts(rows: pd.DataFrame) -> list[str]:
    best = _best_score(rows)
    return [_hover_text(row, best) for row in rows.to_dict("records")]


def _hover_text(row: dict[Any, Any], best: float) -> str:
    lines = [f"<b>{row['layer'] or '(model)'}</b> · {row['kind']}"]
    if not row["finite"]:
        lines.append("activations are not finite: no topology")
    if pd.notna(row["b1"]):
        lines.append(f"b₁: {row['b1']:.4g} loops")
    if pd.notna(row["score"]):
        rank = f", rank {row['rank']:.0f}" if pd.notna(row["rank"]) else ", not ranked"
        lines.append(f"score: {row['score']:.3g} ({row['score'] / best:.2f} of the best{rank})")
    if pd.notna(row["clusters"]):
        noise = f", {row['noise_share']:.0%} noise" if pd.notna(row["noise_share"]) else ""
        lines.append(f"DBSCAN clusters: {row['clusters']}{noise}")
    unit, scale = _byte_unit(row["activation_bytes"])
    lines += [
        f"activation: {row['activation_bytes'] / scale:.4g} {unit} per image, "
        f"{row['activation_size']:,} numbers in all",
        f"parameters: {row['parameters']:,}",
    ]
    if row["head"]:
        lines.append("head: always trained")
    elif row["selected"]:
        lines.append("selected")
    return "<br>".join(lines)


def _byte_unit(size: float) -> tuple[str, float]:
    return ("MB", 1e6) if size >= 2e6 else ("kB", 1e3)
