"""The layer profile: one row per layer, with aligned columns side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.text import plural, share_text
from app.charts.layer_names import short_names
from app.charts.profile_columns import (
    CLEAR,
    DRAW,
    Column,
    Panel,
    ScoreScale,
    Sketch,
    axis_key,
    best_score,
    byte_unit,
    column_title,
    draw_names,
    marks_by_role,
    note_at,
    set_axis,
    without_fading,
)
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style, translucent

__all__ = [
    "COLUMNS", "Column", "profile_figure", "profile_titles_figure", "profile_with_selection",
    "short_names",
]  # fmt: skip

COLUMNS: tuple[Column, ...] = ("b1", "score", "clusters", "cost", "parameters")

GAP = 0.03  # between two columns, share of the plot's width
NAMES = 0.1  # of the plot's width; longer names reach into the left margin
NARROW = {2: 330, 3: 480, 4: 560, 5: 580}  # columns: least width of the figure, px
CHARACTER = 6.3  # px, a wide estimate at the size below
TITLES = 50  # px, of the titles and ticks above the rows
TOP, BOTTOM = 26 + TITLES, 10  # margins, px; the mode bar needs room above the titles
EDGE = 12  # px, of the plot below the titles when they stand alone


def profile_figure(
    rows: pd.DataFrame,
    *,
    threshold: float | None,
    columns: tuple[Column, ...] = COLUMNS,
    palette: Palette,
    row_height: int = 15,
) -> go.Figure:
    """Draw the layers from top to bottom, in the order of `rows`.

    Parameters
    ----------
    rows : DataFrame
        One row per layer: layer (unique), kind, b1 and score (may be missing), rank, clusters,
        noise_share (may be missing), parameters (elements), activation_size (elements of all
        images), activation_bytes (of one image), selected, finite, and head: trained whatever
        its score, and drawn hatched. With b1_se, b1 has error bars; with probability, selected
        layers below a half are faint and crossed, as luck selected them. With null_low and
        null_high, a band between them lies behind b1.
    threshold : float or None
        The lowest score that is selected, in the units of `score`; None draws no line.
    columns : tuple, default=all
        What to draw, from left to right; two fit a phone.
    palette : Palette
    row_height : int, default=15
        Pixels.

    Returns
    -------
    Figure
        A click anywhere in a row selects a point of the trace "cells", whose `customdata[0]` is
        the layer's full name. No other trace reacts to the pointer.
    """
    unknown = [column for column in columns if column not in DRAW]
    if unknown or not columns:
        raise ValueError(f"`columns` must be some of {COLUMNS}, got {columns}")
    labels = short_names(rows["layer"].tolist())
    panels = _layout_panels(columns)
    sketch = Sketch([], {"annotations": [], "shapes": []}, palette)
    draw_names(sketch, rows, labels, panels[0])
    for column, panel in zip(columns, panels[1:], strict=True):
        DRAW[column](sketch, rows, panel)
        if column == "score":
            log = "score (log)" if ScoreScale.of(rows).lowest is not None else "score"
            sketch.layout[axis_key(panel)]["title"] = column_title(
                palette, log, "share of the best"
            )
    if threshold is not None and "score" in columns:
        _draw_threshold(
            sketch.layout, rows, threshold, panels[1 + columns.index("score")].axis, palette
        )
    _draw_cells(sketch, rows, panels)
    width = CHARACTER * max(map(len, labels), default=0)
    # Names extend past the left edge of their column, which is narrowest on the smallest screen.
    margin = max(8.0, (width + 12 - NAMES * NARROW.get(len(columns), 330)) / (1 - NAMES))
    sketch.layout |= {
        "barmode": "overlay",
        "showlegend": False,
        "clickmode": "event+select",
        "margin": {"l": round(margin), "r": 10, "t": TOP, "b": BOTTOM},
        "yaxis": {
            "range": [len(rows) - 0.5, -1.3],
            "showgrid": False,
            "showticklabels": False,
        },
    }
    figure = SelectableFigure(data=sketch.traces, layout=sketch.layout)
    return style(figure, palette, height=len(rows) * row_height + TOP + BOTTOM + row_height)


def profile_with_selection(
    drawn: dict[str, Any],
    rows: pd.DataFrame,
    *,
    threshold: float | None,
    palette: Palette,
) -> dict[str, Any]:
    """Patch a profile to show another selection of the same layers with the same scores.

    Parameters
    ----------
    drawn : dict
        What `to_dict` gives of a `profile_figure` without a threshold; it stays as it is.
    rows, threshold, palette
        As for `profile_figure`, whose figure this equals.
    """
    layout = dict(drawn["layout"])
    layout["shapes"], layout["annotations"] = [], list(layout.get("annotations", ()))
    traces, texts = [], _hover_texts(rows)
    for old in drawn["data"]:
        marks = marks_by_role(old["name"], rows, palette)
        trace = old | {part: old.get(part, {}) | new for part, new in marks.items()}
        if old["name"] == "score" and threshold is not None:
            _draw_threshold(layout, rows, threshold, old["xaxis"], palette)
            font = layout["annotations"][-1]["font"]
            font["size"] *= palette.scale
        if old["name"] == "selected rows":
            trace |= _selected_rows(rows)
        if old["name"] == "cells":
            trace["hovertext"] = texts * (len(old["customdata"]) // max(1, len(texts)))
        traces.append(trace)
    layout = {name: value for name, value in layout.items() if value != []}  # as Plotly leaves out
    return {**drawn, "data": traces, "layout": layout}


def profile_titles_figure(profile: go.Figure, palette: Palette) -> go.Figure:
    """The titles and ticks of a profile alone, to stay in sight above it while it scrolls.

    Its columns stand where those of `profile` do. It is as high as `TITLES`, and one row more.
    """
    axes = {name: axis for name, axis in profile.layout.to_plotly_json().items() if "xaxis" in name}
    margin = {"l": profile.layout.margin.l, "r": profile.layout.margin.r, "t": TITLES, "b": 0}
    points = [
        {"type": "scatter", "x": [None], "y": [None], "xaxis": name.replace("axis", "")}
        for name in axes
    ]
    yaxis = {"visible": False, "range": [0, 1]}
    layout = {**axes, "yaxis": yaxis, "margin": margin, "showlegend": False}
    figure = go.Figure(data=points, layout=layout)
    plain = replace(palette, scale=1.0)  # the sizes of `profile` are scaled already
    style(figure, plain, height=round(palette.scale * TITLES) + EDGE)
    figure.update_layout(template=profile.layout.template, margin={"t": palette.scale * TITLES})
    return figure


def _layout_panels(columns: Sequence[Column]) -> list[Panel]:
    """The column of names, then the others; the score, which decides, is wider."""
    shares = [1.4 if column == "score" else 1.0 for column in columns]
    unit = (1 - NAMES - len(columns) * GAP) / sum(shares)
    panels, start = [Panel(1, 0.0, NAMES)], NAMES + GAP
    for number, share in enumerate(shares, start=2):
        panels.append(Panel(number, start, min(1.0, start + share * unit)))
        start += share * unit + GAP
    return panels


def _draw_threshold(
    layout: dict[str, Any], rows: pd.DataFrame, threshold: float, axis: str, palette: Palette
) -> None:
    """Add the line to lists of shapes and annotations in `layout`."""
    position = float(ScoreScale.of(rows).place(np.array(threshold)))
    layout["shapes"].append(
        {
            "name": "threshold",
            "type": "line",
            "xref": axis,
            "yref": "y",
            "x0": position,
            "x1": position,
            "y0": -0.6,
            "y1": len(rows) - 0.5,
            "line": {"color": palette.accent, "width": 1.25, "dash": "dash"},
        }
    )
    text = note_at("ρ", -1, position, axis, palette.accent)
    layout["annotations"].append({**text, "xanchor": "center"})


def _draw_cells(sketch: Sketch, rows: pd.DataFrame, panels: list[Panel]) -> None:
    """Cover every row with transparent bars that react to the pointer, since a mark may be tiny.

    They share one subplot above all others, so that a click in one column replaces a click in
    another. Each column has its own bar, since a hover text appears where its bar ends.
    """
    edges = [0.0, *(p.start - GAP / 2 for p in panels[1:]), 1.0]
    count, cells = len(rows), len(panels)
    names = rows["layer"].tolist()
    whole = Panel(len(panels) + 1, 0.0, 1.0)
    shared = {"type": "bar", "orientation": "h", "width": 1, "xaxis": whole.axis}
    tint = translucent(sketch.palette.accent, 0.07)
    sketch.traces.append(
        without_fading(
            {
                **shared,
                **_selected_rows(rows),
                "name": "selected rows",
                "marker": {"color": tint, "line": {"width": 0}},
            }
        )
    )
    sketch.traces.append(
        without_fading(
            {
                **shared,
                "name": "cells",
                "base": np.repeat(edges[:-1], count),
                "x": np.repeat(np.diff(edges), count),
                "y": np.tile(np.arange(count), cells),
                "customdata": [[name] for name in names] * cells,
                "hovertext": _hover_texts(rows) * cells,
                "hovertemplate": "%{hovertext}<extra></extra>",
                "marker": {"color": CLEAR, "line": {"width": 0}},
            }
        )
    )
    set_axis(sketch, whole, range=[0, 1], visible=False)


def _selected_rows(rows: pd.DataFrame) -> dict[str, list[int]]:
    selected = np.flatnonzero(rows["selected"].to_numpy(dtype=bool)).tolist()
    return {"x": [1] * len(selected), "y": selected}


def _hover_texts(rows: pd.DataFrame) -> list[str]:
    best = best_score(rows)
    return [_hover_text(row, best) for row in rows.to_dict("records")]


def _hover_text(row: dict[Any, Any], best: float) -> str:
    lines = [f"<b>{figure_text(row['layer'] or '(model)')}</b> · {figure_text(row['kind'])}"]
    if not row["finite"]:
        lines.append("some activations are not finite: no topology")
    if pd.notna(row["b1"]):
        error = f" ± {row['b1_se']:.2g}" if pd.notna(row.get("b1_se")) else ""
        loops = f"{row['b1']:.4g}{error} loops" if error else plural(row["b1"], "loop")
        lines.append(f"b₁: {loops}")
    if pd.notna(row.get("null_low")):
        band = f"{row['null_low']:.4g} to {row['null_high']:.4g}"
        lines.append(f"95 % of rotated clouds: {band} loops")
    if pd.notna(row["score"]):
        rank = f", rank {row['rank']:.0f}" if pd.notna(row["rank"]) else ", not ranked"
        lines.append(f"score: {row['score']:.3g} ({row['score'] / best:.2f} of the best{rank})")
    if pd.notna(row.get("probability")):
        lines.append(f"chosen by {share_text(row['probability'])} of other draws of images")
    if pd.notna(row["clusters"]):
        noise = f", {share_text(row['noise_share'])} noise" if pd.notna(row["noise_share"]) else ""
        lines.append(f"DBSCAN clusters: {row['clusters']}{noise}")
    unit, scale = byte_unit(row["activation_bytes"])
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
