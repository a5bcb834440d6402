"""How well each choice of layers did, with the one that was bet on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from analysis.text import share_text
from app.literal import figure_text
from app.theme import Palette, style

PROFILE = "layer profile"


def bet_figure(
    accuracies: Mapping[str, Sequence[float]],
    bet: str,
    elsewhere: Mapping[str, float] | None = None,
    *,
    palette: Palette,
    height: int = 300,
) -> go.Figure:
    """Draw a bar for each strategy, the mean over seeds, with a dot for each seed.

    Parameters
    ----------
    accuracies : mapping of str to sequence of float
        By the title of the strategy, the best first; shares of test images.
    bet : str
        The title of the one that stands out.
    elsewhere : mapping of str to float, optional
        What strategies reached in the layer profile, by title: the trace "layer profile".
    palette : Palette
    height : int, default=300
        Pixels.
    """
    titles = list(accuracies)
    means = [sum(values) / len(values) for values in accuracies.values()]
    figure = go.Figure(
        go.Bar(
            y=[figure_text(title) for title in titles],
            x=means,
            orientation="h",
            marker={"color": [palette.accent if t == bet else palette.muted for t in titles]},
            text=[share_text(mean) for mean in means],
            textposition="auto",
            insidetextanchor="start",  # clear of the dots and diamonds at the other end
            insidetextfont={
                "color": [palette.surface if t == bet else palette.text for t in titles]
            },
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    if any(len(values) > 1 for values in accuracies.values()):
        dots = [(title, value) for title, values in accuracies.items() for value in values]
        figure.add_scatter(
            y=[figure_text(title) for title, _ in dots],
            x=[value for _, value in dots],
            mode="markers",
            marker={"color": palette.ink, "size": 7},
            hovertemplate="one seed: %{x:.1%}<extra></extra>",
        )
    known = [title for title in titles if title in (elsewhere or {})]
    if elsewhere and known:
        figure.add_scatter(
            x=[elsewhere[title] for title in known],
            y=[figure_text(title) for title in known],
            mode="markers",
            name=PROFILE,
            marker={
                "symbol": "diamond-open",
                "color": palette.text,
                "size": 11,
                "line": {"width": 2},
            },
            hovertemplate="in the layer profile: %{x:.1%}<extra></extra>",
        )
    figure.update_layout(
        showlegend=False,
        xaxis={
            "range": [0, 1.08],
            "tickvals": [0, 0.5, 1],
            "tickformat": ".0%",
            "title": {"text": "test images right"},
        },
        yaxis={
            "type": "category",
            "autorange": "reversed",
            "tickfont": {"color": palette.text},
            "automargin": True,
        },
        margin={"l": 8, "r": 16, "t": 8, "b": 40},
        bargap=0.25,
    )
    return style(figure, palette, height=height)
