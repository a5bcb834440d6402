"""The bars of the bet."""

from __future__ import annotations

import pytest

from app.charts.bet import bet_figure
from app.theme import PALETTES


def test_each_choice_has_its_mean_and_its_seeds_and_the_bet_stands_out() -> None:
    palette = PALETTES["light"]
    figure = bet_figure({"A": (0.5, 0.7), "B": (0.2, 0.4)}, "B", palette=palette)
    bars, dots = figure.data
    assert dict(zip(bars.y, bars.x, strict=True)) == pytest.approx({"A": 0.6, "B": 0.3})
    assert list(bars.marker.color) == [palette.muted, palette.accent]
    assert list(dots.y) == ["A", "A", "B", "B"]
    assert list(dots.x) == [0.5, 0.7, 0.2, 0.4]
    assert len(bet_figure({"A": (0.5,)}, "A", palette=palette).data) == 1  # one seed: no dots
