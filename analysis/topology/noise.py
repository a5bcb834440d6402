"""The loops of pure noise: as many points, with as many coordinates, as the cloud of a layer."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist, squareform

from analysis.results import Float32, Float64
from analysis.topology.persistence import persistence


def noise_loops(
    dimension: int, points: int, *, clouds: int = 1, draws: int, seed: int = 0
) -> Float64:
    """b₁ of independent points from a Gaussian that is alike in all directions.

    Unlike rotated clouds, noise has nothing of the layer but its dimension, so it tells how many
    loops so many points have without any structure.

    Parameters
    ----------
    dimension : int
        Coordinates of a point.
    points : int
    clouds : int
        Clouds whose b₁ is averaged in each draw.
    draws : int
    seed : int

    Returns
    -------
    ndarray (draws,)
    """
    rng = np.random.default_rng([seed, dimension, points, clouds])
    counts = [
        len(persistence(noise_distances(dimension, points, rng))[1]) for _ in range(draws * clouds)
    ]
    means: Float64 = np.reshape(counts, (draws, clouds)).mean(axis=1)
    return means


def noise_distances(dimension: int, points: int, rng: np.random.Generator) -> Float32:
    """The distances between such points, (points, points).

    Of many coordinates only the Gram matrix is drawn, by Bartlett's decomposition (1933) of the
    Wishart distribution, so the cost does not grow with them.
    """
    if dimension <= points:
        cloud = rng.normal(size=(points, dimension))
    else:
        cloud = np.tril(rng.normal(size=(points, points)), -1)
        np.fill_diagonal(cloud, np.sqrt(rng.chisquare(dimension - np.arange(points))))
    distances: Float32 = squareform(pdist(cloud)).astype(np.float32)
    return distances
