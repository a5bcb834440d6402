"""How a layer's number of loops differs between random subsets of the images."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.theme import Palette, style


def subset_counts_figure(
    loops: ArrayLike, *, shown: int = 0, palette: Palette, height: int = 180
) -> go.Figure:
    """Draw how many subsets have each number of loops, with their mean as a line.

    Parameters
    ----------
    loops : array_like of shape (subsets,)
        b₁ of each subset, whole numbers.
    shown : int, default=0
        The subset that is open, counted from 1; its bar stands out. 0: none.
    palette : Palette
    height : int, default=180
        Pixels.
    """
    numbers = np.asarray(loops, dtype=int)
    values, counts = np.unique(numbers, return_counts=True)
    opened = numbers[shown - 1] if shown else -1
    figure = go.Figure(
        go.Bar(
            x=values,
            y=counts,
            marker_color=[palette.accent if v == opened else palette.muted for v in values],
            hovertemplate="%{x} loops: %{y} subsets<extra></extra>",
        )
    )
    figure.add_vline(x=float(numbers.mean()), line={"color": palette.ink, "dash": "dash"})
    figure.update_xaxes(title_text="loops in a subset", nticks=8)
    figure.update_yaxes(title_text="subsets", nticks=4)
    return style(figure, palette, height=height)
