"""Figures as they are saved: with a caption, and several on one page that draws them."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping

import plotly.graph_objects as go
import plotly.io

from app.theme import DrawnFigure, Palette

LINE = 14  # px of a line of the caption
_CHARACTERS = 60  # of a line; the narrowest figure is 330 px wide
_BUTTONS = """<script>
for (const button of document.querySelectorAll('button')) button.onclick = () => {
  const figure = button.closest('figure');
  Plotly.downloadImage(figure.querySelector('.js-plotly-plot'),
    {format: button.dataset.format, filename: figure.dataset.name, scale: 2});
};
</script>"""


def captioned(figure: go.Figure, text: str, palette: Palette) -> DrawnFigure:
    """The figure with `text` below it; the plot keeps its size."""
    plain = figure.to_dict()
    layout, lines = dict(plain["layout"]), textwrap.wrap(text, _CHARACTERS)
    shared = layout["template"]["layout"]["margin"]["b"]
    margin = layout.get("margin", {}).get("b", shared)
    room = palette.scale * (LINE * len(lines) + 6)
    layout["margin"] = {**layout.get("margin", {}), "b": margin + room}
    layout["height"] += room
    note = {
        "name": "caption",
        "text": "<br>".join(map(html.escape, lines)),
        "align": "left",
        "showarrow": False,
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": 0,
        "yref": "paper",
        "yanchor": "top",
        "yshift": -margin,
        "font": {"size": 10 * palette.scale, "color": palette.secondary},
    }
    layout["annotations"] = [*layout.get("annotations", ()), note]
    return DrawnFigure({**plain, "layout": layout})


def figures_page(figures: Mapping[str, go.Figure], caption: str) -> str:
    """A page that draws the figures without a network and saves each as SVG or PNG.

    Parameters
    ----------
    figures : mapping of str to Figure
        By file names, without the ending.
    caption : str
        Below each figure.
    """
    parts = []
    for number, (name, figure) in enumerate(figures.items()):
        plot = plotly.io.to_html(
            figure,
            full_html=False,
            include_plotlyjs=number == 0,
            default_height=f"{figure.to_dict()['layout']['height']}px",
            config={"displaylogo": False, "displayModeBar": False},
        )
        buttons = "".join(
            f'<button data-format="{kind}">{kind.upper()}</button>' for kind in ("svg", "png")
        )
        parts.append(
            f'<figure data-name="{html.escape(name)}">{plot}'
            f"<figcaption>{html.escape(name)}: {html.escape(caption)} {buttons}</figcaption>"
            "</figure>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>BettiScope figures'
        "</title><style>body{font-family:sans-serif;max-width:60rem;margin:2rem auto}</style>"
        f"</head><body>{''.join(parts)}{_BUTTONS}</body></html>"
    )
