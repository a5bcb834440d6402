"""The loops of a network's layers by epoch of its training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from analysis.results import Float64
from app.charts.diagram import BIRTH, DEATH, NO_LOOPS, common_span, diagram_figure
from app.charts.embedding import embedding_figure
from app.charts.heatmap import cells_trace
from app.charts.parts import layer_axis, say_empty, set_legend_above, whole_step
from app.charts.strategy_looks import Look
from app.literal import figure_text
from app.theme import Palette, style, translucent

EARLIER = "earlier epochs"
NOT_FINITE = "Not finite after this epoch"
TRAINED, FROZEN = "selected layers, mean", "frozen layers, mean"
MARKED, SHOWN = "trained", "shown"
_TRAIL = 8  # epochs before the shown one through which the way of each image is drawn


def vineyard_figure(
    diagrams: Sequence[ArrayLike | None],
    shown: int,
    *,
    beside: Sequence[ArrayLike | None] = (),
    palette: Palette,
    height: int = 290,
) -> go.Figure:
    """Draw the persistence diagram after one epoch, and those before it faintly.

    Parameters
    ----------
    diagrams : sequence of array_like of shape (k, 2), or None
        Births and deaths by epoch; None where they are not finite. All share one pair of axes.
    shown : int
        Which of them.
    beside : sequence of array_like, optional
        Diagrams of another figure that shares the axes.
    palette : Palette
    height : int, default=290
        Pixels.

    Returns
    -------
    Figure
        As of `diagram_figure`, and before it the trace "earlier epochs", if one had a loop.
    """
    known = [_points(each) for each in diagrams]
    span = common_span([np.concatenate([*known, *map(_points, beside)])])
    figure = diagram_figure(known[shown], span=span, palette=palette, height=height)
    before = np.concatenate([np.zeros((0, 2)), *known[:shown]])
    if len(before):
        faint = {"size": 6, "color": translucent(palette.ink, 0.25)}
        _add_earlier(figure, before, mode="markers", marker=faint)
    if diagrams[shown] is None:
        figure.layout.annotations = ()
        say_empty(figure, NOT_FINITE, palette)
    elif not len(known[shown]) and span is not None:
        figure.layout.annotations = ()
        figure.update_xaxes(showticklabels=True, title_text=BIRTH)
        figure.update_yaxes(showticklabels=True, title_text=DEATH)
        say_empty(figure, NO_LOOPS, palette)
    return figure


def _add_earlier(figure: go.Figure, points: Float64, **look: Any) -> None:
    """Add what earlier epochs had, behind what the figure shows."""
    figure.add_scatter(x=points[:, 0], y=points[:, 1], name=EARLIER, hoverinfo="skip", **look)
    figure.data = (figure.data[-1], *figure.data[:-1])


def moving_map_figure(
    maps: Sequence[ArrayLike | None],
    shown: int,
    *,
    classes: Sequence[str],
    beside: Sequence[ArrayLike | None] = (),
    palette: Palette,
    height: int = 290,
) -> go.Figure:
    """Draw the images in the plane after one epoch, and where they were in the last few before it.

    Parameters
    ----------
    maps : sequence of array_like of shape (N, 2), or None
        By epoch, turned to match each other; None where they are not finite. All share the axes.
    shown : int
        Which of them.
    classes : sequence of N str
        Of the images.
    beside : sequence of array_like, optional
        Maps of another figure that shares the axes.
    palette : Palette
    height : int, default=290
        Pixels.

    Returns
    -------
    Figure
        As of `embedding_figure`, and before it the trace "earlier epochs", if there are some.
    """
    there = maps[shown] is not None
    points = np.asarray(maps[shown] if there else np.zeros((0, 2)), float)
    names = classes if there else ()
    figure = embedding_figure(
        points,
        groups=names,
        texts=[f"image {place + 1}: {name}" for place, name in enumerate(names)],
        labels=names if names and max(map(len, names)) <= 2 else None,
        palette=palette,
        height=height,
    )
    path = [np.asarray(each, float) for each in maps[max(0, shown - _TRAIL) : shown + 1]
            if each is not None]  # fmt: skip
    if there and len(path) > 1:
        gap = np.full((len(points), 1, 2), np.nan)
        lines = np.concatenate([np.stack(path, axis=1), gap], axis=1).reshape(-1, 2)
        faint = {"width": 1, "color": translucent(palette.ink, 0.25)}
        _add_earlier(figure, lines, mode="lines", line=faint, showlegend=False)
    known = [np.abs(each).max() for each in (*maps, *beside) if each is not None]
    far = float(max(known, default=0.0))
    reach = 1.1 * far or 1.0
    figure.update_xaxes(range=[-reach, reach])
    figure.update_yaxes(range=[-reach, reach])
    figure.update_layout(showlegend=False)
    if not there:
        say_empty(figure, NOT_FINITE, palette)
    return figure


def measure_figure(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float], Look]],
    *,
    title: str,
    epoch: int,
    last: int,
    palette: Palette,
    height: int = 170,
) -> go.Figure:
    """Draw what was measured after each epoch, with a dot on each line at one of them.

    Parameters
    ----------
    lines : mapping of str to tuple
        By run: its epochs, the values, and how it looks.
    title : str
        Of the values, with their unit.
    epoch : int
        The one that the page shows: a vertical line. 0 is before the training.
    last : int
        Where the axis ends.
    palette : Palette
    height : int, default=170
        Pixels.

    Returns
    -------
    Figure
        For each run the trace with its name, and "shown" with the last value until `epoch`.
    """
    figure = go.Figure()
    for name, (epochs, values, look) in lines.items():
        text = figure_text(name)
        figure.add_scatter(
            x=list(epochs),
            y=list(values),
            mode="lines",
            name=text,
            line={"color": look.color, "width": 2, "dash": look.dash},
            showlegend=len(lines) > 1,
            hovertemplate=f"{text}<br>epoch %{{x}}: %{{y:.4g}}<extra></extra>",
        )
        until = [pair for pair in zip(epochs, values, strict=True) if pair[0] <= epoch][-1:]
        figure.add_scatter(
            x=[x for x, _ in until],
            y=[y for _, y in until],
            mode="markers",
            name=SHOWN,
            marker={"color": look.color, "size": 9, "symbol": look.mark},
            cliponaxis=False,
            showlegend=False,
            hoverinfo="skip",
        )
    set_legend_above(figure)
    figure.add_vline(x=epoch, line={"color": palette.noise, "width": 1}, layer="below")
    figure.update_xaxes(title_text="epoch", range=[0, last], dtick=whole_step(last))
    figure.update_yaxes(title_text=title, rangemode="tozero", nticks=5, automargin=True)
    figure.update_layout(margin={"t": 10, "b": 40})
    return style(figure, palette, height=height)


def loops_by_epoch_figure(
    epochs: Sequence[int],
    loops: Mapping[str, ArrayLike],
    *,
    shown: int,
    ends: tuple[int, float] | None = None,
    palette: Palette,
    height: int = 290,
) -> go.Figure:
    """Draw b₁ by epoch.

    Parameters
    ----------
    epochs : sequence of int
        Ascending; 0 is before the training.
    loops : mapping of str to array_like of shape (len(epochs),)
        By the name of a line: `TRAINED`, `FROZEN`, or that of a layer.
    shown : int
        Which epoch the page shows; a vertical line marks it.
    ends : tuple of int and float, optional
        The last epoch and the highest value of axes that another figure shares.
    palette : Palette
    height : int, default=290
        Pixels.
    """
    looks = {
        TRAINED: {"color": palette.accent, "width": 2.5},
        FROZEN: {"color": palette.ink, "width": 2, "dash": "dash"},
    }
    figure = go.Figure()
    for name, values in loops.items():
        figure.add_scatter(
            x=list(epochs),
            y=np.asarray(values, float),
            mode="lines+markers",
            name=figure_text(name),
            line=looks.get(name, {"color": palette.ink, "width": 1, "dash": "dot"}),
            marker={"size": 5},
            hovertemplate="epoch %{x}: %{y:.4g} loops<extra></extra>",
        )
    figure.add_vline(x=epochs[shown], line={"color": palette.noise, "width": 1}, layer="below")
    few = (ends[0] if ends else epochs[-1]) <= 9
    figure.update_xaxes(title_text="epoch", dtick=1 if few else None, nticks=9)
    figure.update_yaxes(title_text="b₁, loops", rangemode="tozero", nticks=6)
    if ends is not None:
        figure.update_xaxes(range=[-0.04 * ends[0], 1.04 * ends[0]])
        figure.update_yaxes(range=[0, 1.06 * ends[1] or 1])
    set_legend_above(figure)
    return style(figure, palette, height=height)


def surface_figure(
    epochs: Sequence[int],
    loops: Mapping[str, Sequence[float]],
    trained: Collection[str],
    *,
    shown: int,
    most: float | None = None,
    palette: Palette,
    height: int = 250,
) -> go.Figure:
    """Draw b₁ of every layer after every epoch as coloured cells.

    Parameters
    ----------
    epochs : sequence of int
        Ascending; 0 is before the training.
    loops : mapping of str to sequence of float, (len(epochs),)
        By layer, in execution order; NaN leaves its cell empty.
    trained : collection of str
        The layers to mark, in the trace "trained"; the others are frozen.
    shown : int
        Which epoch the page shows; a frame marks its row.
    most : float, optional
        The value with the strongest colour, if another figure shares the scale.
    palette : Palette
    height : int, default=250
        Pixels.
    """
    layers = list(loops)
    values = np.array([loops[name] for name in layers], float).T
    heat = cells_trace(values, title="loops", palette=palette) | {
        "hoverinfo": None,
        "hoverongaps": False,
        "customdata": [[figure_text(name or "(model)") for name in layers]] * len(epochs),
        "text": [[str(epoch)] * len(layers) for epoch in epochs],
        "hovertemplate": "<b>%{customdata}</b><br>epoch %{text}: %{z:.0f} loops<extra></extra>",
    }
    if most is not None:
        heat |= {"zmin": 0, "zmax": most or 1}
    figure = go.Figure(heat)
    places = [place for place, name in enumerate(layers) if name in trained]
    figure.add_scatter(
        x=places,
        y=[len(epochs) - 0.1] * len(places),
        mode="markers",
        name=MARKED,
        marker={"symbol": "triangle-down", "size": 9, "color": palette.accent},
        hovertext=[f"{figure_text(layers[place] or '(model)')}: trained" for place in places],
        hovertemplate="%{hovertext}<extra></extra>",
    )
    figure.add_shape(
        type="rect",
        x0=-0.5,
        x1=len(layers) - 0.5,
        y0=shown - 0.5,
        y1=shown + 0.5,
        line={"color": palette.text, "width": 1.5},
    )
    step = -(-len(epochs) // 6)
    rows = range(0, len(epochs), step)
    figure.update_layout(
        showlegend=False,
        margin={"l": 54, "r": 12, "t": 10, "b": 40},
        xaxis=layer_axis(len(layers), margin=0.7),
        yaxis={
            "title": {"text": "epoch"},
            "showgrid": False,
            "range": [-0.6, len(epochs) + 0.3],
            "tickvals": list(rows),
            "ticktext": [str(epochs[row]) for row in rows],
        },
    )
    return style(figure, palette, height=height)


def _points(diagram: ArrayLike | None) -> Float64:
    return np.zeros((0, 2)) if diagram is None else np.asarray(diagram, float)
