"""DBSCAN on a layer's distances."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import DBSCAN

from analysis.options import ClusterOptions, EpsRule
from analysis.results import Clustering, Float32
from analysis.topology.cluster_curve import cluster_curve

MIN_NEIGHBOURS = ClusterOptions.min_samples


def knee_eps(distances: Float32, *, min_samples: int = MIN_NEIGHBOURS) -> float:
    """The eps at the knee of the sorted k-distance curve, k = `min_samples`.

    The curve is that of Ester, Kriegel, Sander, Xu (KDD 1996, §4.2). It counts the point itself,
    as scikit-learn's `min_samples` does. Its knee is the maximum of Kneedle's difference curve
    (Satopää, Albrecht, Irwin, Raghavan 2011, §III): the point furthest below the chord, with both
    axes scaled to [0, 1]. The package `kneed` finds local knees as well, but needs matplotlib and
    takes 1.5 s to import.
    """
    column = min(min_samples, len(distances)) - 1
    curve = np.sort(np.partition(distances, column, axis=1)[:, column]).astype(np.float64)
    rise = curve[-1] - curve[0]
    if rise <= 0:
        return float(curve[0])
    return float(curve[np.argmax(np.linspace(0, 1, len(curve)) - (curve - curve[0]) / rise)])


def most_clusters_eps(distances: Float32, *, min_samples: int = MIN_NEIGHBOURS) -> float:
    """The eps at which DBSCAN finds the most clusters; see `ClusterCurve.best_eps`."""
    return cluster_curve(distances, min_samples=min_samples).best_eps()


_RULES = {"most-clusters": most_clusters_eps, "knee": knee_eps}


def dbscan(
    distances: Float32,
    *,
    eps_rule: EpsRule = ClusterOptions.eps_rule,
    eps_quantile: float | None = None,
    eps: float | None = None,
    min_samples: int = MIN_NEIGHBOURS,
) -> Clustering:
    """Cluster a cloud with scikit-learn's DBSCAN.

    Parameters
    ----------
    distances : ndarray (N, N) of float32
    eps_rule : {"most-clusters", "knee"}
        How eps is found if it is not given: `most_clusters_eps` or `knee_eps`.
    eps_quantile : float in (0, 1], optional
        Sets eps to this quantile of the distances between different points.
    eps : float, optional
        In the units of the distances.
    min_samples : int
        Points within eps of a core point, itself included.

    Raises
    ------
    OptionError
        If an option is out of range, or both `eps` and `eps_quantile` are given.
    """
    ClusterOptions(eps_rule, eps_quantile, eps, min_samples)  # checks them
    if eps_quantile is not None:
        between = distances[np.triu_indices(len(distances), 1)]
        eps = float(np.quantile(between, eps_quantile))
    elif eps is None:
        eps = _RULES[eps_rule](distances, min_samples=min_samples)
    # scikit-learn needs eps > 0; where points coincide, the smallest number is enough.
    eps = max(eps, float(np.finfo(np.float32).tiny))
    labels = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(distances)
    return Clustering(labels=labels.astype(np.int64), eps=eps)
