"""No two strategies look alike, in any appearance; and each looks the same wherever it stands."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.selection.strategies import ALL_STRATEGIES, STRATEGIES
from app.charts.strategy_looks import DASHES, FORMS, strategy_look
from app.theme import PALETTES
from tests.app.charts.test_theme import SEEN, contrast, lab, linear

APPEARANCES = pytest.mark.parametrize("appearance", sorted(PALETTES))


@APPEARANCES
def test_no_two_strategies_share_colour_and_symbol(appearance):
    looks = [strategy_look(PALETTES[appearance], name) for name in ALL_STRATEGIES]
    assert len({(its.color, its.symbol) for its in looks}) == len(ALL_STRATEGIES) > 40


@APPEARANCES
def test_no_variant_looks_like_a_variant_of_another_strategy(appearance):
    every = list(itertools.product(ALL_STRATEGIES, range(len(FORMS))))
    looks = [strategy_look(PALETTES[appearance], name, variant) for name, variant in every]
    assert len({(its.color, its.mark) for its in looks}) == len(every)
    for name in ALL_STRATEGIES:
        own = [strategy_look(PALETTES[appearance], name, variant) for variant in range(4)]
        assert len({its.color for its in own}) == 1
        assert {its.dash for its in own} == set(DASHES)


@APPEARANCES
def test_every_colour_stands_out_from_the_page_and_its_panels(appearance):
    palette = PALETTES[appearance]
    for name in (*ALL_STRATEGIES, "of another version"):
        color = strategy_look(palette, name).color
        assert min(contrast(color, palette.surface), contrast(color, palette.panel)) >= 3, name


def test_the_colour_is_that_of_the_family():
    families = [
        {"adabet", "raw-b1", "stale"},
        {"size", "random", "first", "last", "parameters"},
        {"head", "full", "bn-bias"},
        {"participation-ratio", "intrinsic-dimension", "cka", "input-shift"},
        {"stable-rank", "snr"},
        {"neighbours", "logme"},
        {"fisher", "auto-rgn", "elastic"},
    ]
    assert set.union(*families) == set(STRATEGIES)
    for palette in PALETTES.values():
        colors = [{strategy_look(palette, name).color for name in family} for family in families]
        assert all(len(own) == 1 for own in colors)
        assert len(set.union(*colors)) == len(families)
        for name in set(ALL_STRATEGIES) - set(STRATEGIES):
            straight = strategy_look(palette, name.removesuffix("-reversed"))
            assert strategy_look(palette, name).color == straight.color


@pytest.mark.parametrize("vision", SEEN)
@APPEARANCES
def test_colours_that_look_alike_to_some_have_other_symbols(appearance, vision):
    usual = [strategy_look(PALETTES[appearance], name) for name in STRATEGIES]
    for one, other in itertools.combinations(usual, 2):
        seen = [lab(SEEN[vision] @ linear(its.color)) for its in (one, other)]
        assert one.symbol != other.symbol or np.linalg.norm(seen[0] - seen[1]) > 12
