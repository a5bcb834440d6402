"""Each criterion against the points themselves, which it never sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import helmert
from scipy.stats import iqr, norm, ortho_group
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, WhiteKernel
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import KernelCenterer

from analysis.selection.criteria import (
    centered_gram,
    intrinsic_dimension,
    linear_cka,
    linear_evidence,
    neighbour_agreement,
    normal_divergence,
    participation_ratio,
    signal_to_noise,
    stable_rank,
)
from tests.factories import distances_of


def cloud(count: int = 40, dimensions: int = 7, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions)) + 5


@pytest.mark.parametrize("seed", range(3))
def test_inner_products_are_those_of_the_centred_points(seed):
    points = cloud(seed=seed)
    expected = KernelCenterer().fit_transform(points @ points.T)
    np.testing.assert_allclose(centered_gram(distances_of(points)), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("shape", [(40, 7), (12, 100), (3, 2)])
def test_participation_ratio_is_that_of_the_principal_components(shape):
    points = cloud(*shape)
    variances = PCA().fit(points).explained_variance_
    expected = variances.sum() ** 2 / (variances**2).sum()
    assert participation_ratio(distances_of(points)) == pytest.approx(expected, rel=1e-5)


def test_participation_ratio_counts_equal_directions():
    corners = 1 - np.eye(9)  # of a regular simplex
    assert participation_ratio(corners) == pytest.approx(8)
    assert participation_ratio(distances_of(np.arange(9.0)[:, None])) == pytest.approx(1)
    assert math.isnan(participation_ratio(np.zeros((9, 9))))


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_twonn_finds_the_dimension_of_a_surface_in_a_larger_space(dimension):
    rng = np.random.default_rng(dimension)
    flat = rng.uniform(size=(1500, dimension)) @ rng.normal(size=(dimension, 20))
    assert intrinsic_dimension(distances_of(flat)) == pytest.approx(dimension, rel=0.1)


def test_twonn_uses_the_nearest_two_of_each_point():
    points = cloud(60)
    near = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(points)[0]
    expected = 60 / np.log(near[:, 2] / near[:, 1]).sum()
    assert intrinsic_dimension(distances_of(points)) == pytest.approx(expected, rel=1e-4)
    line = distances_of(np.array([[0.0], [1.0], [3.0]]))  # ratios 3, 2 and 3/2
    assert intrinsic_dimension(line) == pytest.approx(3 / math.log(9))


def test_twonn_counts_equal_points_once():
    points = cloud(30)
    repeated = np.concatenate([points, points[:10], points[:10]])
    once = intrinsic_dimension(distances_of(points))
    assert intrinsic_dimension(distances_of(repeated)) == pytest.approx(once)
    for without in (np.zeros((5, 5)), 1 - np.eye(5), distances_of(points[:2])):
        assert math.isnan(intrinsic_dimension(without))


def test_cka_is_that_of_the_features():
    one, other = cloud(dimensions=7), cloud(dimensions=30, seed=1)
    one_centred, other_centred = one - one.mean(axis=0), other - other.mean(axis=0)
    expected = (  # Kornblith et al. 2019, eq. 5: Frobenius norms of cross-products of features
        np.linalg.norm(other_centred.T @ one_centred) ** 2
        / np.linalg.norm(one_centred.T @ one_centred)
        / np.linalg.norm(other_centred.T @ other_centred)
    )
    found = linear_cka(distances_of(one), distances_of(other))
    assert found == pytest.approx(expected, rel=1e-5)
    assert 0.01 < found < 0.99


def test_cka_does_not_see_a_rotation_and_a_scale():
    points = cloud()
    turned = 3 * points @ ortho_group.rvs(7, random_state=0) + 2
    assert linear_cka(distances_of(points), distances_of(turned)) == pytest.approx(1, abs=1e-5)
    stretched = points * [10, 1, 1, 1, 1, 1, 1]
    assert linear_cka(distances_of(points), distances_of(stretched)) < 0.95
    assert math.isnan(linear_cka(distances_of(points), np.zeros((40, 40))))


def test_neighbour_agreement_is_the_accuracy_of_the_nearest_neighbour():
    points, labels = cloud(60, 3), np.random.default_rng(1).integers(0, 3, 60)
    folds = cross_val_score(KNeighborsClassifier(1), points, labels, cv=LeaveOneOut())
    assert neighbour_agreement(distances_of(points), labels) == pytest.approx(folds.mean())


def test_equally_near_neighbours_count_in_part():
    corners = 1 - np.eye(4)
    assert neighbour_agreement(corners, np.array([0, 0, 1, 1])) == pytest.approx(1 / 3)
    assert neighbour_agreement(corners, np.array([5, 5, 5, 5])) == 1
    assert math.isnan(neighbour_agreement(np.zeros((1, 1)), np.array([0])))


@pytest.mark.filterwarnings("ignore:The optimal value found")  # a kernel of 0 for the third
@pytest.mark.parametrize("dimensions", [3, 60])  # fewer and more than images
def test_linear_evidence_is_that_of_a_gaussian_process_with_a_linear_kernel(dimensions):
    points = np.random.default_rng(2).normal(size=(40, dimensions)) + 5
    labels = (points[:, 0] + np.random.default_rng(3).normal(size=40) > 5).astype(int) + 4
    labels[:6] = 9  # a third class, about which the points know nothing
    bounds = (1e-6, 1e6)
    kernel = ConstantKernel(1, bounds) * DotProduct(0, "fixed") + WhiteKernel(0.1, bounds)
    contrasts = helmert(40)
    found = [
        GaussianProcessRegressor(kernel, n_restarts_optimizer=4, random_state=0)
        .fit(contrasts @ points, contrasts @ (labels == name))
        .log_marginal_likelihood_value_
        for name in (4, 5, 9)
    ]
    evidence = linear_evidence(distances_of(points), labels)
    assert evidence == pytest.approx(np.mean(found) / 39, abs=2e-4)


def test_linear_evidence_orders_layers_by_what_they_say_of_the_classes():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], 15)
    clouds = [np.eye(3)[labels] + noise * rng.normal(size=(45, 3)) for noise in (0.1, 0.5, 2, 100)]
    values = [linear_evidence(distances_of(points), labels) for points in clouds]
    assert values == sorted(values, reverse=True)
    nothing = linear_evidence(np.zeros((45, 45)), labels)  # one point: noise alone
    squares = np.square(np.eye(3)[labels] - 1 / 3).sum(axis=0) / 44
    assert nothing == pytest.approx(norm.logpdf(0) - np.log(squares).mean() / 2 - 0.5)
    assert nothing <= values[-1] < nothing + 0.05
    assert linear_evidence(1000 * distances_of(clouds[0]), labels) == pytest.approx(values[0])
    assert math.isnan(linear_evidence(distances_of(clouds[0]), np.zeros(45, int)))


def test_divergence_of_normals_is_the_integral():
    means, deviations = np.array([0.3, -2.0]), np.array([0.5, 1.7])
    known_means, known_deviations = np.array([0.1, 1.0]), np.array([1.5, 0.9])
    integrals = []
    for m, s, k, t in zip(means, deviations, known_means, known_deviations, strict=True):
        new, known = norm(m, s), norm(k, t)
        inside = quad(lambda x, n=new, o=known: n.pdf(x) * (n.logpdf(x) - o.logpdf(x)), -20, 20)
        integrals.append(inside[0])
    found = normal_divergence(means, deviations**2, known_means, known_deviations**2)
    assert found == pytest.approx(np.mean(integrals), rel=1e-6)
    assert normal_divergence(means, deviations, means, deviations) == 0
    assert normal_divergence(means, 0 * deviations, means, deviations) == math.inf


def test_stable_rank_is_that_of_the_norms():
    weights = np.random.default_rng(0).normal(size=(16, 27))
    expected = (np.linalg.norm(weights) / np.linalg.norm(weights, 2)) ** 2
    assert stable_rank(np.linalg.svd(weights, compute_uv=False)) == pytest.approx(expected)
    assert stable_rank(np.ones(6)) == 6
    assert math.isnan(stable_rank(np.zeros(6)))


def test_signal_to_noise_splits_at_the_edge_of_the_noise():
    values = np.array([8.0, 4.0, 3.0, 2.0, 1.0])
    edge = iqr(values, scale="normal") * (1 + math.sqrt(5 / 20))
    assert 2 < edge < 3
    assert signal_to_noise(values, (5, 20)) == pytest.approx((8 + 4 + 3) / (2 + 1) / 8, rel=1e-6)
    assert signal_to_noise(values, (20, 5)) == signal_to_noise(values, (5, 20))
    assert 2 * signal_to_noise(2 * values, (5, 20)) == pytest.approx(
        signal_to_noise(values, (5, 20))
    )
    assert signal_to_noise(np.full(5, 3.0), (5, 20)) == math.inf
    assert math.isnan(signal_to_noise(values[:3], (3, 20)))
