"""Phrases."""

from __future__ import annotations

import pytest

from analysis.text import duration_text, first_of


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_times_are_told_in_the_unit_that_suits_them(seconds: float, told: str) -> None:
    assert duration_text(seconds) == told


def test_of_many_names_the_first_are_told() -> None:
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert first_of([]) == ""
