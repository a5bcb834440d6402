"""DBSCAN on distances: blobs, noise, and scikit-learn's own result on the raw cloud."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from analysis.errors import OptionError
from analysis.topology.clustering import MIN_NEIGHBOURS, dbscan, knee_eps
from tests.factories import blobs, distances_of


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_blobs_are_found(groups: int, seed: int) -> None:
    clusters = dbscan(distances_of(blobs(15, groups, seed=seed)), eps_rule="knee", min_samples=4)
    assert clusters.count == groups
    clear = clusters.labels >= 0
    assert (clusters.labels[clear] == np.repeat(np.arange(groups), 15)[clear]).all()
    assert clusters.noise_share == pytest.approx(1 - clear.mean())
    assert clusters.noise_share < 0.5


def test_a_far_point_is_noise() -> None:
    points = np.concatenate([blobs(20, 1), np.full((1, 10), 1e3)])
    clusters = dbscan(distances_of(points), eps_rule="knee")
    assert clusters.labels[-1] == -1
    assert clusters.count == 1


@pytest.mark.parametrize("quantile", [0.05, 0.2, 0.7])
def test_clusters_match_scikit_learns_on_the_raw_cloud(quantile: float) -> None:
    cloud = np.random.default_rng(5).normal(size=(50, 4))
    clusters = dbscan(distances_of(cloud), eps_quantile=quantile)
    own = DBSCAN(eps=clusters.eps, min_samples=MIN_NEIGHBOURS).fit_predict(cloud)
    assert (clusters.labels == own).all()
    pairs = distances_of(cloud)[np.triu_indices(50, 1)]
    assert (pairs <= clusters.eps).mean() == pytest.approx(quantile, abs=0.01)


def test_the_knee_is_on_the_k_distance_curve() -> None:
    cloud = blobs(20)
    neighbours = NearestNeighbors(n_neighbors=MIN_NEIGHBOURS).fit(cloud)
    curve = neighbours.kneighbors(cloud)[0][:, -1]
    eps = knee_eps(distances_of(cloud))
    assert np.isclose(curve, eps, rtol=1e-5).any()


def test_the_knee_is_where_the_curve_bends() -> None:
    spacing = np.array([1.0] * 20 + [10.0, 20.0, 40.0])
    line = np.concatenate([[0], np.cumsum(spacing)])[:, None]
    # Inner points have their third neighbour at 2; the last ones ever further away.
    assert knee_eps(distances_of(line)) == pytest.approx(3, abs=1.01)


def test_coincident_points_are_one_cluster() -> None:
    clusters = dbscan(np.zeros((9, 9), np.float32))
    assert (clusters.count, clusters.noise_share) == (1, 0)


@pytest.mark.parametrize("quantile", [0.0, 1.5, float("nan")])
def test_a_quantile_out_of_range_is_named(quantile: float) -> None:
    with pytest.raises(OptionError, match=r"`eps_quantile` must be in \(0, 1\]"):
        dbscan(distances_of(blobs(5)), eps_quantile=quantile)


@pytest.mark.parametrize("eps", [3.0, 40.0])
def test_a_radius_that_is_given_is_the_radius(eps: float) -> None:
    cloud = blobs(10, 3)
    clusters = dbscan(distances_of(cloud), eps=eps)
    own = DBSCAN(eps=eps, min_samples=MIN_NEIGHBOURS).fit_predict(cloud)
    assert (clusters.eps, clusters.labels.tolist()) == (eps, own.tolist())


def test_two_ways_to_give_the_radius_are_refused() -> None:
    with pytest.raises(OptionError, match="give `eps` or `eps_quantile`, not both"):
        dbscan(distances_of(blobs(5)), eps_quantile=0.1, eps=1.0)
