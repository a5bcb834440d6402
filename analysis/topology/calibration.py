"""Whether the p-values of Gaussian clouds are uniform, as those of an exact test are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform

from analysis.results import Float32, Float64
from analysis.topology.rotation import LEVEL, rotation_test

POINTS = (16, 100)  # from, to
FEATURES = (2, 2000)
DRAWS = 39


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the test gives for one Gaussian cloud."""

    points: int
    features: int
    p: Float64  # (4,), of each of `rotation.STATISTICS`, ties broken at random
    asymptotic: bool  # whether `asymptotic_p` finds a loop in it, which is none


def gaussian_cloud(
    number: int, *, points: tuple[int, int] = POINTS, features: tuple[int, int] = FEATURES
) -> Float64:
    """Gaussian points (N, d) whose N, d and covariance vary with `number`.

    The features' deviations fall as i^-s, with s from 0 (a ball) to 2 (a few long axes).
    """
    rng = np.random.default_rng([number, 11])
    count = int(rng.integers(points[0], points[1] + 1))
    size = round(float(np.exp(rng.uniform(*np.log(features)))))
    deviations = np.arange(1.0, size + 1) ** -rng.uniform(0, 2)
    cloud: Float64 = rng.normal(size=(count, size)) * deviations + rng.normal(size=size)
    return cloud


def distances_of(cloud: Float64) -> Float32:
    """The Euclidean distances (N, N) between points (N, d)."""
    distances: Float32 = squareform(pdist(cloud)).astype(np.float32)
    return distances


def calibration(
    number: int, *, points: tuple[int, int] = POINTS, draws: int = DRAWS
) -> Calibration:
    """Test the Gaussian cloud with this number, by rotations of its own."""
    cloud = gaussian_cloud(number, points=points)
    test = rotation_test(distances_of(cloud), draws=draws, seed=number)
    found = bool((test.asymptotic_bars <= LEVEL).any())
    spread = test.spread_p(np.random.default_rng([number, 12]))
    count, features = cloud.shape
    return Calibration(count, features, spread, found)
