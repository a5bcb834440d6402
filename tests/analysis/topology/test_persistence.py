"""Persistence with known answers, and the same from a matrix as from the raw cloud."""

from __future__ import annotations

import numpy as np
import pytest
from ripser import ripser

from analysis.topology.persistence import persistence, persistences
from tests.factories import blobs, circle, distances_of


def test_a_circle_has_one_loop_born_at_its_spacing() -> None:
    components, loops = persistence(distances_of(circle(24)))
    assert len(loops) == 1
    birth, death = loops[0]
    assert birth == pytest.approx(2 * np.sin(np.pi / 24), rel=1e-5)
    # The loop of a circle of radius 1 is filled by triangles of side √3 (Adamaszek, Adams 2017).
    assert death == pytest.approx(np.sqrt(3), rel=1e-5)
    assert len(components) == 24
    assert np.isinf(components[:, 1]).sum() == 1


def test_two_circles_far_apart_have_two_loops() -> None:
    points = np.concatenate([circle(20), circle(20) + 50])
    loops = persistence(distances_of(points))[1]
    assert (np.diff(loops, axis=1) > 0.1).sum() == 2  # float32 leaves others of no length


def test_a_line_has_no_loop() -> None:
    loops = persistence(distances_of(np.arange(12.0)[:, None]))[1]
    assert loops.shape == (0, 2)


def test_two_blobs_stay_two_components_until_they_touch() -> None:
    components, _ = persistence(distances_of(blobs(10)))
    lives = np.sort(components[:, 1])
    assert lives[-2] > 5 * lives[-3]


def test_coincident_points_make_no_loops() -> None:
    assert len(persistence(np.zeros((8, 8), np.float32))[1]) == 0


def test_the_matrix_gives_the_same_as_the_cloud_in_ripser() -> None:
    cloud = np.random.default_rng(3).normal(size=(60, 5)).astype(np.float32)
    expected = ripser(cloud, maxdim=1)["dgms"]
    for mine, other in zip(persistence(distances_of(cloud)), expected, strict=True):
        np.testing.assert_allclose(np.sort(mine, 0), np.sort(other, 0), rtol=1e-4)


def test_processes_give_the_same_diagrams_in_the_same_order() -> None:
    clouds = [distances_of(np.random.default_rng(n).normal(size=(160, 4))) for n in range(3)]
    for pair, cloud in zip(persistences(clouds), clouds, strict=True):
        for mine, alone in zip(pair, persistence(cloud), strict=True):
            np.testing.assert_array_equal(mine, alone)
