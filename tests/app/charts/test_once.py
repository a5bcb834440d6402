"""Figures that the browser draws once: they say the same, without a template or typed arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io
import pytest

from app.charts.once import drawn_once
from app.theme import PALETTES, style

PALETTE = PALETTES["dark"]


def sent(figure: go.Figure) -> dict[str, Any]:
    """What the browser gets."""
    parts: dict[str, Any] = json.loads(plotly.io.to_json(figure, validate=False))
    return parts


def points(*values: float) -> go.Figure:
    return style(go.Figure(go.Scatter(y=np.array(values))), PALETTE, height=100)


def test_the_template_is_in_the_layout_below_what_the_figure_sets() -> None:
    figure = points(1, 2)
    figure.update_xaxes(title_text="epoch", showgrid=False)
    figure.update_layout(xaxis2={"overlaying": "x"}, margin={"l": 7})
    template = figure.layout.template.layout
    layout = sent(drawn_once(figure))["layout"]
    assert "template" not in layout
    assert layout["xaxis"]["title"]["text"] == "epoch"
    assert layout["xaxis"]["title"]["standoff"] == template.xaxis.title.standoff
    assert layout["xaxis"]["showgrid"] is False
    assert layout["xaxis2"]["gridcolor"] == layout["yaxis"]["gridcolor"] == PALETTE.grid
    assert layout["margin"] == {"l": 7, "r": 12, "t": 12, "b": 44}
    assert layout["dragmode"] is False


@pytest.mark.parametrize("kind", ["float64", "float32", "int32", "uint8"])
def test_arrays_become_lists_of_the_same_numbers(kind: str) -> None:
    matrix = (np.arange(6).reshape(2, 3) / 3).astype(kind)
    figure = style(go.Figure(go.Heatmap(z=matrix, x=["a", "b", "c"])), PALETTE, height=100)
    (trace,) = sent(drawn_once(figure))["data"]
    assert trace["x"] == ["a", "b", "c"]
    np.testing.assert_array_equal(np.array(trace["z"], kind), matrix)


def test_other_numbers_have_another_revision_and_the_same_the_same() -> None:
    revisions = [
        sent(drawn_once(points(*values)))["layout"]["datarevision"]
        for values in ((1, 2), (1, 2), (1, 3))
    ]
    assert revisions[0] == revisions[1] != revisions[2]


def test_the_figure_itself_stays_as_it_is() -> None:
    figure = points(1, 2)
    before = sent(figure)
    drawn_once(figure)
    assert sent(figure) == before
