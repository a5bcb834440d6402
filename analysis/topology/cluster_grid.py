"""DBSCAN at many radii and sizes of neighbourhood: how many clusters, how pure, how much noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.results import Float32, Float64, Integers
from analysis.topology.cluster_curve import cluster_curve

# Of the distances between different points. Small ones lie close: from a tenth on nearly all
# points are one cluster.
EPS_QUANTILES = np.geomspace(0.001, 0.5, 40)
MIN_SAMPLES = (2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, eq=False)
class ClusterGrid:
    """One layer at m sizes of neighbourhood (rows) and q radii (columns)."""

    eps: Float64  # (q,), in the units of the distances
    counts: Integers  # (m, q), clusters
    noise_share: Float64  # (m, q)


def cluster_grid(
    distances: Float32,
    *,
    eps_quantiles: Sequence[float] | Float64 = EPS_QUANTILES,
    min_samples: Sequence[int] = MIN_SAMPLES,
) -> ClusterGrid:
    """DBSCAN's counts at every setting, read off one `cluster_curve` for each `min_samples`.

    Parameters
    ----------
    distances : ndarray (N, N) of float32
    eps_quantiles : (q,) floats in (0, 1]
    min_samples : (m,) ints
    """
    between = distances[np.triu_indices(len(distances), 1)].astype(np.float64)
    eps = np.quantile(between, eps_quantiles)
    curves = [cluster_curve(distances, min_samples=few) for few in min_samples]
    cells = np.array([[curve.at(radius) for radius in eps] for curve in curves])
    return ClusterGrid(eps, cells[..., 0], cells[..., 1] / len(distances))


def purity(clusters: Integers, classes: Integers) -> float:
    """The share of clustered images that have the most frequent class of their cluster.

    Parameters
    ----------
    clusters : ndarray (N,) of int
        -1 is noise, which is left out.
    classes : ndarray (N,) of int
        From 0.

    Returns
    -------
    float
        NaN if all images are noise. Each image a cluster of its own would give 1, so hold it
        against the number of clusters and the noise.
    """
    clustered = clusters >= 0
    if not clustered.any():
        return float("nan")
    table = np.zeros((clusters.max() + 1, classes.max() + 1), np.int64)
    np.add.at(table, (clusters[clustered], classes[clustered]), 1)
    return float(table.max(axis=1).sum() / clustered.sum())


def purity_grid(
    distances: Float32,
    classes: Integers,
    *,
    eps: Float64,
    min_samples: Sequence[int] = MIN_SAMPLES,
) -> Float64:
    """The `purity` of DBSCAN's clusters at every setting of a `ClusterGrid`, (m, q)."""
    from analysis.topology.clustering import dbscan

    return np.array(
        [
            [
                purity(dbscan(distances, eps=radius, min_samples=few).labels, classes)
                if radius > 0
                else float("nan")
                for radius in eps
            ]
            for few in min_samples
        ]
    )
