"""Maps of clouds in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence

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


def embed_together(distances: Sequence[Float32]) -> Float32:
    """Classical multidimensional scaling of several distance matrices of the same size.

    Far quicker than `embed` of each, and loads no scikit-learn. By torch, for use beside a
    training: NumPy's threads go on spinning, which takes the cores from the steps that follow.

    Parameters
    ----------
    distances : sequence of ndarray (N, N) of float32

    Returns
    -------
    ndarray (clouds, N, 2) of float32
        As by `embed`, but for the signs of the axes, which are any.
    """
    import torch  # late: the dashboard's server embeds without it

    gram = -0.5 * torch.from_numpy(np.asarray(distances, dtype=np.float64)).square()
    for axis in (1, 2):
        gram -= gram.mean(dim=axis, keepdim=True)
    values, vectors = torch.linalg.eigh(gram)
    longest = values[:, -2:].clamp(min=0).sqrt()
    points: Float32 = (vectors[:, :, -2:] * longest[:, None, :]).flip(2).numpy().astype(np.float32)
    return points
