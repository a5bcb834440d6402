"""The loops of each layer against those of rotated clouds, and whether the test is calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from analysis.text import p_value_text
from app.charts.parts import layer_axis, layer_mark
from app.literal import figure_text
from app.theme import Palette, SelectableFigure, style

BAND, NOISE, PERMUTED = "rotated clouds", "pure noise", "permuted features"
PASSES, ALONE, WITHIN = "p ≤ 0.05 after Holm", "p ≤ 0.05 by itself", "as in rotated clouds"
LEVEL = 0.05
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def null_figure(
    table: pd.DataFrame, *, opened: str | None = None, palette: Palette, height: int = 420
) -> go.Figure:
    """Draw b₁ and the longest loop of each layer in execution order, with what rotations give.

    Parameters
    ----------
    table : DataFrame
        Of `LayerTests.by_layer`, perhaps with permuted_mean, permuted_low and permuted_high.
    opened : str, optional
        The layer to mark.
    palette : Palette
    height : int, default=420
        Pixels.

    Returns
    -------
    Figure
        Traces "rotated clouds", then one for each verdict, above for b₁ and below for the longest
        loop; and, above, "pure noise", if it was drawn: its mean b₁, and "permuted features", if
        the table has them: their mean and range. A point's `customdata[0]` is its layer's full
        name.
    """
    texts = [_hover_text(str(name), row) for name, row in table.iterrows()]
    panels = (
        ("y", "b1", table["b1_low"], table["b1_high"], ("b1-more", "b1-fewer")),
        ("y2", "longest", table["longest_high"] * 0 + 1, table["longest_high"], ("longest-loop",)),
    )
    traces: list[dict[str, Any]] = []
    for axis, value, low, high, statistics in panels:
        traces.append(_band(axis, low.to_numpy(float), high.to_numpy(float), palette))
        traces += _points(axis, table, value, _verdicts(table, statistics), texts, palette)
    if table["noise_mean"].notna().any():
        traces.append(_noise(table["noise_mean"].to_numpy(float), palette))
    if "permuted_mean" in table:
        traces.insert(1, _permuted(table, palette))
    layout = {
        "barmode": "overlay",
        "clickmode": "event+select",
        "shapes": layer_mark(table.index.tolist(), opened, palette),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "margin": {"l": 52, "r": 12, "t": 30, "b": 40},
        "xaxis": layer_axis(len(table)) | {"anchor": "y2"},
        "yaxis": {"domain": [0.54, 1], "title": {"text": "b₁, loops"}, "nticks": 6},
        "yaxis2": {"domain": [0, 0.46], "title": {"text": "longest loop"}, "nticks": 6},
    }
    return style(SelectableFigure(data=traces, layout=layout), palette, height=height)


def calibration_figure(
    p_values: Mapping[str, ArrayLike], *, palette: Palette, height: int = 300
) -> go.Figure:
    """Draw which share of Gaussian clouds has a p of at most each value: exact is the diagonal.

    Parameters
    ----------
    p_values : mapping of str to array_like of shape (clouds,)
        By the name of the statistic; all of the same length.
    palette : Palette
    height : int, default=300
        Pixels.

    Returns
    -------
    Figure
        A trace per statistic, and "95 % of exact tests": how far from the diagonal the curve of
        an exact test may lie by chance (Kolmogorov and Smirnov).
    """
    count = max((len(np.atleast_1d(values)) for values in p_values.values()), default=0)
    reach = 1.358 / np.sqrt(count) if count else 1.0
    ends = np.linspace(0, 1, 101)
    band = np.concatenate([np.minimum(ends + reach, 1), np.maximum(ends - reach, 0)[::-1]])
    figure = go.Figure(
        go.Scatter(
            x=np.concatenate([ends, ends[::-1]]),
            y=band,
            name="95 % of exact tests",
            fill="toself",
            fillcolor=palette.band,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
        )
    )
    diagonal = {"color": palette.secondary, "width": 1, "dash": "dot"}
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line=diagonal)
    for (name, values), color in zip(p_values.items(), palette.clusters, strict=False):
        ordered = np.sort(np.atleast_1d(values))
        figure.add_scatter(
            x=np.concatenate([[0], ordered, [1]]),
            y=np.concatenate([[0], np.arange(1, len(ordered) + 1) / max(1, len(ordered)), [1]]),
            name=name,
            mode="lines",
            line={"shape": "hv", "width": 1.75, "color": color},
            hovertemplate="p at most %{x:.2f} in %{y:.0%} of the clouds<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title_text="p", range=[0, 1])
    figure.update_yaxes(title_text="share of clouds", range=[0, 1], tickformat=".0%")
    figure.update_layout(
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"t": 48}
    )
    return style(figure, palette, height=height)


def _band(axis: str, low: Numbers, high: Numbers, palette: Palette) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": BAND,
        "x": np.arange(len(low)),
        "base": low,
        # A band without a height would not be seen.
        "y": np.maximum(high - low, 0.01 * np.max(high, initial=0.0)),
        "width": 0.86,
        "yaxis": axis,
        "marker": {"color": palette.muted, "opacity": 0.55, "line": {"width": 0}},
        "hoverinfo": "skip",
        "showlegend": axis == "y",
    }


def _noise(means: Numbers, palette: Palette) -> dict[str, Any]:
    """A dash for each layer."""
    mark = {"symbol": "line-ew", "size": 8, "line": {"width": 2, "color": palette.secondary}}
    return {
        "type": "scatter",
        "name": NOISE,
        "x": np.arange(len(means)),
        "y": means,
        "mode": "markers",
        "marker": mark,
        "hoverinfo": "skip",
    }


def _permuted(table: pd.DataFrame, palette: Palette) -> dict[str, Any]:
    """A line for each layer, from the low end of its range to the high one, with its mean."""
    mean, color = table["permuted_mean"].to_numpy(float), palette.clusters[2]
    return {
        "type": "scatter",
        "name": PERMUTED,
        "x": np.arange(len(mean)),
        "y": mean,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": table["permuted_high"].to_numpy(float) - mean,
            "arrayminus": mean - table["permuted_low"].to_numpy(float),
            "color": color,
            "thickness": 1.5,
            "width": 0,
        },
        "mode": "markers",
        "marker": {"symbol": "diamond-open", "size": 5, "color": color},
        "hoverinfo": "skip",
    }


def _points(
    axis: str,
    table: pd.DataFrame,
    value: str,
    verdicts: np.ndarray,
    texts: list[str],
    palette: Palette,
) -> list[dict[str, Any]]:
    """A trace for each verdict, so that the legend explains the marks."""
    names, values = table.index.tolist(), table[value].to_numpy(float)
    traces = []
    for verdict, color, size, width in (
        (WITHIN, palette.ink, 6, 0.0),
        (ALONE, palette.surface, 9, 1.75),
        (PASSES, palette.accent, 10, 0.0),
    ):
        at = np.flatnonzero(verdicts == verdict).tolist()
        traces.append(
            {
                "type": "scatter",
                "name": verdict,
                # A trace without points would have no entry in the legend.
                "x": at if at else [None],
                "y": values[at].tolist() if at else [None],
                "customdata": [[names[i]] for i in at],
                "hovertext": [texts[i] for i in at],
                "hovertemplate": "%{hovertext}<extra></extra>",
                "mode": "markers",
                "yaxis": axis,
                "marker": {
                    "color": color,
                    "size": size,
                    "line": {"width": width, "color": palette.accent},
                },
                "showlegend": axis == "y",
                "legendgroup": verdict,
            }
        )
    return traces


def _verdicts(table: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """What the smallest p of these statistics says; each of two may be so small half as often."""
    level = LEVEL / len(names)
    alone = table[[f"p {name}" for name in names]].min(axis=1).to_numpy() <= level
    passes = table[[f"p_holm {name}" for name in names]].min(axis=1).to_numpy() <= level
    return np.where(passes, PASSES, np.where(alone, ALONE, WITHIN))


def _hover_text(name: str, row: pd.Series) -> str:
    def p_text(statistic: str) -> str:
        holm = p_value_text(row[f"p_holm {statistic}"])
        return f"p {p_value_text(row[f'p {statistic}'])}, {holm.removeprefix('= ')} after Holm"

    def noise_text(title: str, columns: str) -> list[str]:
        mean, low, high = (row.get(f"{columns}_{part}", np.nan) for part in ("mean", "low", "high"))
        return [] if np.isnan(mean) else [f"{title} {mean:.4g} ({low:.4g} to {high:.4g})"]

    return "<br>".join(
        [
            f"<b>{figure_text(name or '(model)')}</b>",
            f"b₁ = {row['b1']:.4g}; rotated clouds {row['b1_mean']:.4g} "
            f"({row['b1_low']:.4g} to {row['b1_high']:.4g})",
            *noise_text("permuted features", "permuted"),
            *noise_text("pure noise of the same dimension", "noise"),
            f"more loops: {p_text('b1-more')}",
            f"fewer loops: {p_text('b1-fewer')}",
            f"longest loop, death / birth: {row['longest']:.3g}; "
            f"95 % of rotated clouds below {row['longest_high']:.3g}",
            p_text("longest-loop"),
        ]
    )
