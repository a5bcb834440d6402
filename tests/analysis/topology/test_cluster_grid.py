"""DBSCAN at many settings, and how pure clusters are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.metrics import accuracy_score

from analysis.topology.cluster_grid import cluster_grid, purity, purity_grid
from tests.factories import blobs, distances_of


def test_each_cell_is_what_dbscan_finds() -> None:
    cloud = np.random.default_rng(0).normal(size=(30, 3))
    quantiles, few = [0.05, 0.2, 0.5], [2, 4]
    grid = cluster_grid(distances_of(cloud), eps_quantiles=quantiles, min_samples=few)
    for row, start in enumerate(few):
        for column, radius in enumerate(grid.eps):
            labels = DBSCAN(eps=radius, min_samples=start).fit_predict(cloud)
            assert grid.counts[row, column] == labels.max() + 1
            assert grid.noise_share[row, column] == (labels < 0).mean()
    assert len(np.unique(grid.counts)) > 1


def test_purity_is_the_accuracy_of_each_clusters_most_frequent_class() -> None:
    rng = np.random.default_rng(1)
    clusters, classes = rng.integers(-1, 4, 60), rng.integers(0, 3, 60)
    inside = clusters >= 0
    guesses = np.zeros(60, int)
    for number in range(4):
        guesses[clusters == number] = np.bincount(classes[clusters == number]).argmax()
    expected = accuracy_score(classes[inside], guesses[inside])
    assert purity(clusters, classes) == pytest.approx(expected)
    assert 0 < expected < 1
    assert math.isnan(purity(np.full(5, -1), np.zeros(5, int)))


def test_two_blobs_are_pure_until_the_radius_joins_them() -> None:
    distances = distances_of(blobs(10))
    eps = np.array([0.0, 20.0, 1000.0])
    classes = np.repeat([0, 1], 10)
    (row,) = purity_grid(distances, classes, eps=eps, min_samples=[3])
    np.testing.assert_array_equal(row, [math.nan, 1.0, 0.5])
