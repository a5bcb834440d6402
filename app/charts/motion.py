"""The loops of a network's layers by epoch of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.charts.diagram import BIRTH, DEATH, NO_LOOPS, common_span, diagram_figure
from app.charts.parts import say_empty, set_legend_above
from app.literal import figure_text
from app.theme import Palette, style, translucent

EARLIER = "earlier epochs"
NOT_FINITE = "Not finite after this epoch"
TRAINED, FROZEN = "selected layers, mean", "frozen layers, mean"


def vineyard_figure(
    diagrams: Sequence[ArrayLike | None], shown: int, *, palette: Palette, height: int = 290
) -> go.Figure:
    """Draw the persistence diagram after one epoch, and those before it faintly.

    Parameters
    ----------
    diagrams : sequence of array_like of shape (k, 2), or None
        Births and deaths by epoch; None where they are not finite. All share one pair of axes.
    shown : int
        Which of them.
    palette : Palette
    height : int, default=290
        Pixels.

    Returns
    -------
    Figure
        As of `diagram_figure`, and before it the trace "earlier epochs", if one had a loop.
    """
    known = [np.zeros((0, 2)) if each is None else np.asarray(each, float) for each in diagrams]
    span = common_span([np.concatenate(known)])
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
    few = len(epochs) <= 9
    figure.update_xaxes(title_text="epoch", dtick=1 if few else None, nticks=9)
    figure.update_yaxes(title_text="b₁, loops", rangemode="tozero", nticks=6)
    set_legend_above(figure)
    return style(figure, palette, height=height)
