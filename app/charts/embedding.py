"""The images of one layer in the plane."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.literal import figure_text
from app.theme import Palette, style

NOISE = "noise"
SYMBOLS = ("circle", "diamond", "square", "cross")
CAPTION = "the axes have no unit"


def embedding_figure(
    points: ArrayLike,
    *,
    groups: Sequence[str],
    texts: Sequence[str],
    labels: Sequence[str] | None = None,
    palette: Palette,
    height: int = 320,
) -> go.Figure:
    """Draw each image at its position in the plane, coloured by group.

    Parameters
    ----------
    points : array_like of shape (N, 2)
        Positions of the N images; the scale has no unit.
    groups : sequence of N str
        Cluster or class; "noise" is grey.
    texts : sequence of N str
        Hover text of each image, shown letter by letter, as are groups and labels.
    labels : sequence of N str, optional
        Drawn instead of dots: class labels, best with one or two characters.
    palette : Palette
    height : int, default=320
        Pixels.

    Returns
    -------
    Figure
        One trace per group, in alphabetical order with "noise" last; each point's
        `customdata[0]` is its row in `points`. With `labels`, an empty trace follows
        each and represents it in the legend.
    """
    places = np.asarray(points, dtype=float)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"`points` must have shape (N, 2), got {places.shape}")
    for name, values in (("groups", groups), ("texts", texts), ("labels", labels)):
        if values is not None and len(values) != len(places):
            raise ValueError(f"`{name}` must have {len(places)} entries, got {len(values)}")
    order = sorted(set(groups), key=_group_order)
    figure = go.Figure()
    for number, group in enumerate(order):
        members = [i for i, other in enumerate(groups) if other == group]
        # When the colours run out they repeat with another symbol.
        turn, place = divmod(number, len(palette.clusters))
        color = palette.noise if group == NOISE else palette.clusters[place]
        figure.add_scatter(
            x=places[members, 0],
            y=places[members, 1],
            mode="markers" if labels is None else "text",
            name=figure_text(group),
            legendgroup=group,
            showlegend=labels is None,
            text=[figure_text(labels[i]) for i in members] if labels is not None else None,
            textfont={"color": color, "size": 13, "weight": 600},
            marker={"color": color, "size": 8, "symbol": SYMBOLS[turn % len(SYMBOLS)]},
            customdata=[[i] for i in members],
            hovertext=[figure_text(texts[i]) for i in members],
            hovertemplate=f"%{{hovertext}}<extra>{figure_text(group)}</extra>",
        )
        if labels is not None:  # a text in the legend would be shown as "Aa"
            figure.add_scatter(
                x=[None],
                y=[None],
                mode="markers",
                name=figure_text(group),
                legendgroup=group,
                marker={"color": color, "size": 8},
                hoverinfo="skip",
            )
    figure.update_layout(
        showlegend=len(order) > 1,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "xanchor": "left"},
        margin={"l": 12, "r": 12, "t": 12, "b": 28},
    )
    figure.update_xaxes(
        title={"text": CAPTION, "font": {"size": 11}}, showticklabels=False, showgrid=False
    )
    figure.update_yaxes(showticklabels=False, showgrid=False, scaleanchor="x", scaleratio=1)
    return style(figure, palette, height=height)


def _group_order(group: str) -> tuple[bool, list[tuple[int, str]]]:
    """Noise last, and "cluster 10" after "cluster 2"."""
    parts = re.findall(r"\d+|\D+", group)
    return group == NOISE, [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]
