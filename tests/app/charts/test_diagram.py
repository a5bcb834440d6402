"""Persistence diagram, barcode and Betti curve by known answers."""

from __future__ import annotations

import numpy as np
import pytest

from app.charts.diagram import (
    NO_LOOPS,
    barcode_figure,
    betti_curve_figure,
    common_span,
    diagram_figure,
)
from app.theme import PALETTES, translucent

LIGHT = PALETTES["light"]
TWO = np.array([[3.0, 3.5], [1.0, 4.0]], dtype=np.float32)  # the later loop is the shorter
NONE = np.zeros((0, 2), np.float32)


def test_two_loops_are_two_markers():
    (trace,) = diagram_figure(TWO, palette=LIGHT).data
    assert trace.mode == "markers"
    assert sorted(zip(trace.x, trace.y, strict=True)) == [(1.0, 4.0), (3.0, 3.5)]
    assert trace.marker.color == "rgba(15,118,110,0.85)"


@pytest.mark.parametrize(("limit", "short", "long"), [(0.4, 0, 2), (0.5, 1, 1), (3.0, 2, 0)])
def test_loops_no_longer_than_the_limit_are_muted(limit, short, long):
    traces = {t.name: t for t in diagram_figure(TWO, min_persistence=limit, palette=LIGHT).data}
    sizes = {name: len(traces[name].x) if name in traces else 0 for name in ("loops", *traces)}
    assert sizes["loops"] == long
    assert sizes.get("too short to count", 0) == short
    bars = barcode_figure(TWO, min_persistence=limit, palette=LIGHT).data[0].marker.color
    assert list(bars).count(LIGHT.muted) == short
    assert list(bars).count(LIGHT.accent) == long


def test_axes_are_equal_and_hold_every_point_and_the_diagonal():
    layout = diagram_figure(TWO, palette=LIGHT).layout
    assert layout.xaxis.range == layout.yaxis.range
    assert layout.yaxis.scaleanchor == "x"
    low, high = layout.xaxis.range
    assert low < 1.0
    assert high > 4.0
    (diagonal,) = layout.shapes
    assert (diagonal.x0, diagonal.y0) == (low, low)
    assert (diagonal.x1, diagonal.y1) == (high, high)
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == (
        "birth (distance)",
        "death (distance)",
    )


def test_the_limit_is_a_second_line_above_the_diagonal():
    lines = diagram_figure(TWO, min_persistence=1.0, palette=LIGHT).layout.shapes
    assert [(line.y0 - line.x0, line.y1 - line.x1) for line in lines] == [(0, 0), (1, 1)]


def test_loops_that_do_not_pass_the_test_are_hollow():
    figure = diagram_figure(TWO, passes=[True, False], palette=LIGHT)
    usual, loops = figure.data
    assert (usual.name, list(usual.x)) == ("as long as in rotated clouds", [TWO[1][0]])
    assert usual.marker.color == translucent(LIGHT.surface, 0.85)
    assert usual.marker.line.color == LIGHT.accent
    assert (loops.name, list(loops.x)) == ("loops", [TWO[0][0]])
    (bars,) = barcode_figure(TWO, passes=[True, False], palette=LIGHT).data
    assert list(bars.marker.color) == [LIGHT.surface, LIGHT.accent]  # by birth
    assert [width > 0 for width in bars.marker.line.width] == [True, False]
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        diagram_figure(TWO, passes=[True], palette=LIGHT)


def test_bars_run_from_birth_to_death_the_earliest_first():
    (bars,) = barcode_figure(TWO, palette=LIGHT).data
    assert list(bars.base) == [1.0, 3.0]
    assert list(bars.x) == [3.0, 0.5]
    assert list(bars.y) == [1, 2]
    assert list(bars.customdata) == [4.0, 3.5]


def test_the_betti_curve_steps_from_each_scale_to_the_next():
    figure = betti_curve_figure([1.0, 3.0, 3.5, 4.0], [1, 2, 1, 0], palette=LIGHT)
    (curve,) = figure.data
    assert curve.line.shape == "hv"
    assert list(curve.x) == [1.0, 3.0, 3.5, 4.0]
    assert list(curve.y) == [1, 2, 1, 0]
    assert figure.layout.yaxis.range[0] == 0
    assert figure.layout.yaxis.range[1] > 2
    assert figure.layout.yaxis.dtick == 1


@pytest.mark.parametrize(
    "figure",
    [
        diagram_figure(NONE, palette=LIGHT),
        diagram_figure(NONE, min_persistence=2.0, palette=LIGHT),
        barcode_figure(NONE, palette=LIGHT),
        betti_curve_figure([], [], palette=LIGHT),
        betti_curve_figure([0.0, 1.0], [0, 0], palette=LIGHT),
    ],
)
def test_without_loops_the_axes_say_so(figure):
    assert [a.text for a in figure.layout.annotations] == [NO_LOOPS]
    assert figure.layout.xaxis.title.text


def test_with_loops_nothing_claims_there_are_none():
    for figure in (
        diagram_figure(TWO, palette=LIGHT),
        barcode_figure(TWO, palette=LIGHT),
        betti_curve_figure([1.0, 2.0], [1, 0], palette=LIGHT),
    ):
        assert not figure.layout.annotations


@pytest.mark.parametrize("draw", [diagram_figure, barcode_figure])
def test_a_wrong_shape_is_named(draw):
    with pytest.raises(ValueError, match=r"`diagram` must have shape \(k, 2\), got \(3,\)"):
        draw([1.0, 2.0, 3.0], palette=LIGHT)


def test_one_loop_alone_still_has_a_range():
    low, high = diagram_figure([[2.0, 2.0]], palette=LIGHT).layout.xaxis.range
    assert low < 2.0 < high


def test_diagrams_side_by_side_share_their_axes_unless_one_would_be_too_small() -> None:
    near, far, tiny = [[1.0, 2.0]], [[3.0, 5.0]], [[0.1, 0.11]]
    span = common_span([near, far, NONE])
    assert span is not None
    assert span[0] < 1
    assert span[1] > 5
    for diagram in (near, far):
        figure = diagram_figure(diagram, span=span, palette=PALETTES["light"])
        assert figure.layout.xaxis.range == figure.layout.yaxis.range == span
    assert common_span([near, far, tiny]) is None
    assert common_span([]) is None
