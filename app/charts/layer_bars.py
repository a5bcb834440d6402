"""One number for each layer, in execution order, as bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from app.charts.parts import layer_axis
from app.literal import figure_text
from app.theme import Palette, style


def layer_bars_figure(
    names: Sequence[str],
    values: ArrayLike,
    marked: ArrayLike,
    *,
    title: str,
    palette: Palette,
    height: int = 180,
) -> go.Figure:
    """Draw a bar for each layer.

    Parameters
    ----------
    names : sequence of L str
    values : array_like (L,)
        NaN: no bar.
    marked : array_like (L,) of bool
        Which bars stand out.
    title : str
        Of the values.
    palette : Palette
    height : int, default=180
        Pixels.
    """
    colors = np.where(np.asarray(marked, bool), palette.accent, palette.muted).tolist()
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(names)),
            y=values,
            marker={"color": colors, "line": {"width": 0}},
            hovertext=[f"<b>{figure_text(name or '(model)')}</b>" for name in names],
            hovertemplate="%{hovertext}: %{y:.3g}<extra></extra>",
        )
    )
    figure.update_layout(
        xaxis=layer_axis(len(names)),
        yaxis={"title": {"text": title}, "nticks": 4},
        margin={"l": 56, "r": 8, "t": 8, "b": 36},
        bargap=0.15,
    )
    return style(figure, palette, height=height)
