"""Figures as they are saved."""

from __future__ import annotations

import plotly.graph_objects as go

from app.charts.saving import captioned, figures_page
from app.theme import PALETTES, style

LIGHT = PALETTES["light"]


def figure() -> go.Figure:
    return style(go.Figure(go.Scatter(x=[1], y=[2])), LIGHT, height=300)


def test_a_caption_stands_below_and_the_plot_keeps_its_size() -> None:
    plain, text = figure(), "a long caption <b>of</b> a network " * 6
    longer = go.Figure(captioned(plain, text, LIGHT).to_dict())  # which checks every name
    (note,) = longer.layout.annotations
    assert " ".join(note.text.split("<br>")) == text.strip().replace("<", "&lt;").replace(
        ">", "&gt;"
    )
    before = plain.layout.template.layout.margin.b
    room = longer.layout.margin.b - before
    assert room > 10 * note.text.count("<br>")
    assert longer.layout.height == 300 + room
    assert note.yshift == -before
    assert not plain.layout.annotations  # the figure itself is shared


def test_names_from_outside_are_text_on_the_page_of_figures() -> None:
    page = figures_page({"<script>x": figure(), "b": figure()}, "a <img> caption")
    assert page.count("&lt;img&gt;") == 2
    assert "<script>x" not in page
    assert page.count("plotly.js v") == 1  # the library once
