"""What is said of size: the order, the share that size alone would choose, and chance."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from analysis.selection.agreement import SizeDominance
from analysis.selection.correlation import RankCorrelation
from app.components.compare.dominance import dominance_sentence

FOUND = SizeDominance(
    size=RankCorrelation(0.9, 0.0, 20),
    loops=RankCorrelation(0.1, 0.5, 20),
    loops_at_equal_size=RankCorrelation(0.5, 0.1, 20),
    chosen=4,
    ranked=20,
    by_size=3.0,
    tied=0,
)


@pytest.mark.parametrize(
    ("coefficient", "order"),
    [
        (0.9, "This order is nearly that of size, the smallest layers first (Spearman +0.90)."),
        (0.5, "This order follows size, as small layers tend to come first (Spearman +0.50)."),
        (-0.2, "This order has little to do with size (Spearman −0.20)."),
        (-0.6, "In this order large layers tend to come first (Spearman −0.60)."),
    ],
)
def test_the_order_is_named_by_its_correlation(coefficient: float, order: str) -> None:
    said = dominance_sentence(replace(FOUND, size=RankCorrelation(coefficient, 0.0, 20)))
    assert said == (
        f"{order} Choosing 4 layers by size alone, without the loops, finds 3 of these 4; "
        "a random draw finds 0.8."
    )


def test_ties_are_given_as_the_reason_of_a_mean() -> None:
    said = dominance_sentence(replace(FOUND, by_size=1.14, tied=14))
    assert "finds 1.1 of these 4 on average, because 14 layers have one size;" in said
    # None of the selected layers is among those that tie.
    assert "finds 0 of these 4; a" in dominance_sentence(replace(FOUND, by_size=0.0, tied=14))


@pytest.mark.parametrize(
    ("by_size", "finds"),
    [
        (1.0, "finds the same one"),
        (0.0, "finds another one"),
        (0.25, "finds this one with a chance of 25 %"),
    ],
)
def test_one_layer_is_no_share(by_size: float, finds: str) -> None:
    said = dominance_sentence(replace(FOUND, chosen=1, by_size=by_size, tied=4))
    assert f"without the loops, {finds}; a random draw has a chance of 5.0 %." in said


def test_nothing_is_claimed_where_nothing_can_be() -> None:
    assert dominance_sentence(replace(FOUND, chosen=0)).startswith("Nothing is selected")
    unknown = RankCorrelation(math.nan, math.nan, 20)
    assert "size decides nothing" in dominance_sentence(replace(FOUND, size=unknown))
