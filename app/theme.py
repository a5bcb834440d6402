"""The colours of the dashboard, light and dark, and the one look of its Plotly figures.

`streamlit_config.toml` repeats these colours for Streamlit's own widgets; a test compares them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go

# Streamlit serves "Source Sans" itself; the rest is what an exported SVG falls back to.
FONT = '"Source Sans", "Source Sans Pro", "Segoe UI", "Helvetica Neue", Arial, sans-serif'
FONT_SIZE = 12  # px, in figures
BASE_FONT_SIZE = 15  # px, of pages


@dataclass(frozen=True)
class Palette:
    """One appearance. Every colour is `#rrggbb`; those used for text are readable on `surface`."""

    accent: str  # what is selected
    text: str
    secondary: str  # axis labels, captions
    ink: str  # marks that carry a value without being selected
    muted: str  # bars that are not selected
    band: str  # ranges behind the marks
    grid: str
    border: str
    surface: str  # the page
    panel: str  # sidebar, inputs
    noise: str  # points that belong to no cluster
    warning: str
    clusters: tuple[str, ...]  # the first five can be told apart with any colour vision
    memory: tuple[str, ...]  # one per kind of memory; can be told apart with any colour vision
    scale: float = 1.0  # of text, and of the room it needs


PALETTES = {
    "light": Palette(
        accent="#0f766e",
        text="#0f172a",
        secondary="#526075",
        ink="#475569",
        muted="#cbd5e1",
        band="#eef2f6",
        grid="#e8edf3",
        border="#e2e8f0",
        surface="#ffffff",
        panel="#f8fafc",
        noise="#64748b",
        warning="#b45309",
        clusters=(
            "#0f766e",
            "#c2410c",
            "#1d4ed8",
            "#a21caf",
            "#453200",
            "#0878b8",
            "#7f1d3f",
            "#5f6b00",
        ),
        memory=("#334155", "#5b7fd6", "#bd8418", "#0f766e", "#8390a2"),
    ),
    "dark": Palette(
        accent="#2dd4bf",
        text="#e6ebf1",
        secondary="#9dabbb",
        ink="#b3c0ce",
        muted="#465466",
        band="#1c2530",
        grid="#232d39",
        border="#2b3643",
        surface="#10161d",
        panel="#171f28",
        noise="#8b99a9",
        warning="#fbbf24",
        clusters=(
            "#2dd4bf",
            "#fb8c4e",
            "#7ea6ff",
            "#f472d0",
            "#e3c94b",
            "#38bdf8",
            "#fda4af",
            "#d4d4d8",
        ),
        memory=("#bccad9", "#5f86e8", "#dba63a", "#2bb3a3", "#64748b"),
    ),
}


LARGE = 1.4  # the scale of large type, for projectors
PALETTES |= {f"{name} large": replace(p, scale=LARGE) for name, p in PALETTES.items()}


class SelectableFigure(go.Figure):  # type: ignore[misc]
    """A figure whose marks can be tapped, and that does not block scrolling by touch.

    Streamlit replaces a falsy `dragmode` of a chart with selections by "pan". Plotly then keeps
    touches from the browser: the page does not scroll, and a tap selects what the tap before it
    touched. A name that Plotly does not know passes Streamlit, and Plotly falls back to the
    template, where `style` switches dragging off.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as plain data, as Streamlit sends it to the browser."""
        plain: dict[str, Any] = super().to_dict()
        return {**plain, "layout": {**plain["layout"], "dragmode": "none"}}


class DrawnFigure(SelectableFigure):
    """A figure as the plain data that the browser gets, for pages that are drawn often.

    Plotly checks and copies each value of a figure whenever it is drawn, which takes longer than
    all the rest of a page.
    """

    def __init__(self, plain: dict[str, Any]) -> None:  # and none of Plotly's own
        self.__dict__["plain"] = plain

    def to_dict(self) -> dict[str, Any]:
        """Return the data; what is in it is shared, and must stay as it is."""
        plain: dict[str, Any] = self.__dict__["plain"]
        return {**plain, "data": [dict(trace) for trace in plain["data"]]}


def translucent(color: str, opacity: float) -> str:
    """Return `color` (`#rrggbb`) as a CSS `rgba()` of the given opacity, from 0 to 1."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def style(figure: go.Figure, palette: Palette, *, height: int) -> go.Figure:
    """Give a figure the look of the dashboard, in place.

    Parameters
    ----------
    figure : Figure
        Its own margins and axis settings are kept where they are set.
    palette : Palette
    height : int
        Pixels.

    Returns
    -------
    Figure
        The same figure, to chain.
    """
    # A finger that drags over a chart must scroll the page.
    figure.update_layout(
        template=_template(palette), height=height, hovermode="closest", dragmode=False
    )
    if palette.scale != 1:
        _enlarge(figure, palette.scale)
    return figure


def _enlarge(figure: go.Figure, scale: float) -> None:
    """Scale the sizes that the figure sets itself; the others are the template's."""
    layout = figure.layout
    layout.height *= scale
    axes = [*figure.select_xaxes(), *figure.select_yaxes()]
    titles = [axis.title for axis in axes]
    fonts = [part.font for part in (*layout.annotations, *titles)]
    fonts += [axis.tickfont for axis in axes] + [layout.legend.font]
    fonts += [trace.textfont for trace in figure.data if "textfont" in trace]
    for font in fonts:
        if font.size is not None:
            font.size *= scale
    for title in titles:  # with its small second line
        if title.text:
            title.text = _PIXELS.sub(lambda m: f"{float(m[1]) * scale:g}px", title.text)
        if title.standoff is not None:
            title.standoff *= scale
    for side in "lrtb":
        if layout.margin[side] is not None:
            layout.margin[side] *= scale


_PIXELS = re.compile(r"([\d.]+)px")


@lru_cache
def _template(palette: Palette) -> go.layout.Template:
    size = FONT_SIZE * palette.scale
    shared = {
        "type": "linear",  # an empty trace would leave the axis without a grid
        "fixedrange": True,  # no zoom: the page scrolls instead
        "showline": False,
        "zeroline": False,
        "gridcolor": palette.grid,
        "tickfont": {"size": 11 * palette.scale, "color": palette.secondary},
        "title": {"font": {"size": size, "color": palette.secondary}, "standoff": 6},
    }
    return go.layout.Template(
        layout={
            "xaxis": shared,
            "yaxis": shared,
            "margin": {
                side: pixels * palette.scale
                for side, pixels in {"l": 52, "r": 12, "t": 12, "b": 44}.items()
            },
            "font": {"family": FONT, "size": size, "color": palette.text},
            # The page's own colour, not transparent: a saved dark figure stays readable.
            "paper_bgcolor": palette.surface,
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": palette.clusters,
            "dragmode": False,  # see `SelectableFigure`
            "hoverlabel": {
                "bgcolor": palette.panel,
                "bordercolor": palette.border,
                "font": {"family": FONT, "size": size, "color": palette.text},
                "align": "left",
            },
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)",
                "color": palette.secondary,
                "activecolor": palette.accent,
            },
            "legend": {"font": {"size": 11 * palette.scale, "color": palette.secondary}},
        }
    )


def chart_config(filename: str, kind: str = "svg") -> dict[str, Any]:
    """Return Plotly's settings for one chart: a button that saves it, and little else.

    Parameters
    ----------
    filename : str
        Of the saved picture, without the extension.
    kind : {"svg", "png"}
        The format of the saved picture; PNG has twice the pixels of the page.
    """
    return {
        "displaylogo": False,
        "toImageButtonOptions": {"format": kind, "filename": filename, "scale": 2},
        "modeBarButtonsToRemove": ["zoom", "pan", "zoomIn", "zoomOut", "autoScale", "resetScale"],
    }
