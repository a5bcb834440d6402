"""The distribution of b₁ over subsets, looked at from inside."""

from __future__ import annotations

from app.charts.subsets import subset_counts_figure
from app.theme import PALETTES

LIGHT = PALETTES["light"]


def test_each_number_of_loops_has_a_bar_and_the_open_subset_stands_out() -> None:
    figure = subset_counts_figure([3, 5, 3, 9], shown=2, palette=LIGHT)
    (bars,) = figure.data
    assert (list(bars.x), list(bars.y)) == ([3, 5, 9], [2, 1, 1])
    assert list(bars.marker.color) == [LIGHT.muted, LIGHT.accent, LIGHT.muted]
    assert figure.layout.shapes[0].x0 == 5.0  # the mean
    (plain,) = subset_counts_figure([3, 5], palette=LIGHT).data
    assert LIGHT.accent not in plain.marker.color
