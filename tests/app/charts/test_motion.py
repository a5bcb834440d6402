"""The loops by epoch, by known answers."""

from __future__ import annotations

import numpy as np

from app.charts.diagram import LOOPS, NO_LOOPS
from app.charts.motion import (
    EARLIER,
    FROZEN,
    MARKED,
    NOT_FINITE,
    SHOWN,
    TRAINED,
    loops_by_epoch_figure,
    measure_figure,
    moving_map_figure,
    surface_figure,
    vineyard_figure,
)
from app.charts.strategy_looks import strategy_look
from app.theme import PALETTES

LIGHT = PALETTES["light"]
FIRST = np.array([[1.0, 2.0]])
THEN = np.array([[8.0, 9.0], [7.0, 9.5]])
NONE = np.zeros((0, 2))


def points(diagrams, shown):
    traces = vineyard_figure(diagrams, shown, palette=LIGHT).data
    return {t.name: sorted(zip(t.x, t.y, strict=True)) for t in traces}


def test_earlier_epochs_are_faint_points_behind_those_of_the_epoch():
    assert points([FIRST, THEN, FIRST], 0) == {LOOPS: [(1, 2)]}
    assert points([FIRST, THEN, FIRST], 1) == {EARLIER: [(1, 2)], LOOPS: [(7, 9.5), (8, 9)]}
    names = [t.name for t in vineyard_figure([FIRST, THEN], 1, palette=LIGHT).data]
    assert names == [EARLIER, LOOPS]


def test_all_epochs_share_axes_that_hold_every_loop():
    spans = {
        vineyard_figure([FIRST, None, THEN], shown, palette=LIGHT).layout.xaxis.range
        for shown in range(3)
    }
    ((low, high),) = spans
    assert low < 1
    assert high > 9.5


def test_an_epoch_without_loops_or_numbers_says_so():
    for diagram, text in ((NONE, NO_LOOPS), (None, NOT_FINITE)):
        for diagrams in ([FIRST, diagram], [diagram, diagram]):
            figure = vineyard_figure(diagrams, 1, palette=LIGHT)
            assert [note.text for note in figure.layout.annotations] == [text]


def test_each_line_has_its_loops_and_the_shown_epoch_is_marked():
    loops = {TRAINED: [3.0, 2.5], FROZEN: [4.0, 4.0], "a<b": [1.0, np.nan]}
    figure = loops_by_epoch_figure([0, 20], loops, shown=1, palette=LIGHT)
    assert [t.name for t in figure.data] == [TRAINED, FROZEN, "a&lt;b"]
    assert list(figure.data[0].x) == [0, 20]
    assert list(figure.data[0].y) == [3.0, 2.5]
    (mark,) = figure.layout.shapes
    assert (mark.x0, mark.x1) == (20, 20)


def test_runs_side_by_side_share_their_axes():
    one, other = [FIRST, NONE], [THEN, THEN]
    spans = [
        vineyard_figure(own, 0, beside=one + other, palette=LIGHT).layout.xaxis.range
        for own in (one, other)
    ]
    assert spans[0] == spans[1]
    assert spans[0][1] > 9.5
    lines = [
        loops_by_epoch_figure([0, last], {TRAINED: [1.0, 2.0]}, shown=0, ends=(20, 8.0),
                              palette=LIGHT)
        for last in (1, 20)
    ]  # fmt: skip
    assert len({figure.layout.yaxis.range for figure in lines}) == 1
    assert len({figure.layout.xaxis.range for figure in lines}) == 1


def test_the_map_moves_from_epoch_to_epoch_on_the_same_axes():
    maps = [np.array([[0, 1.0], [2, 0]]), None, np.array([[0, 1.5], [-4, 0]])]
    drawn = [moving_map_figure(maps, shown, classes=["<b>", "long"], palette=LIGHT)
             for shown in range(3)]  # fmt: skip
    assert len({figure.layout.xaxis.range for figure in drawn}) == 1
    assert drawn[0].layout.xaxis.range[1] > 4
    assert [t.name for t in drawn[0].data] == ["&lt;b&gt;", "long"]
    assert [note.text for note in drawn[1].layout.annotations] == [NOT_FINITE]
    assert not drawn[1].data
    way, *points = drawn[2].data
    assert (way.name, way.mode) == (EARLIER, "lines")
    np.testing.assert_array_equal(way.x, [0, 0, np.nan, 2, -4, np.nan])
    np.testing.assert_array_equal(way.y, [1, 1.5, np.nan, 0, 0, np.nan])
    assert [(*t.x, *t.y) for t in points] == [(0, 1.5), (-4, 0)]
    other = moving_map_figure(maps[:1], 0, classes=["a", "b"], beside=maps, palette=LIGHT)
    assert other.layout.xaxis.range == drawn[0].layout.xaxis.range
    empty = moving_map_figure([None, None], 0, classes=["a"], palette=LIGHT)
    assert empty.layout.annotations[0].text == NOT_FINITE


def test_a_dot_is_on_the_last_value_until_the_epoch():
    lines = {"a<b": ([1, 2, 3], [5.0, 7.0, 6.0], strategy_look(LIGHT, "adabet")),
             "short": ([1], [4.0], strategy_look(LIGHT, "head"))}  # fmt: skip
    for epoch, dots in ((0, [(), ()]), (2, [(2, 7), (1, 4)])):
        figure = measure_figure(lines, title="loss", epoch=epoch, last=3, palette=LIGHT)
        assert [t.name for t in figure.data] == ["a&lt;b", SHOWN, "short", SHOWN]
        assert list(figure.data[0].y) == [5, 7, 6]
        assert [(*t.x, *t.y) for t in figure.data if t.name == SHOWN] == dots
        (mark,) = figure.layout.shapes
        assert mark.x0 == epoch
        assert [t.name for t in figure.data if t.showlegend] == ["a&lt;b", "short"]


def test_cells_are_layers_by_epochs_and_trained_layers_are_marked():
    loops = {"first": [3.0, 3.0, 3.0], "<b>": [5.0, np.nan, 1.0]}
    figure = surface_figure([0, 2, 9], loops, {"<b>"}, shown=2, most=7, palette=LIGHT)
    heat, marks = figure.data
    np.testing.assert_array_equal(heat.z, [[3, 5], [3, np.nan], [3, 1]])  # epochs upwards
    assert (heat.zmin, heat.zmax) == (0, 7)
    assert [list(row) for row in heat.customdata] == [["first", "&lt;b&gt;"]] * 3
    assert (marks.name, list(marks.x)) == (MARKED, [1])
    (frame,) = figure.layout.shapes
    assert (frame.y0, frame.y1) == (1.5, 2.5)
    assert list(figure.layout.yaxis.ticktext) == ["0", "2", "9"]
