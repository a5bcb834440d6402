"""Memory by kind by known answers: units, order, predictions."""

from __future__ import annotations

import pytest

from analysis.instruments.memory_use import MEMORY_KINDS, MemoryUse
from analysis.text import size_unit
from analysis.training.metrics import MemorySample
from app.charts.memory import (
    NO_RUN,
    NO_SAMPLE,
    MemoryRow,
    comparison_memory_figure,
    memory_figure,
)
from app.theme import PALETTES

LIGHT, DARK = PALETTES["light"], PALETTES["dark"]
MB = 1_000_000
PEAK = MemoryUse(
    parameters=10 * MB, gradients=2 * MB, optimizer=3 * MB, activations=40 * MB, other=5 * MB
)
FULL = MemoryUse(
    parameters=10 * MB, gradients=10 * MB, optimizer=10 * MB, activations=160 * MB, other=10 * MB
)
NAMES = ["parameters", "gradients", "optimiser state", "activations", "other"]


def samples(count: int) -> list[MemorySample]:
    return [MemorySample(1 + 16 * i, 1 + i, PEAK, 812 * MB, None) for i in range(count)]


def bars(figure):
    return [t for t in figure.data if t.type == "bar"]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_one_sample_is_one_bar_stacked_in_the_order_of_the_kinds(palette):
    figure = memory_figure(samples(1), PEAK, palette=palette)
    assert [t.name for t in bars(figure)] == NAMES
    assert [list(t.y) for t in bars(figure)] == [[10], [2], [3], [40], [5]]
    assert [t.marker.color for t in bars(figure)] == list(palette.memory)
    assert figure.layout.barmode == "stack"
    assert len(MEMORY_KINDS) == len(palette.memory)
    # A lone bar is not as wide as the plot.
    low, high = figure.layout.xaxis.range
    assert high - low >= 8


def test_nine_samples_are_labelled_with_their_steps():
    figure = memory_figure(samples(9), PEAK, palette=LIGHT)
    assert list(bars(figure)[0].x) == list(range(9))
    assert list(figure.layout.xaxis.tickvals) == [0, 2, 4, 6, 8]
    assert list(figure.layout.xaxis.ticktext) == ["1", "33", "65", "97", "129"]
    assert "step" in figure.layout.xaxis.title.text


def test_the_axis_of_a_live_run_does_not_grow():
    ranges = {
        tuple(memory_figure(samples(n), PEAK, planned=12, palette=LIGHT).layout.xaxis.range)
        for n in (0, 1, 5, 12)
    }
    assert len(ranges) == 1
    more = memory_figure(samples(15), PEAK, planned=12, palette=LIGHT).layout.xaxis.range
    assert more[1] > 14.4


def test_many_samples_are_drawn_without_gaps():
    few, many = (memory_figure(samples(n), PEAK, palette=LIGHT) for n in (29, 30))
    assert few.layout.bargap > 0
    assert bars(few)[0].marker.line.width > 0
    assert many.layout.bargap == 0
    assert {t.marker.line.width for t in bars(many)} == {0}


def test_predictions_are_labelled_lines_that_differ():
    figure = memory_figure(samples(2), PEAK, FULL, palette=LIGHT)
    lines = {shape.name: shape for shape in figure.layout.shapes}
    assert {name: (s.y0, s.y1, s.line.dash) for name, s in lines.items()} == {
        "predicted": (60, 60, "dash"),
        "full training, predicted": (200, 200, "dot"),
    }
    assert {(s.xref, s.x0, s.x1) for s in lines.values()} == {("x domain", 0, 1)}
    notes = {note.text: note for note in figure.layout.annotations}
    assert set(notes) == {"predicted 60 MB", "full training, predicted 200 MB"}
    # At opposite sides, since the lines may lie close together.
    assert {note.xanchor for note in notes.values()} == {"left", "right"}
    assert figure.layout.yaxis.range[1] > 210


def test_without_a_prediction_there_is_no_line():
    figure = memory_figure(samples(2), None, palette=LIGHT)
    assert not figure.layout.shapes
    assert not figure.layout.annotations
    assert 60 < figure.layout.yaxis.range[1] < 80
    assert "predicted" not in bars(figure)[0].hovertext[0]


def test_hovering_shows_the_whole_sample_and_the_process():
    figure = memory_figure(samples(2), FULL, palette=LIGHT)
    lines = bars(figure)[3].hovertext[1].split("<br>")
    assert lines == [
        "<b>step 17</b> · epoch 2",
        "parameters: 10 MB",
        "gradients: 2 MB",
        "optimiser state: 3 MB",
        "activations: 40 MB",
        "other: 5 MB",
        "<b>peak: 60 MB</b>",
        "predicted: 200 MB",
        "whole process (RSS): 812 MB",
    ]
    assert len({t.hovertext for t in bars(figure)}) == 1
    # It would dwarf everything else.
    assert figure.layout.yaxis.range[1] < 812


def test_hovering_shows_the_allocator_where_one_exists():
    sample = MemorySample(1, 1, PEAK, 812 * MB, 75 * MB)
    text = bars(memory_figure([sample], None, palette=LIGHT))[0].hovertext[0]
    assert "CUDA allocator, peak: 75 MB" in text


@pytest.mark.parametrize(
    ("size", "unit"),
    [
        (0, "bytes"),
        (999, "bytes"),
        (1000, "kB"),
        (MB - 1, "kB"),
        (MB, "MB"),
        (999 * MB, "MB"),
        (1000 * MB, "GB"),
        (80_000 * MB, "GB"),
    ],
)
def test_units_are_powers_of_a_thousand(size, unit):
    name, scale = size_unit(size)
    assert name == unit
    assert scale == {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_the_axis_has_one_unit_and_names_it():
    huge = MemoryUse(activations=4_000 * MB)
    figure = memory_figure(samples(1), PEAK, huge, palette=LIGHT)
    assert figure.layout.yaxis.title.text == "Peak memory (GB)"
    assert list(bars(figure)[3].y) == [0.04]
    assert {s.y0 for s in figure.layout.shapes} == {0.06, 4.0}
    rows = comparison_memory_figure([MemoryRow("a", PEAK, huge)], palette=LIGHT)
    assert rows.layout.xaxis.title.text == "Peak memory (GB)"
    assert list(bars(rows)[3].x) == [0.04]


def test_without_samples_the_prediction_and_a_note_are_drawn():
    figure = memory_figure([], PEAK, planned=9, palette=LIGHT)
    assert {a.text for a in figure.layout.annotations} == {NO_SAMPLE, "predicted 60 MB"}
    assert all(list(t.x) == [None] for t in bars(figure))  # in the legend all the same
    nothing = memory_figure([], None, palette=LIGHT)
    assert [a.text for a in nothing.layout.annotations] == [NO_SAMPLE]
    assert nothing.layout.yaxis.showticklabels is False
    assert nothing.layout.yaxis.title.text == "Peak memory (MB)"
    assert nothing.layout.yaxis.range[1] > 0


ROWS = [MemoryRow("full", FULL, FULL), MemoryRow("queued", None), MemoryRow("adabet", PEAK, FULL)]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_compared_runs_are_bars_from_top_to_bottom(palette):
    figure = comparison_memory_figure(ROWS, palette=palette)
    assert [t.name for t in bars(figure)] == NAMES
    assert {t.orientation for t in bars(figure)} == {"h"}
    assert [t.marker.color for t in bars(figure)] == list(palette.memory)
    assert list(bars(figure)[3].x) == [160, 40]
    assert list(bars(figure)[3].y) == [0, 2]
    bottom, top = figure.layout.yaxis.range
    assert bottom > 2 > 0 > top
    assert figure.layout.xaxis.range[0] == 0
    assert figure.layout.xaxis.range[1] > 200


def test_every_run_is_named_above_its_bar_measured_or_not():
    (names,) = (t for t in comparison_memory_figure(ROWS, palette=LIGHT).data if t.name == "names")
    assert list(names.text) == ["full · 200 MB", "queued · not measured", "adabet · 60 MB"]
    assert all(row - 1 < y < row - 0.2 for row, y in enumerate(names.y))


def test_predictions_are_ticks_where_they_are_known():
    figure = comparison_memory_figure(ROWS, palette=LIGHT)
    (ticks,) = (t for t in figure.data if t.name == "predicted")
    assert list(zip(ticks.x, ticks.y, strict=True)) == [(200, 0), (200, 2)]
    # A tick may lie over a short bar.
    assert list(ticks.hovertext) == list(bars(figure)[0].hovertext)
    (tick,) = (
        t
        for t in comparison_memory_figure([MemoryRow("a", None, FULL)], palette=LIGHT).data
        if t.name == "predicted"
    )
    assert list(tick.hovertext) == ["<b>a</b><br>predicted: 200 MB"]
    bare = comparison_memory_figure([MemoryRow("a", PEAK)], palette=LIGHT)
    assert "predicted" not in [t.name for t in bare.data]


def test_hovering_over_a_run_shows_its_kinds():
    text = bars(comparison_memory_figure(ROWS, palette=LIGHT))[0].hovertext[1]
    assert text.startswith("<b>adabet</b><br>parameters: 10 MB<br>")
    assert text.endswith("<b>peak: 60 MB</b><br>predicted: 200 MB")


def test_more_runs_make_a_higher_figure():
    heights = [comparison_memory_figure(ROWS[:n], palette=LIGHT).layout.height for n in (1, 2, 3)]
    assert heights[1] - heights[0] == heights[2] - heights[1] > 30


def test_without_runs_a_note_says_so():
    figure = comparison_memory_figure([], palette=LIGHT)
    assert [a.text for a in figure.layout.annotations] == [NO_RUN]
    assert figure.layout.xaxis.showticklabels is False
    assert not figure.layout.showlegend
    unmeasured = comparison_memory_figure([MemoryRow("queued", None)], palette=LIGHT)
    assert not unmeasured.layout.annotations


def test_kept_results_of_frozen_layers_stand_beside_the_bar() -> None:
    kept = MemoryUse(**vars(PEAK) | {"cache": 7 * MB})
    assert kept.total == PEAK.total
    figure = memory_figure(samples(1), kept, palette=LIGHT)
    assert [list(t.y) for t in bars(figure)] == [[10], [2], [3], [40], [5]]
    assert "beside it, results of frozen layers: 7 MB" in bars(figure)[0].hovertext[0]
    plain = memory_figure(samples(1), PEAK, palette=LIGHT)
    assert "frozen" not in bars(plain)[0].hovertext[0]
