"""A map of a cloud in two dimensions."""

from __future__ import annotations

import numpy as np

from analysis.results import Float32, Float64


def embed(distances: Float32) -> Float64:
    """Classical multidimensional scaling of a distance matrix, by scikit-learn.

    Parameters
    ----------
    distances : ndarray (N, N) of float32

    Returns
    -------
    ndarray (N, 2) of float64
        The axes have no meaning of their own; their signs are fixed, so that a map is repeatable.
    """
    from sklearn.manifold import ClassicalMDS

    squareform = np.asarray(distances, dtype=np.float64)
    points: Float64 = ClassicalMDS(n_components=2, metric="precomputed").fit_transform(squareform)
    signs = np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])
    return points * np.where(signs == 0, 1.0, signs)
