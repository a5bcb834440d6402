"""The overlap of a selection by severity, and cells of layers and severities."""

from __future__ import annotations

import numpy as np
import pytest

from app.charts import drift
from app.charts.drift import layer_map_figure, overlap_figure
from app.theme import PALETTES

LIGHT = PALETTES["light"]


def test_the_overlap_stands_before_luck_and_size() -> None:
    figure = overlap_figure(
        [4, 3, 1, 0], chosen=4, luck=(2, 2.5, 4), by_size=1.5, severity=2, palette=LIGHT
    )
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == [drift.LUCK, drift.MEAN, drift.SIZE, drift.SHIFTED]
    assert set(traces[drift.LUCK].y) == {2, 4}
    assert set(traces[drift.MEAN].y) == {2.5}
    assert set(traces[drift.SIZE].y) == {1.5}
    shifted = traces[drift.SHIFTED]
    assert list(zip(shifted.x, shifted.y, strict=True)) == [(0, 4), (1, 3), (2, 1), (3, 0)]
    assert int(np.argmax(shifted.marker.size)) == 2
    low, high = figure.layout.yaxis.range
    assert low < 0 < 4 < high


def test_the_axis_may_be_shares() -> None:
    figure = overlap_figure(
        [2, 1, 0], chosen=2, luck=None, by_size=1, severity=1, step=50, axis="%", palette=LIGHT
    )
    assert list(figure.data[-1].x) == [0, 50, 100]
    assert figure.layout.xaxis.title.text == "%"


def test_a_band_is_seen_even_if_all_draws_agree_and_missing_without_draws() -> None:
    same = overlap_figure([4], chosen=4, luck=(3, 3.0, 3), by_size=0, severity=0, palette=LIGHT)
    low, high = min(same.data[0].y), max(same.data[0].y)
    assert low < 3 < high
    none = overlap_figure([4], chosen=4, luck=None, by_size=0, severity=0, palette=LIGHT)
    assert [trace.name for trace in none.data] == [drift.SIZE, drift.SHIFTED]


def test_every_layer_is_a_column_and_a_click_names_it() -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    layers = ["a", "<b>b", ""]
    figure = layer_map_figure(
        values, layers=layers, selected=values > 2.5, title="b₁", opened="<b>b", palette=LIGHT
    )
    heat, dots, cells = figure.data
    np.testing.assert_array_equal(heat.z, values.T)
    assert (heat.zmin, heat.zmax) == (1, 6)
    assert not heat.reversescale
    assert list(zip(dots.x, dots.y, strict=True)) == [(1, 0), (2, 0), (2, 1)]
    at = {(x, y): i for i, (x, y) in enumerate(zip(cells.x, cells.y, strict=True))}
    assert cells.customdata[at[1, 1]][0] == "<b>b"
    assert (
        cells.hovertext[at[1, 1]] == "<b>&lt;b&gt;b</b><br>severity 1<br>not ranked or not finite"
    )
    assert cells.hovertext[at[2, 0]] == "<b>(model)</b><br>without the shift<br>b₁ 5.0<br>selected"
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.x1) == (0.5, 1.5)
    top, bottom = figure.layout.yaxis.range[1], figure.layout.yaxis.range[0]
    assert top < bottom  # severity 0 is above the others


def test_low_ranks_are_strong_and_nothing_may_be_marked() -> None:
    figure = layer_map_figure(
        [[1.0]], layers=["a"], selected=[[False]], title="rank", low_is_good=True, digits=0,
        opened="gone", palette=LIGHT,
    )  # fmt: skip
    assert figure.data[0].reversescale
    assert not figure.layout.shapes
    assert figure.data[2].hovertext[0].endswith("rank 1")
    empty = layer_map_figure(
        [[np.nan]], layers=["a"], selected=[[False]], title="rank", palette=LIGHT
    )
    assert (empty.data[0].zmin, empty.data[0].zmax) == (0, 1)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(2, severities\), got \(1, 1\)"):
        layer_map_figure([[1]], layers=["a", "b"], selected=[[True]], title="b₁", palette=LIGHT)
