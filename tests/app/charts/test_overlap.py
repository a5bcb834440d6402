"""The overlap of selections, measured and predicted."""

from __future__ import annotations

from app.charts.overlap import Line, overlap_figure
from app.theme import PALETTES

PALETTE = PALETTES["light"]
LINES = (
    Line("measured", (20, 40), (0.2, 0.35), (18, 3)),
    Line("predicted", (160,), (0.6,)),
)


def test_what_is_predicted_is_hollow_and_what_is_measured_says_by_how_many_pairs() -> None:
    measured, predicted = overlap_figure(LINES, x_title="images", palette=PALETTE).data
    assert (list(measured.x), list(measured.y)) == ([20, 40], [0.2, 0.35])
    assert list(measured.customdata) == ["mean of 18 pairs", "mean of 3 pairs"]
    assert measured.marker.color != PALETTE.surface
    assert predicted.marker.color == PALETTE.surface
    assert (predicted.line.dash, list(predicted.customdata)) == ("dot", ["predicted"])


def test_every_size_has_its_tick() -> None:
    layout = overlap_figure(LINES, x_title="images", palette=PALETTE).layout
    assert list(layout.xaxis.tickvals) == [20, 40, 160]
    assert (layout.xaxis.title.text, layout.yaxis.range) == ("images", (0, 1.04))
