"""Aligned maps, against SciPy's Procrustes analysis."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist

from analysis.topology.alignment import aligned_maps

MAPS = [np.random.default_rng(seed).normal(size=(12, 2)) + seed for seed in range(4)]


def test_each_map_is_as_near_to_the_one_before_as_scipy_gets_it() -> None:
    aligned = aligned_maps(MAPS)
    for before, after in pairwise(aligned):
        first, second = before / np.linalg.norm(before), after / np.linalg.norm(after)
        size = np.vdot(first, second)  # SciPy also scales the second map
        assert ((first - size * second) ** 2).sum() == pytest.approx(procrustes(before, after)[2])


def test_a_turned_and_mirrored_map_comes_back_with_its_distances() -> None:
    turned = MAPS[0] @ np.array([[0.6, 0.8], [0.8, -0.6]]) + 7  # its determinant is -1
    first, second = aligned_maps([MAPS[0], turned])
    np.testing.assert_allclose(second, first, atol=1e-12)
    np.testing.assert_allclose(pdist(first), pdist(MAPS[0]))


def test_no_maps_and_points_that_coincide() -> None:
    assert aligned_maps([]) == []
    np.testing.assert_array_equal(aligned_maps([np.ones((3, 2))] * 2)[1], np.zeros((3, 2)))
