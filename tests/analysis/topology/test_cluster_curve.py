"""Clusters at every radius, held against scikit-learn's DBSCAN at each."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from analysis.topology.cluster_curve import cluster_curve
from analysis.topology.clustering import dbscan
from tests.factories import blobs, distances_of


def _cloud(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(rng.integers(4, 40), rng.integers(1, 6)))
    return np.round(points) if seed % 3 == 0 else points  # with ties and points that coincide


@pytest.mark.parametrize("min_samples", [1, 3, 6])
@pytest.mark.parametrize("seed", range(6))
def test_every_step_is_what_dbscan_finds_there(seed: int, min_samples: int) -> None:
    distances = distances_of(_cloud(seed))
    curve = cluster_curve(distances, min_samples=min_samples)
    assert curve.eps[0] == 0
    steps = list(zip(curve.eps[:-1], curve.eps[1:], strict=True))
    assert steps
    for start, end in steps:
        middle = (start + end) / 2
        own = DBSCAN(eps=middle, min_samples=min_samples, metric="precomputed")
        labels = own.fit_predict(distances)
        assert curve.at(middle) == (labels.max() + 1, (labels < 0).sum())


@pytest.mark.parametrize("seed", range(4))
def test_no_radius_gives_more_clusters_than_the_best(seed: int) -> None:
    distances = distances_of(_cloud(seed))
    curve = cluster_curve(distances, min_samples=3)
    found = dbscan(distances)
    between = distances[np.triu_indices(len(distances), 1)]
    radii = np.quantile(between, np.linspace(0.005, 1, 60))
    most = max(dbscan(distances, eps=eps).count for eps in radii if eps > 0)
    assert found.count == curve.counts.max() >= most
    assert found.eps == curve.best_eps()


def test_of_equal_counts_the_longest_stretch_of_radii_is_taken() -> None:
    line = np.array([0.0, 1.0, 2.0, 100.0, 104.0, 108.0, 1000.0])[:, None]
    found = dbscan(distances_of(line))
    assert (found.count, found.noise_share) == (2, pytest.approx(1 / 7))
    assert found.eps == pytest.approx((4 + 98) / 2)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 3.7, 1e15])
def test_distances_that_differ_by_their_rounding_make_no_cluster(scale: float) -> None:
    """A ring of equal steps is one cluster, although its distances differ in the last digits."""
    angle = 2 * np.pi * np.arange(12) / 12
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * scale
    assert dbscan(distances_of(ring)).count == 1


def test_too_few_points_are_noise() -> None:
    curve = cluster_curve(distances_of(blobs(2, 1)), min_samples=3)
    assert (curve.counts.tolist(), curve.noise.tolist()) == ([0], [2])
    assert dbscan(distances_of(blobs(2, 1))).noise_share == 1
