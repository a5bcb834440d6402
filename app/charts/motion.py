"""The loops of a network's layers by epoch of its training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from analysis.results import Float64
from app.charts.diagram import BIRTH, DEATH, NO_LOOPS, common_span, diagram_figure
from app.charts.heatmap import cells_trace
from app.charts.parts import layer_axis, say_empty, set_legend_above
from app.literal import figure_text
from app.theme import Palette, style, translucent

EARLIER = "earlier epochs"
NOT_FINITE = "Not finite after this epoch"
TRAINED, FROZEN = "selected layers, mean", "frozen layers, mean"
MARKED = "trained"


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
        figure.add_scatter(
            x=before[:, 0],
            y=before[:, 1],
            mode="markers",
            name=EARLIER,
            marker={"size": 6, "color": translucent(palette.ink, 0.25)},
            hoverinfo="skip",
        )
        figure.data = (figure.data[-1], *figure.data[:-1])  # behind those of this epoch
    if diagrams[shown] is None:
        figure.layout.annotations = ()
        say_empty(figure, NOT_FINITE, palette)
    elif not len(known[shown]) and span is not None:
        figure.layout.annotations = ()
        figure.update_xaxes(showticklabels=True, title_text=BIRTH)
        figure.update_yaxes(showticklabels=True, title_text=DEATH)
        say_empty(figure, NO_LOOPS, palette)
    return figure


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
