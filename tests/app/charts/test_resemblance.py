"""The triangle of pairs and the Betti surface."""

from __future__ import annotations

import numpy as np
import pytest

from app.charts.parts import CELLS
from app.charts.resemblance import resemblance_figure, surface_figure
from app.theme import PALETTES

LIGHT = PALETTES["light"]


def test_each_pair_stands_once_and_a_click_names_both_layers() -> None:
    values = np.array([[1.0, 0.5, np.nan], [0.5, 1.0, 0.2], [np.nan, 0.2, 1.0]])
    names = ["a", "<b>b", ""]
    figure = resemblance_figure(
        values, layers=names, title="CKA", most_alike=1.0, pair=("", "<b>b"), palette=LIGHT
    )
    heat, cells = figure.data
    np.testing.assert_array_equal(heat.z, np.where(np.tri(3, dtype=bool), values, np.nan))
    assert not heat.reversescale
    assert cells.name == CELLS
    at = {(x, y): i for i, (x, y) in enumerate(zip(cells.x, cells.y, strict=True))}
    assert len(at) == 6
    assert list(cells.customdata[at[1, 2]]) == ["", "<b>b"]
    assert "0.2" in cells.hovertext[at[1, 2]]
    assert "<b>b" not in cells.hovertext[at[1, 1]].replace("<b>&lt;", "")
    assert "not finite" in cells.hovertext[at[0, 2]]
    (mark,) = figure.layout.shapes
    assert (mark.x0, mark.x1, mark.y0, mark.y1) == (0.5, 1.5, 1.5, 2.5)
    near = resemblance_figure(
        values, layers=names, title="Bottleneck", most_alike=0, pair=("a", "x"), palette=LIGHT
    )
    assert near.data[0].reversescale
    assert not near.layout.shapes


def test_each_layer_is_a_column_of_the_surface() -> None:
    scales, loops = np.linspace(0.1, 0.9, 100), np.outer([1.0, 2.0], np.arange(100.0))
    figure = surface_figure(scales, loops, layers=["a", "b"], opened="b", palette=LIGHT)
    heat, cells = figure.data
    np.testing.assert_array_equal(heat.z, loops.T)
    np.testing.assert_allclose(heat.y, 100 * scales)
    last = len(cells.x) - 1
    assert cells.customdata[last][0] == "b"
    assert cells.customdata[last][1] == pytest.approx(0.9)  # of its largest distance
    assert "90.0 %" in cells.hovertext[last]
    assert "198 loops" in cells.hovertext[last]
    assert [shape.x0 for shape in figure.layout.shapes] == [1]
    assert not figure.layout.annotations


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_clicked_scale_has_a_dot_and_a_label_inside_the_surface(look: str) -> None:
    scales, loops = np.linspace(0.1, 0.9, 100), np.ones((3, 100))
    for opened, place in (("a", 0), ("c", 2)):
        figure = surface_figure(
            scales,
            loops,
            layers=["a", "b", "c"],
            opened=opened,
            clicked=0.4234,
            palette=PALETTES[look],
        )
        (mark,) = figure.layout.annotations
        assert (mark.x, mark.y, mark.text) == (place, pytest.approx(42.34), "42.3 %")
        assert (mark.ax > 0) == (place == 0)
        assert (mark.font.color, mark.bgcolor) == (PALETTES[look].text, PALETTES[look].surface)
    elsewhere = surface_figure(
        scales, loops, layers=["a"] * 3, opened="x", clicked=0.4, palette=LIGHT
    )
    assert not elsewhere.layout.annotations
