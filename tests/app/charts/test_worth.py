"""What layers are worth, beside what criteria say of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from app.charts.worth import (
    BEST,
    CHOSEN,
    CLEAR,
    OTHER,
    UNCLEAR,
    criteria_figure,
    scatter_figure,
    worth_figure,
)
from app.theme import PALETTES

PALETTE = PALETTES["light"]


@pytest.fixture
def criteria() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "title": ["Parameters", "<b>AdaBet", "Flat"],
            "value": [0.7, -0.1, np.nan],
            "low": [0.5, -0.4, np.nan],
            "high": [0.8, 0.3, np.nan],
            "clear": [True, False, False],
        },
        index=["parameters", "adabet", "flat"],
    )


@pytest.fixture
def layers() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "gain": [1.0, 5.0, 9.0, -2.0],
            "sd": [0.5, 0.1, 0.2, 0.3],
            "score": [3.0, 8.0, np.nan, 3.0],
            "selected": [False, True, False, False],
            "best": [False, False, True, False],
        },
        index=pd.Index(["conv", "<i>bn", "", "fc"], name="layer"),
    )


def trace(figure: go.Figure, name: str, axis: str | None = None) -> go.Scatter:
    return next(t for t in figure.data if t.name == name and t.yaxis == axis)


def test_each_criterion_has_its_interval(criteria: pd.DataFrame) -> None:
    figure = criteria_figure(criteria, marked="adabet", title="x", palette=PALETTE)
    clear, unclear = trace(figure, CLEAR), trace(figure, UNCLEAR)
    assert (list(clear.x), list(clear.y)) == ([0.7], [0])
    assert clear.x[0] - clear.error_x.arrayminus[0] == pytest.approx(0.5)
    assert unclear.x[0] + unclear.error_x.array[0] == pytest.approx(0.3)
    assert [point[0] for point in unclear.customdata] == ["adabet"]  # "flat" has none
    rows = list(figure.layout.yaxis.ticktext)
    assert rows == ["Parameters", "<b>&lt;b&gt;AdaBet</b>", "Flat"]
    low, high = figure.layout.yaxis.range
    assert low > 2 > 0 > high, "the first is at the top"


def test_gains_stand_above_scores_in_the_order_of_the_network(layers: pd.DataFrame) -> None:
    figure = worth_figure(layers, criterion="AdaBet", opened="conv", palette=PALETTE)
    assert list(trace(figure, OTHER).x) == [0, 3]
    assert list(trace(figure, OTHER).y) == [1.0, -2.0]
    assert list(trace(figure, OTHER).error_y.array) == [0.5, 0.3]
    assert list(trace(figure, OTHER, "y2").y) == [3.0, 3.0]
    assert list(trace(figure, BEST).customdata[0]) == [""]
    assert "no score" in trace(figure, BEST).hovertext[0]
    assert [shape.x0 for shape in figure.layout.shapes] == [0]
    one = worth_figure(layers.assign(sd=np.nan), criterion="AdaBet", palette=PALETTE)
    assert not trace(one, OTHER).error_y.visible


def test_names_that_would_lie_on_each_other_are_left_to_the_hover(layers: pd.DataFrame) -> None:
    close = pd.concat([layers.assign(gain=5.0, selected=True, best=False, score=8.0)] * 2)
    close.index = pd.Index([f"a-very-long-name-{k}" for k in range(8)], name="layer")
    drawn = trace(scatter_figure(close, criterion="AdaBet", palette=PALETTE), CHOSEN)
    shown = [place for place, text in zip(drawn.textposition, drawn.text, strict=True) if text]
    # All eight points are the same one: there is room on each side, above and below.
    assert 2 <= len(shown) == len(set(shown)) <= 4
    apart = close.assign(gain=[0, 5, 10, 15, 20, 25, 30, 35])
    drawn = trace(scatter_figure(apart, criterion="AdaBet", palette=PALETTE), CHOSEN)
    assert all(drawn.text)


def test_the_scatter_has_the_first_choice_at_the_left(layers: pd.DataFrame) -> None:
    figure = scatter_figure(layers, criterion="AdaBet", opened="fc", palette=PALETTE)
    assert (list(trace(figure, CHOSEN).x), list(trace(figure, CHOSEN).y)) == ([1], [5.0])
    assert list(trace(figure, OTHER).x) == [2.5, 2.5], "a tie shares its places"
    assert list(trace(figure, BEST).x) == [4], "a layer without a score is chosen last"
    assert list(trace(figure, CHOSEN).text) == ["&lt;i&gt;bn"]
    assert list(trace(figure, BEST).text) == ["(model)"]
    assert list(trace(figure, OTHER).text) == ["", ""]
    assert list(trace(figure, OTHER).marker.size) == [9, 14]
