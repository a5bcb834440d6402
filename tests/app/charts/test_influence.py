"""The lead without each image."""

from __future__ import annotations

import numpy as np

from app.charts.influence import CHANCE, DECISIVE, NAMED, influence_figure
from app.theme import PALETTES

PALETTE = PALETTES["light"]
WITHOUT, ERROR = np.array([0.4, -0.2, 0.1]), np.array([0.1, 0.2, 0.3])


def test_images_stand_by_their_lead_and_those_that_decide_stand_out() -> None:
    figure = influence_figure(
        WITHOUT, ERROR, lead=0.25, decisive=[1], names=["a", "<b>", "c"], palette=PALETTE
    )
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces[DECISIVE].x) == [0]
    assert list(traces[DECISIVE].error_y.array) == [0.2]
    assert traces[DECISIVE].hovertext[0] == "&lt;b&gt;"
    assert list(traces[CHANCE].y) == [0.1, 0.4]
    assert [shape.y0 for shape in figure.layout.shapes] == [0.25, 0]
    assert list(figure.layout.xaxis.ticktext) == ["&lt;b&gt;", "c", "a"]


def test_many_images_have_no_room_for_names() -> None:
    many = np.arange(NAMED + 1.0)
    figure = influence_figure(
        many, many, lead=1, decisive=[], names=[str(i) for i in many], palette=PALETTE
    )
    assert figure.layout.xaxis.showticklabels is False
    assert {trace.name for trace in figure.data} == {CHANCE, DECISIVE}
