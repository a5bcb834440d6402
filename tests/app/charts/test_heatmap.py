"""Cells of a table of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from app.charts.heatmap import heat_map_figure
from app.theme import PALETTES

LIGHT = PALETTES["light"]
TITLES = ("row", "column", "value")


def test_every_value_is_a_cell_of_its_row_and_column() -> None:
    values = np.array([[0.1, np.nan, 0.3], [-1, 0, 1]])
    figure = heat_map_figure(
        values,
        rows=["a", "b"],
        columns=["x", "y", "z"],
        titles=TITLES,
        span=(-1, 1),
        marked=values > 0.2,
        palette=LIGHT,
    )
    cells, dots = figure.data
    np.testing.assert_array_equal(cells.z, values)
    assert (list(cells.x), list(cells.y)) == (["x", "y", "z"], ["a", "b"])
    assert (cells.zmin, cells.zmax) == (-1, 1)
    assert list(zip(dots.y, dots.x, strict=True)) == [("a", "z"), ("b", "z")]


def test_equal_values_have_a_scale_all_the_same() -> None:
    figure = heat_map_figure([[2.0]], rows=["a"], columns=["x"], titles=TITLES, palette=LIGHT)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (2, 3)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(1, 2\), got \(1, 1\)"):
        heat_map_figure([[1]], rows=["a"], columns=["x", "y"], titles=TITLES, palette=LIGHT)
