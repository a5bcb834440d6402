"""DBSCAN's clusters of one layer at every radius."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.theme import Palette, style


def cluster_curve_figure(
    eps: ArrayLike, counts: ArrayLike, *, chosen: float, palette: Palette, height: int = 220
) -> go.Figure:
    """Draw the number of clusters against the radius, as steps, with the radius in use.

    Parameters
    ----------
    eps : array_like of shape (s,)
        Radii, ascending, in the units of the layer's distances.
    counts : array_like of shape (s,)
        Clusters from each radius up to the next.
    chosen : float
        The radius in use.
    palette : Palette
    height : int, default=220
        Pixels.
    """
    figure = go.Figure(
        go.Scatter(
            x=eps,
            y=counts,
            mode="lines",
            line={"shape": "hv", "width": 1.75, "color": palette.ink},
            fill="tozeroy",
            fillcolor=palette.band,
            hovertemplate="%{y} clusters at %{x:.4g}<extra></extra>",
        )
    )
    figure.add_vline(chosen, line={"color": palette.accent, "width": 1.5, "dash": "dot"})
    top = max(1, int(np.max(counts)))
    first, last = float(np.min(np.asarray(eps)[1:], initial=chosen)), float(np.max(eps))
    pad = 0.05 * (last - first)
    figure.update_xaxes(
        title_text="radius (distance)", nticks=6, range=[first - pad, max(last, chosen) + pad]
    )
    figure.update_yaxes(
        title_text="clusters", range=[0, 1.08 * top], nticks=5, dtick=1 if top <= 4 else None
    )
    return style(figure, palette, height=height)
