"""The curve of clusters against the radius."""

from __future__ import annotations

from app.charts.clusters import cluster_curve_figure
from app.theme import PALETTES


def test_the_curve_has_its_steps_and_the_radius_in_use() -> None:
    figure = cluster_curve_figure([0, 1, 2], [0, 3, 1], chosen=1.5, palette=PALETTES["dark"])
    (line,) = figure.data
    assert (list(line.x), list(line.y), line.line.shape) == ([0, 1, 2], [0, 3, 1], "hv")
    (mark,) = figure.layout.shapes
    assert (mark.x0, mark.x1) == (1.5, 1.5)
