"""Classical scaling: exact for clouds in the plane, and by its eigenvectors otherwise."""

from __future__ import annotations

import numpy as np

from analysis.topology.embedding import embed
from tests.factories import blobs, circle, distances_of


def test_a_cloud_in_the_plane_keeps_its_distances() -> None:
    distances = distances_of(circle(17) * [1.0, 3.0] + 5)
    np.testing.assert_allclose(distances_of(embed(distances)), distances, atol=1e-5)


def test_the_map_is_the_best_inner_product_of_rank_two() -> None:
    distances = distances_of(blobs(12, 3)).astype(np.float64)
    centring = np.eye(36) - 1 / 36
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    expected = vectors[:, -2:] * values[-2:] @ vectors[:, -2:].T
    embedded = embed(distances.astype(np.float32))
    np.testing.assert_allclose(embedded @ embedded.T, expected, rtol=1e-4, atol=1e-3)


def test_the_map_is_repeatable_and_accepts_coincident_points() -> None:
    distances = distances_of(blobs(9))
    np.testing.assert_array_equal(embed(distances), embed(distances.copy()))
    assert (embed(np.zeros((6, 6), np.float32)) == 0).all()
