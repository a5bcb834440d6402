"""The loops by epoch, by known answers."""

from __future__ import annotations

import numpy as np

from app.charts.diagram import LOOPS, NO_LOOPS
from app.charts.motion import (
    EARLIER,
    FROZEN,
    MARKED,
    NOT_FINITE,
    TRAINED,
    loops_by_epoch_figure,
    surface_figure,
    vineyard_figure,
)
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
