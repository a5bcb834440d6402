"""Classical scaling: exact for clouds in the plane, and by its eigenvectors otherwise."""

from __future__ import annotations

import numpy as np

from analysis.topology.embedding import embed, embed_together
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


def test_maps_made_together_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    clouds = [distances_of(rng.normal(size=(32, width))) for width in (2, 5, 900)]
    flat, point = distances_of(np.arange(32.0)[:, None]), np.zeros((32, 32), np.float32)
    for distances, points in zip((*clouds, flat, point),
                                 embed_together([*clouds, flat, point]), strict=True):  # fmt: skip
        expected = embed(distances)
        signs = np.where((points * expected).sum(axis=0) < 0, -1, 1)
        np.testing.assert_allclose(points * signs, expected, atol=1e-4 * (distances.max() + 1))


def test_the_map_is_repeatable_and_accepts_coincident_points() -> None:
    distances = distances_of(blobs(9))
    np.testing.assert_array_equal(embed(distances), embed(distances.copy()))
    assert (embed(np.zeros((6, 6), np.float32)) == 0).all()
