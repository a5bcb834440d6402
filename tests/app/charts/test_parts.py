"""What several figures share."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from app.charts.parts import LEGEND_LINE, extra_height, say_empty, whole_step
from app.theme import PALETTES


@pytest.mark.parametrize(
    ("last", "step"),
    [(1, 1), (8, 1), (9, 2), (16, 2), (17, 5), (40, 5), (41, 10), (80, 10), (81, 20), (1000, 200)],
)
def test_whole_steps_leave_room_between_ticks(last, step):
    assert whole_step(last) == step


def test_a_legend_of_many_names_makes_a_figure_higher():
    assert extra_height([]) == 0
    assert extra_height(["one", "two"]) == 0
    # 296 px hold three of them (79.6 px each), so the seventh starts the third line.
    assert extra_height(["adabet"] * 6) == 0
    assert extra_height(["adabet"] * 7) == LEGEND_LINE
    assert extra_height(["adabet"] * 12) == 2 * LEGEND_LINE


def test_an_empty_plot_says_so_in_its_middle():
    figure = go.Figure()
    say_empty(figure, "nothing", PALETTES["light"])
    (note,) = figure.layout.annotations
    assert (note.text, note.x, note.y, note.showarrow) == ("nothing", 0.5, 0.5, False)
    assert (note.xref, note.yref) == ("x domain", "y domain")
