"""Numbers and lists in words."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.text import (
    count_text,
    duration_text,
    first_of,
    gigabytes,
    p_value_text,
    percent_text,
    plural,
    saving_text,
    share_text,
    signed,
    size_text,
    size_unit,
)


def test_a_long_list_names_only_the_first() -> None:
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert first_of([]) == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 loops"),
        (1, "1 loop"),
        (3, "3 loops"),
        (12_345, "12,345 loops"),
        (np.int64(12_345), "12,345 loops"),
        (1.0, "1 loop"),
        (1.00001, "1 loop"),
        (2.5, "2.5 loops"),
        (float("nan"), "nan loops"),
    ],
)
def test_nouns_agree_with_their_count(count: float, text: str) -> None:
    assert plural(count, "loop") == text


def test_irregular_plurals_are_given() -> None:
    assert plural(1, "class", "classes") == "1 class"
    assert plural(2, "class", "classes") == "2 classes"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (272_474, "272 k"), (25_557_032, "25.6 M"),
     (1.5e9, "1.5 G")],
)  # fmt: skip
def test_large_counts_have_three_digits(number: float, text: str) -> None:
    assert count_text(number) == text


def test_differences_have_a_sign() -> None:
    assert [signed(1.54), signed(-0.25), signed(0)] == ["+1.5", "−0.2", "+0.0"]
    assert signed(-0.256, digits=2) == "−0.26"


@pytest.mark.parametrize(("part", "text"), [(0, "0.0 %"), (1, "2.5 %"), (4, "10 %"), (40, "100 %")])
def test_small_shares_have_a_decimal(part: int, text: str) -> None:
    assert percent_text(part, 40) == text
    assert percent_text(part, 0) == "0.0 %"


def test_shares_have_one_decimal_whatever_their_size() -> None:
    assert [share_text(share) for share in (0, 0.025, 0.125, 1)] == [
        "0.0 %",
        "2.5 %",
        "12.5 %",
        "100.0 %",
    ]


def test_savings_are_less_or_more() -> None:
    assert saving_text(70, 100) == "30 % less"
    assert saving_text(100, 100) == "0 % less"
    assert saving_text(125, 100) == "25 % more"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0009, "< 0.001"), (0.001, "= 0.001"), (0.0042, "= 0.004"),
                        (0.01, "= 0.01"), (0.254, "= 0.25")],
)  # fmt: skip
def test_small_p_values_have_more_digits(value: float, text: str) -> None:
    assert p_value_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (11_540_000, "11.54 MB"),
     (1_999_000_000, "1.999 GB"), (2_849_000_000, "2.849 GB")],
)  # fmt: skip
def test_sizes_have_the_unit_that_suits_them(size: float, text: str) -> None:
    assert size_text(size) == text
    assert size_unit(size)[0] == text.split()[1]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 MB"), (1, "1 MB"), (350e6, "350 MB"), (1.54e9, "1.5 GB"), (12.4e9, "12 GB")],
)
def test_limits_have_two_digits(size: float, text: str) -> None:
    assert gigabytes(size) == text
