"""Pure noise: its distances follow their known law, and its loops are those of Ripser."""

from __future__ import annotations

import numpy as np
import pytest
from ripser import ripser
from scipy import stats

from analysis.topology.noise import noise_distances, noise_loops


@pytest.mark.parametrize("dimension", [1, 3, 12, 13, 40, 5000])
def test_squared_distances_follow_the_chi_squared_law(dimension: int) -> None:
    rng = np.random.default_rng(0)
    matrices = [noise_distances(dimension, 12, rng).astype(float) for _ in range(400)]
    for first, second in ((0, 1), (0, 11), (10, 11)):
        halves = [matrix[first, second] ** 2 / 2 for matrix in matrices]
        assert stats.kstest(halves, stats.chi2(dimension).cdf).pvalue > 0.005


@pytest.mark.parametrize("dimension", [5, 3000])
def test_loops_are_those_of_points_drawn_one_by_one(dimension: int) -> None:
    rng = np.random.default_rng(1)
    counted = [
        len(ripser(rng.normal(size=(24, dimension)), maxdim=1)["dgms"][1]) for _ in range(150)
    ]
    ours = noise_loops(dimension, 24, draws=150, seed=2)
    difference = ours.mean() - np.mean(counted)
    error = np.sqrt((ours.var() + np.var(counted)) / 150)
    assert abs(difference) < 3 * error


def test_each_draw_is_the_mean_over_its_clouds() -> None:
    single = noise_loops(30, 20, draws=100, seed=0)
    pairs = noise_loops(30, 20, clouds=2, draws=100, seed=0)
    assert np.array_equal(single, single.round())
    assert not np.array_equal(pairs, pairs.round())
    assert pairs.std() < single.std()
    assert np.array_equal(pairs, noise_loops(30, 20, clouds=2, draws=100, seed=0))
    assert not np.array_equal(pairs, noise_loops(30, 20, clouds=2, draws=100, seed=1))


def test_points_on_a_line_have_no_loop() -> None:
    assert not noise_loops(1, 15, draws=20).any()
