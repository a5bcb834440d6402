"""How many clusters DBSCAN finds at every radius, without running it at any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from analysis.results import Float32, Float64, Integers
from analysis.topology.rounding import RELATIVE_ERROR


@dataclass(frozen=True, eq=False)
class ClusterCurve:
    """Steps: from each radius up to the next, so many clusters and so much noise."""

    eps: Float64  # (s,), ascending, in the units of the distances
    counts: Integers  # (s,)
    noise: Integers  # (s,), images in no cluster

    def at(self, eps: float) -> tuple[int, int]:
        """The clusters and the noise at one radius."""
        step = int(np.searchsorted(self.eps, eps, "right")) - 1
        return int(self.counts[step]), int(self.noise[step])

    def best_eps(self) -> float:
        """The middle of the longest stretch of radii with the most clusters.

        Stretches that are no longer than the error of the distances do not count.
        """
        starts = np.flatnonzero(np.diff(self.counts, prepend=-1))
        begin, counts = self.eps[starts], self.counts[starts]
        end = np.append(begin[1:], self.eps[-1] * 2)
        lasting = end - begin > 4 * RELATIVE_ERROR * end
        lasting[-1] = True
        best = np.lexsort((begin - end, -counts, ~lasting))[0]
        return float((begin[best] + end[best]) / 2)


def cluster_curve(distances: Float32, *, min_samples: int) -> ClusterCurve:
    """DBSCAN's number of clusters and of noise points as functions of eps, exactly.

    An image is a core point from the radius on at which it has `min_samples` neighbours, itself
    included. Two core points are in one cluster from the largest of their distance and these two
    radii on (the mutual reachability distance: Campello, Moulavi, Sander 2013, on which HDBSCAN
    rests). So the number of clusters is that of the core points less the merges of a single
    linkage of these distances.

    Parameters
    ----------
    distances : ndarray (N, N) of float32
    min_samples : int

    Returns
    -------
    ClusterCurve
        Its first step starts at 0.
    """
    points = len(distances)
    between = distances.astype(np.float64)
    if min_samples > points:  # no radius makes a core point
        return ClusterCurve(np.zeros(1), np.zeros(1, np.int64), np.array([points]))
    core = np.partition(between, min_samples - 1, axis=1)[:, min_samples - 1]
    joined = np.maximum(np.maximum(between, core[:, None]), core)  # mutual reachability
    np.fill_diagonal(joined, 0)
    merges = np.zeros(0)
    if points > 1:
        merges = linkage(squareform(joined, checks=False), "single")[:, 2]
    # A point is in a cluster once a core point is near enough, perhaps itself.
    np.fill_diagonal(between, 0)
    reached = np.maximum(between, core).min(axis=1)
    eps = np.unique(np.concatenate([[0.0], core, merges, reached]))

    def up_to(radii: Float64) -> Integers:
        return np.searchsorted(np.sort(radii), eps, "right").astype(np.int64)

    return ClusterCurve(eps=eps, counts=up_to(core) - up_to(merges), noise=points - up_to(reached))
