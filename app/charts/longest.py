"""The longest loop of a cloud among the longest loops of pure noise."""

from __future__ import annotations

import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.theme import Palette, style

NOISE, HERE = "pure noise", "these points"


def longest_figure(
    observed: float | None, null: ArrayLike, *, palette: Palette, height: int = 130
) -> go.Figure:
    """Draw how long the longest loops of noise live, and where the observed one lies.

    Parameters
    ----------
    observed : float, optional
        Death / birth; without it the noise is drawn alone.
    null : array_like (draws,)
        The same of each cloud of noise.
    palette : Palette
    height : int, default=130
        Pixels.

    Returns
    -------
    Figure
        A histogram "pure noise" and, of the observed loop, a mark "these points".
    """
    figure = go.Figure(
        go.Histogram(
            x=null,
            nbinsx=24,
            name=NOISE,
            marker={"color": palette.muted},
            hovertemplate="%{y} clouds of noise: %{x}<extra></extra>",
        )
    )
    if observed is not None:
        figure.add_scatter(
            x=[observed],
            y=[0],
            name=HERE,
            mode="markers",
            marker={"symbol": "triangle-up", "size": 14, "color": palette.accent},
            cliponaxis=False,
            hovertemplate="these points: %{x:.2f}<extra></extra>",
        )
    figure.update_xaxes(title_text="death / birth of the longest loop", rangemode="normal")
    figure.update_yaxes(title_text="clouds", nticks=3)
    figure.update_layout(
        showlegend=True,  # of one trace too
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        margin={"l": 40, "r": 8, "t": 22, "b": 36},
    )
    return style(figure, palette, height=height)
