"""The loops of one layer: persistence diagram, barcode and Betti curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from app.charts.parts import say_empty
from app.theme import Palette, style, translucent

NO_LOOPS = "No loops in this layer"
LOOPS, SHORT, USUAL = "loops", "too short to count", "as long as in rotated clouds"
READABLE = 0.15  # the least share of an axis that a diagram should fill
BIRTH = "birth (distance)"
DEATH = "death (distance)"


def diagram_figure(
    diagram: ArrayLike,
    *,
    min_persistence: float = 0.0,
    passes: ArrayLike | None = None,
    span: tuple[float, float] | None = None,
    palette: Palette,
    height: int = 300,
) -> go.Figure:
    """Draw a persistence diagram with equal axes and the diagonal.

    Parameters
    ----------
    diagram : array_like of shape (k, 2)
        Births and deaths, finite, in the units of the layer's distances.
    min_persistence : float, default=0.0
        Loops that live no longer than this do not count and are muted.
    passes : array_like of bool, shape (k,), optional
        Which loops are longer than those of rotated clouds; the others are hollow.
    span : tuple of float, optional
        The ends of both axes, as of `common_span`; by default what the diagram needs.
    palette : Palette
    height : int, default=300
        Pixels.

    Returns
    -------
    Figure
        Trace "loops" and, if there are any, traces "too short to count" and "as long as in
        rotated clouds".
    """
    points = _as_diagram(diagram)
    is_long = points[:, 1] - points[:, 0] > min_persistence
    is_usual = _fail(passes, len(points))
    figure = go.Figure()
    for name, which, color in (
        (SHORT, ~is_long, palette.muted),
        (USUAL, is_long & is_usual, palette.surface),
        (LOOPS, is_long & ~is_usual, palette.accent),
    ):
        part, hollow = points[which], name == USUAL
        if len(part):
            figure.add_scatter(
                x=part[:, 0],
                y=part[:, 1],
                customdata=part[:, 1] - part[:, 0],
                mode="markers",
                name=name,
                marker={
                    "size": 9,
                    "color": translucent(color, 0.85),
                    "line": {
                        "width": 1.5 if hollow else 1,
                        "color": palette.accent if hollow else palette.surface,
                    },
                },
                hovertemplate="birth %{x:.4g}<br>death %{y:.4g}<br>persistence %{customdata:.4g}"
                f"<extra>{name}</extra>",
            )
    low, high = span or _axis_range(points)
    lifts = {0.0, min_persistence} if len(points) else {0.0}
    for lift in sorted(lifts):
        figure.add_shape(
            type="line",
            x0=low,
            y0=low + lift,
            x1=high - lift,
            y1=high,
            layer="below",
            line={"color": palette.noise, "width": 1, "dash": "dot" if lift else "solid"},
        )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text=BIRTH, range=[low, high], constrain="domain", nticks=6)
    figure.update_yaxes(
        title_text=DEATH, range=[low, high], scaleanchor="x", constrain="domain", nticks=6
    )
    if not len(points):
        _say_empty(figure, palette)
    return style(figure, palette, height=height)


def common_span(diagrams: Sequence[ArrayLike]) -> tuple[float, float] | None:
    """The ends of axes that suit all these diagrams; None if some would be too small to read."""
    spans = [_axis_range(points) for points in map(_as_diagram, diagrams) if len(points)]
    if not spans:
        return None
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    smallest = min(high - low for low, high in spans)
    return (low, high) if smallest >= READABLE * (high - low) else None


def barcode_figure(
    diagram: ArrayLike,
    *,
    min_persistence: float = 0.0,
    passes: ArrayLike | None = None,
    palette: Palette,
    height: int = 240,
) -> go.Figure:
    """Draw one horizontal bar per loop, from birth to death, the earliest at the bottom.

    Parameters
    ----------
    diagram : array_like of shape (k, 2)
        Births and deaths, finite, in the units of the layer's distances.
    min_persistence : float, default=0.0
        Loops that live no longer than this do not count and are muted.
    passes : array_like of bool, shape (k,), optional
        Which loops are longer than those of rotated clouds; the others are hollow.
    palette : Palette
    height : int, default=240
        Pixels.
    """
    points = _as_diagram(diagram)
    order = np.lexsort((points[:, 1], points[:, 0]))
    births, deaths = points[order].T
    lengths = deaths - births
    is_long = lengths > min_persistence
    is_hollow = is_long & _fail(passes, len(points))[order]
    colors = np.where(is_long, palette.accent, palette.muted)
    figure = go.Figure(
        go.Bar(
            base=births,
            x=lengths,
            y=np.arange(1, len(lengths) + 1),
            customdata=deaths,
            orientation="h",
            width=0.7,
            marker={
                "color": np.where(is_hollow, palette.surface, colors).tolist(),
                "line": {"width": np.where(is_hollow, 1.25, 0).tolist(), "color": palette.accent},
            },
            hovertemplate="birth %{base:.4g}<br>death %{customdata:.4g}"
            "<br>persistence %{x:.4g}<extra></extra>",
        )
    )
    low, high = _axis_range(points)
    figure.update_xaxes(title_text="scale (distance)", range=[low, high], nticks=6)
    figure.update_yaxes(
        title_text="loops, by birth",
        range=[0.3, max(len(lengths), 3) + 0.7],
        showticklabels=False,
        showgrid=False,
    )
    figure.update_layout(margin={"l": 32})
    if not len(points):
        _say_empty(figure, palette)
    return style(figure, palette, height=height)


def betti_curve_figure(
    scales: ArrayLike, counts: ArrayLike, *, palette: Palette, height: int = 240
) -> go.Figure:
    """Draw the number of loops alive at each scale, as steps.

    Parameters
    ----------
    scales : array_like of shape (n,)
        Distances, ascending.
    counts : array_like of shape (n,)
        Loops alive from each scale up to the next.
    palette : Palette
    height : int, default=240
        Pixels.
    """
    scales, counts = np.asarray(scales, dtype=float), np.asarray(counts, dtype=float)
    empty = not counts.any()
    figure = go.Figure(
        go.Scatter(
            x=scales,
            y=counts,
            mode="lines",
            line={"shape": "hv", "width": 1.75, "color": palette.accent},
            fill="tozeroy",
            fillcolor=translucent(palette.accent, 0.1),
            hovertemplate="%{y:.4g} loops alive at %{x:.4g}<extra></extra>",
        )
    )
    top = 1.0 if empty else float(counts.max())
    figure.update_xaxes(title_text="scale (distance)", nticks=6, range=_span(scales))
    figure.update_yaxes(
        title_text="loops alive",
        range=[0, 1.08 * top],
        nticks=5,
        # No half loops on the axis.
        dtick=1 if top <= 4 else None,
    )
    if empty:
        _say_empty(figure, palette)
    return style(figure, palette, height=height)


def _as_diagram(diagram: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(diagram, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"`diagram` must have shape (k, 2), got {points.shape}")
    return points


def _fail(passes: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    """Which loops were tested and do not pass."""
    if passes is None:
        return np.zeros(count, bool)
    passing = np.asarray(passes, dtype=bool)
    if passing.shape != (count,):
        raise ValueError(f"`passes` must have shape ({count},), got {passing.shape}")
    return ~passing


def _axis_range(points: NDArray[np.float64]) -> tuple[float, float]:
    if not len(points):
        return 0.0, 1.0
    low, high = float(points.min()), float(points.max())
    pad = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return max(0.0, low - pad), high + pad


def _span(scales: NDArray[np.float64]) -> list[float]:
    low, high = (float(scales.min()), float(scales.max())) if len(scales) else (0.0, 1.0)
    pad = 0.03 * (high - low)
    return [low - pad, high + pad]


def _say_empty(figure: go.Figure, palette: Palette) -> None:
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    say_empty(figure, NO_LOOPS, palette)
