"""Persistence with known answers, and the same from a matrix as from the raw cloud."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ripser import ripser

from analysis.topology.distances import pairwise_distances
from analysis.topology.persistence import persistence, persistences
from analysis.topology.rounding import without_rounding
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
    assert (np.diff(loops, axis=1) > 0.1).sum() == 2  # and a short one between the circles


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


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("values", [2, 1000])  # few values make ties
def test_the_diagrams_are_those_of_the_package_to_the_last_bit(count: int, values: int) -> None:
    points = np.random.default_rng(count).integers(0, values, (count, 6))
    distances = distances_of(points)
    components, loops = ripser(distances, distance_matrix=True, maxdim=1)["dgms"]
    own = persistence(distances)
    expected = components.astype(np.float32), without_rounding(loops.astype(np.float32))
    for mine, other in zip(own, expected, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype


def test_processes_give_the_same_diagrams_in_the_same_order() -> None:
    clouds = [distances_of(np.random.default_rng(n).normal(size=(160, 4))) for n in range(3)]
    for pair, cloud in zip(
        persistences(clouds, count=len(clouds), points=160), clouds, strict=True
    ):
        for mine, alone in zip(pair, persistence(cloud), strict=True):
            np.testing.assert_array_equal(mine, alone)


def exact_b1(points: np.ndarray) -> int:
    """b₁ of points with whole coordinates, from squared distances, which have no rounding."""
    squared = ((points[:, None] - points[None]) ** 2).sum(-1).astype(np.float32)
    loops = ripser(squared, distance_matrix=True, maxdim=1)["dgms"][1]
    return int((loops[:, 1] > loops[:, 0]).sum())


def b1_of(cloud: torch.Tensor) -> int:
    distances = pairwise_distances(cloud)
    assert distances is not None
    return len(persistence(distances)[1])


@pytest.mark.parametrize("scale", [1.0, 0.1, 3.0, 1e-6, 1e6, 1e-30, 1e15])
def test_equal_distances_make_no_loops_of_rounding_at_any_scale(scale: float) -> None:
    signs = np.sign(np.random.default_rng(0).normal(size=(100, 16))).astype(np.int64)
    assert b1_of(torch.tensor(signs, dtype=torch.float32) * scale) == exact_b1(signs) > 20


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(30, 80),
    dimension=st.integers(6, 40),
    values=st.integers(1, 3),
    copies=st.integers(0, 8),
    scale=st.sampled_from([0.1, 3.0, 1e-6, 1e6, 0.7]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_b1_of_few_values_ties_and_copies_is_that_of_exact_distances(
    seed: int,
    count: int,
    dimension: int,
    values: int,
    copies: int,
    scale: float,
    dtype: torch.dtype,
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, values, (count, dimension))
    points = np.concatenate([points, points[rng.integers(0, count, copies)]])
    assert b1_of(torch.tensor(points, dtype=dtype) * scale) == exact_b1(points)
