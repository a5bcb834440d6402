"""Whether b₁ follows the number of DBSCAN clusters over the layers (AdaBet, Figure 3).

The paper does not state its settings of DBSCAN, so the claim is tested at every setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.results import Float64, TopologyReport
from analysis.selection.correlation import rank_correlation
from analysis.text import signed
from analysis.topology.cluster_grid import EPS_QUANTILES, MIN_SAMPLES, cluster_grid

ALPHA = 0.05  # a correlation with a larger p is no link


@dataclass(frozen=True, eq=False)
class ClusterClaim:
    """Spearman's correlation of b₁ with the cluster counts, at m × q settings."""

    eps_quantiles: Float64  # (q,)
    min_samples: tuple[int, ...]  # (m,)
    coefficients: Float64  # (m, q); NaN where every layer has as many clusters
    p_values: Float64  # (m, q), two-sided; layers as independent draws
    layers: int

    def share(self, sign: int) -> float:
        """The share of all settings with a clear correlation of this sign."""
        clear = (self.p_values <= ALPHA) & (np.sign(self.coefficients) == sign)
        return float(clear.mean())

    @property
    def undefined(self) -> float:
        """The share of all settings that find as many clusters in every layer."""
        return float(np.isnan(self.coefficients).mean())

    @property
    def sentence(self) -> str:
        """What the settings say together."""
        if self.undefined == 1:
            return (
                "At no setting can b₁ follow the cluster count, because one of the two is the "
                "same in every layer."
            )
        known = self.coefficients[np.isfinite(self.coefficients)]
        return (
            f"b₁ clearly rises with the cluster count at {100 * self.share(1):.0f} % of "
            f"{self.coefficients.size} settings and clearly falls at {100 * self.share(-1):.0f} %; "
            f"Spearman runs from {signed(known.min(), 2)} to {signed(known.max(), 2)}."
        )


def cluster_claim(
    report: TopologyReport,
    *,
    eps_quantiles: Sequence[float] | Float64 = EPS_QUANTILES,
    min_samples: Sequence[int] = MIN_SAMPLES,
) -> ClusterClaim:
    """Correlate b₁ with the cluster counts over the finite layers, at every setting.

    Parameters
    ----------
    report : TopologyReport
    eps_quantiles : (q,) floats in (0, 1]
        Of each layer's own distances.
    min_samples : (m,) ints
    """
    finite = [layer for layer in report.layers if layer.finite]
    loops = [layer.b1 for layer in finite]
    grids = [
        cluster_grid(layer.distances, eps_quantiles=eps_quantiles, min_samples=min_samples).counts
        for layer in finite
    ]
    counts = np.stack(grids).reshape(len(finite), -1) if finite else np.zeros((0, 0))
    results = [rank_correlation(loops, column.tolist()) for column in counts.T]
    shape = len(min_samples), len(eps_quantiles)
    if not finite:
        results = [rank_correlation([], [])] * (shape[0] * shape[1])
    return ClusterClaim(
        eps_quantiles=np.asarray(eps_quantiles, dtype=np.float64),
        min_samples=tuple(min_samples),
        coefficients=np.reshape([result.coefficient for result in results], shape),
        p_values=np.reshape([result.p_value for result in results], shape),
        layers=len(finite),
    )
