"""The bars of the bet."""

from __future__ import annotations

import pytest

from app.charts.bet import PROFILE, bet_figure
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


def test_the_layer_profile_stands_beside_what_was_trained_here() -> None:
    figure = bet_figure({"A": (0.5,), "B": (0.2,)}, "A", {"B": 0.7}, palette=PALETTES["light"])
    (profile,) = (trace for trace in figure.data if trace.name == PROFILE)
    assert (list(profile.y), list(profile.x)) == (["B"], [0.7])
