"""The agreement of two rankings of the same layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of two columns; NaN where one of them is constant."""

    coefficient: float  # -1 to 1
    p_value: float  # two-sided; treats the layers as independent draws
    n: int  # layers with both values


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation:
    """Spearman's correlation by scipy, over the pairs whose values are both finite.

    Parameters
    ----------
    first, second : sequence of L floats
    """
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return RankCorrelation(math.nan, math.nan, len(x))
    from scipy.stats import spearmanr

    result = spearmanr(x, y)
    return RankCorrelation(float(result.statistic), float(result.pvalue), len(x))
