"""The charts of several rankings: every layer once per ranking, and what stands out."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.selection.ranking import ranking
from app.charts.rankings import (
    CHOSEN,
    HEAD,
    OPENED,
    OTHER,
    POINTS,
    SELECTED,
    agreement_figure,
    bump_figure,
    strip_figure,
)
from app.theme import PALETTES
from tests.factories import circle, layer, report

LIGHT = PALETTES["light"]


@pytest.fixture(scope="module")
def rankings():  # type: ignore[no-untyped-def]
    known = report(
        layer("a", circle(20), width=40, parameters=10),
        layer("b<x>", circle(20), width=30, parameters=20),
        layer("c", circle(20), width=20, parameters=30),
        layer("broken"),
        layer("d", circle(20), width=10, parameters=40),
        layer("head", circle(20), kind="Linear", width=5, parameters=5),
    )
    return {
        "per activation": ranking(known, rho=0.2),
        "per parameter": ranking(known, rho=0.2, normalization="parameters"),
    }


def traces(figure):  # type: ignore[no-untyped-def]
    return {trace.name: trace for trace in figure.data}


def test_each_layer_is_a_line_through_its_ranks(rankings) -> None:  # type: ignore[no-untyped-def]
    drawn = traces(bump_figure(rankings, opened="c", palette=LIGHT))
    # d is first by size and a by parameters; b, the broken layer and the head are never selected.
    assert drawn[SELECTED].x == (0, 1, None, 0, 1, None)
    assert drawn[SELECTED].y == (4, 1, None, 1, 4, None)
    assert drawn[OPENED].y == (2, 3, None)
    assert [y for y in drawn[OTHER].y if y is not None] == [3, 2]
    chosen = [(x, y, name) for x, y, (name,) in zip(
        drawn[CHOSEN].x, drawn[CHOSEN].y, drawn[CHOSEN].customdata, strict=True
    )]  # fmt: skip
    assert chosen == [(0, 1, "d"), (1, 1, "a")]
    assert len(drawn[POINTS].x) == 6  # four ranked layers twice, less the two
    assert drawn[OPENED].marker.size == (8, 8)
    assert traces(bump_figure(rankings, opened="a", palette=LIGHT))[OPENED].marker.size == (8, 13)
    assert traces(bump_figure(rankings, palette=LIGHT))[OPENED].y == ()


def test_hover_and_names_hold_what_the_page_promises(rankings) -> None:  # type: ignore[no-untyped-def]
    figure = bump_figure(rankings, current="per parameter", opened="b<x>", palette=LIGHT)
    text = dict(zip((n for (n,) in traces(figure)[POINTS].customdata),
                    traces(figure)[POINTS].hovertext, strict=True))["b<x>"]  # fmt: skip
    assert "<b>b&lt;x&gt;</b> · Conv2d" in text
    assert "per parameter: rank 2" in text
    assert "b₁: 1 loop" in text
    assert "|a|: 600 activations" in text
    assert "parameters: 20" in text
    # The last column names its selected layers and the marked one, each at its rank.
    names = {note.text: note.y for note in figure.layout.annotations}
    assert names == {"a": 0, "b&lt;x&gt;": pytest.approx(np.log10(2))}
    (band,) = figure.layout.shapes
    assert band.x0 < 1 < band.x1
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the best at the top


def test_the_strip_shows_what_each_selects_in_execution_order(rankings) -> None:  # type: ignore[no-untyped-def]
    figure = strip_figure(rankings, current="per activation", opened="c", palette=LIGHT)
    drawn = traces(figure)
    assert (drawn[CHOSEN].x, drawn[CHOSEN].y) == ((4, 0), (0, 1))
    assert [name for (name,) in drawn[HEAD].customdata] == ["head", "head"]
    assert drawn[CHOSEN].hovertext[0] == "<b>d</b> · Conv2d<br>per activation: rank 1, selected<br>"
    assert len(drawn[POINTS].x) == 2 * 6 - 2 - 2
    assert figure.layout.yaxis.ticktext == ("<b>per activation</b>", "per parameter")
    assert [shape.x0 for shape in figure.layout.shapes] == [2]
    assert not strip_figure(rankings, opened="gone", palette=LIGHT).layout.shapes


def test_titles_have_room_when_they_stand_upright(rankings) -> None:  # type: ignore[no-untyped-def]
    figure = bump_figure(rankings, palette=LIGHT)
    assert figure.layout.margin.t >= 6 * len("activation")
    longer = {"immeasurably long": rankings["per activation"]} | rankings
    room = bump_figure(longer, palette=LIGHT).layout.margin.t - figure.layout.margin.t
    assert room == 6 * (len("immeasurably") - len("activation"))


def test_a_matrix_shows_its_numbers() -> None:
    values = np.array([[1.0, -0.25], [-0.25, np.nan]])
    figure = agreement_figure(values, ["per activation", "b"], signed=True, palette=LIGHT)
    (heat,) = figure.data
    assert [list(row) for row in heat.text] == [["1.00", "−0.25"], ["−0.25", "–"]]
    assert heat.z[1][1] == 0
    assert (heat.zmin, heat.zmax) == (-1, 1)
    assert figure.layout.xaxis.ticktext == ("per<br>activation", "b")
    assert agreement_figure(values, ["a", "b"], signed=False, palette=LIGHT).data[0].zmin == 0
