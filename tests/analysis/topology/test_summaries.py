"""Summaries of a diagram small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.topology.summaries import SUMMARIES, average, betti_curve, long_intervals

DIAGRAM = np.array([[1, 4], [2, 3], [3.5, 4.5]], np.float32)  # lives 3, 1, 1
EMPTY = np.zeros((0, 2), np.float32)


@pytest.mark.parametrize(
    ("name", "expected", "longest_only"),
    [
        ("b1", 3, 1),
        ("betti-maximum", 2, 1),
        ("total-persistence", 5, 3),
        ("longest-loop", 4, 4),
        ("entropy", -(0.6 * np.log2(0.6) + 2 * 0.2 * np.log2(0.2)), 0),
    ],
)
def test_by_hand(name: str, expected: float, longest_only: float) -> None:
    compute = SUMMARIES[name].compute
    assert compute(DIAGRAM, 0.0) == pytest.approx(expected)
    assert compute(DIAGRAM, 1.0) == pytest.approx(longest_only)
    assert compute(EMPTY, 0.0) == 0


def test_every_summary_is_covered_above() -> None:
    assert set(SUMMARIES) == {"b1", "betti-maximum", "total-persistence", "longest-loop", "entropy"}


def test_the_betti_curve_counts_living_features() -> None:
    scales, counts = betti_curve(DIAGRAM)
    assert scales.tolist() == [1, 2, 3, 3.5, 4, 4.5]
    assert counts.tolist() == [1, 2, 1, 2, 1, 0]


def test_minimum_persistence_is_exclusive() -> None:
    assert len(long_intervals(DIAGRAM, 1.0)) == 1
    assert len(long_intervals(DIAGRAM, 0.999)) == 3


def test_average_is_over_clouds_not_over_loops() -> None:
    assert average([DIAGRAM, EMPTY], "b1") == 1.5
