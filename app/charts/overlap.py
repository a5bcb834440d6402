"""How far the selections of different images overlap, by what is measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from app.theme import Palette, style


@dataclass(frozen=True)
class Line:
    """One way to measure, at several sizes."""

    name: str
    x: tuple[float, ...]
    overlap: tuple[float, ...]  # mean Jaccard index
    pairs: tuple[int, ...] = ()  # of selections, behind each mean; none: predicted


def overlap_figure(
    lines: Sequence[Line], *, x_title: str, palette: Palette, height: int = 300
) -> go.Figure:
    """Draw the overlap of selections against the images, subsets or batches that they come from.

    Parameters
    ----------
    lines : sequence of Line
        What is predicted is drawn hollow and dashed.
    x_title : str
    palette : Palette
    height : int, default=300
        Pixels.
    """
    figure = go.Figure()
    for line, color, symbol in zip(
        lines, palette.clusters, ("circle", "diamond", "square", "cross"), strict=False
    ):
        predicted = not line.pairs
        behind = ["predicted"] * len(line.x) if predicted else [
            f"mean of {pairs} pairs" for pairs in line.pairs
        ]  # fmt: skip
        figure.add_scatter(
            name=line.name,
            x=line.x,
            y=line.overlap,
            customdata=behind,
            mode="lines+markers",
            cliponaxis=False,
            line={"color": color, "width": 2, "dash": "dot" if predicted else "solid"},
            marker={
                "symbol": symbol,
                "size": 9,
                "color": palette.surface if predicted else color,
                "line": {"color": color, "width": 1.75},
            },
            hovertemplate="%{x}: overlap %{y:.2f}<br>%{customdata}<extra>" + line.name + "</extra>",
        )
    places = sorted({place for line in lines for place in line.x})
    figure.update_xaxes(title_text=x_title, type="log", tickvals=places, ticktext=places)
    figure.update_yaxes(title_text="overlap", range=[0, 1.04], tickvals=np.linspace(0, 1, 6))
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"t": 52, "l": 46, "r": 12, "b": 44},
    )
    return style(figure, palette, height=height)
