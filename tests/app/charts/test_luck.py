"""How probable the choice of each layer is, and between which ranks it lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from app.charts.luck import CHOSEN, COUNTED, LUCKY, OTHER, luck_figure
from app.theme import PALETTES

PALETTE = PALETTES["light"]


@pytest.fixture
def table() -> pd.DataFrame:
    """A sure layer, a lucky one, one that is not selected, and the head, which has no rank."""
    return pd.DataFrame(
        {
            "selected": [True, False, True, False],
            "probability": [0.9, 0.3, 0.4, np.nan],
            "rank": pd.array([1, 3, 2, None], dtype="Int64"),
            "low": [1.0, 1.0, 2.0, np.nan],
            "high": [2.0, 3.0, 3.0, np.nan],
        },
        index=pd.Index(["a.conv", "<b>x</b>", "", "fc"], name="layer"),
    )


def traces(figure: go.Figure, name: str) -> tuple[go.Bar, go.Scatter]:
    bars, points = (trace for trace in figure.data if trace.name == name)
    return bars, points


def test_a_selected_layer_that_most_others_would_not_choose_is_drawn_as_luck(
    table: pd.DataFrame,
) -> None:
    figure = luck_figure(table, palette=PALETTE)
    places = {name: list(traces(figure, name)[0].x) for name in (CHOSEN, LUCKY, OTHER)}
    assert places == {CHOSEN: [0], LUCKY: [2], OTHER: [1]}
    assert traces(figure, CHOSEN)[0].marker.color == PALETTE.accent
    assert list(traces(figure, LUCKY)[0].y) == [0.4]


def test_a_rank_has_the_interval_of_other_draws(table: pd.DataFrame) -> None:
    points = traces(luck_figure(table, palette=PALETTE), OTHER)[1]
    assert (list(points.y), points.yaxis) == ([3], "y2")
    assert list(points.y - points.error_y.arrayminus) == [1]
    assert list(points.y + points.error_y.array) == [3]


def test_ranks_above_the_line_are_selected(table: pd.DataFrame) -> None:
    figure = luck_figure(table, palette=PALETTE)
    assert [shape.y0 for shape in figure.layout.shapes] == [2.5]
    low, high = figure.layout.yaxis2.range
    assert low > np.log10(3) > np.log10(1) > high


def test_names_are_shown_letter_by_letter_and_kept_for_clicks(table: pd.DataFrame) -> None:
    bars, points = traces(luck_figure(table, palette=PALETTE), OTHER)
    assert bars.customdata[0][0] == points.customdata[0][0] == "<b>x</b>"
    assert "<b>x</b>" not in bars.hovertext[0]
    assert (
        "chosen by 30 % of other draws<br>rank 3<br>90 % of other draws: 1 to 3"
        in (bars.hovertext[0])
    )
    assert "(model)" in traces(luck_figure(table, palette=PALETTE), LUCKY)[0].hovertext[0]


def test_the_marked_layer_has_a_line(table: pd.DataFrame) -> None:
    shapes = luck_figure(table, opened="<b>x</b>", palette=PALETTE).layout.shapes
    assert [shape.x0 for shape in shapes if shape.name == "marked layer"] == [1]
    unknown = luck_figure(table, opened="gone", palette=PALETTE).layout.shapes
    assert [shape.name for shape in unknown] == ["last selected rank"]


def test_what_was_counted_stands_over_what_was_predicted(table: pd.DataFrame) -> None:
    table.loc["<b>x</b>", "probability"] = 0.0  # and no draw chose it: no mark
    figure = luck_figure(table.assign(drawn=[0.75, 0.0, 0.0, np.nan]), palette=PALETTE)
    (marks,) = (trace for trace in figure.data if trace.name == COUNTED)
    assert (list(marks.x), list(marks.y), marks.yaxis) == ([0, 2], [0.75, 0.0], None)
    assert "chosen by 75 % of the draws that were analysed" in marks.hovertext[0]
