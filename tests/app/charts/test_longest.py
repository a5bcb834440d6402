"""The longest loop among those of noise."""

from __future__ import annotations

from app.charts.longest import HERE, NOISE, longest_figure
from app.theme import PALETTES


def test_all_values_are_in_the_figure() -> None:
    traces = {
        trace.name: trace
        for trace in longest_figure(2.5, [1.1, 1.4], palette=PALETTES["dark"]).data
    }
    assert list(traces[NOISE].x) == [1.1, 1.4]
    assert list(traces[HERE].x) == [2.5]


def test_without_a_loop_the_noise_stands_alone() -> None:
    figure = longest_figure(None, [1.1, 1.4], palette=PALETTES["dark"])
    assert [trace.name for trace in figure.data] == [NOISE]
