"""By how much the last selected layer would lead without single images, or without a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.results import Float64
from app.literal import figure_text
from app.theme import Palette, style

DECISIVE, CHANCE = "more than chance", "within chance"
NAMED = 20  # groups, of which more would have no room for their names


def influence_figure(
    without: Float64,
    error: Float64,
    *,
    lead: float,
    decisive: Sequence[int],
    names: Sequence[str],
    palette: Palette,
    height: int = 260,
) -> go.Figure:
    """Draw the lead without each image, the smallest first.

    Parameters
    ----------
    without, error : ndarray (groups,)
        The lead without each image or class, in loops, and its standard error.
    lead : float
        With all of them.
    decisive : sequence of int
        Which of them change it by more than chance.
    names : sequence of str
        Of the images or classes.
    palette : Palette
    height : int, default=260
        Pixels.

    Returns
    -------
    Figure
        Traces "within chance" and "more than chance".
    """
    order = np.argsort(without, kind="stable")
    figure = go.Figure()
    chosen = np.isin(order, list(decisive))
    for name, which, color in (
        (CHANCE, ~chosen, palette.ink),
        (DECISIVE, chosen, palette.accent),
    ):
        at = np.flatnonzero(which)
        groups = order[at]
        figure.add_scatter(
            name=name,
            # A trace without points would have no entry in the legend.
            x=at if len(at) else [None],
            y=without[groups] if len(at) else [None],
            error_y={
                "array": error[groups],
                "width": 0,
                "thickness": 1.25,
                "color": palette.muted if name == CHANCE else palette.accent,
            },
            hovertext=[figure_text(names[group]) for group in groups],
            hovertemplate="without %{hovertext}: lead %{y:.2f}<extra></extra>",
            mode="markers",
            marker={"size": 5 if name == CHANCE else 9, "color": color},
        )
    line = {"color": palette.secondary, "width": 1}
    figure.add_hline(y=lead, line=line | {"dash": "dot"}, layer="below", name="lead of all")
    figure.add_hline(y=0, line=line, layer="below", name="change of places")
    figure.update_xaxes(showgrid=False, showticklabels=len(names) <= NAMED)
    if len(names) <= NAMED:
        labels = [figure_text(names[group]) for group in order]
        figure.update_xaxes(tickvals=list(range(len(order))), ticktext=labels)
    figure.update_yaxes(title_text="lead", nticks=6)
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"t": 34, "b": 12 if len(names) > NAMED else 40},
    )
    return style(figure, palette, height=height)
