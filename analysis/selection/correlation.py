"""Rank correlations of columns of the same layers."""

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


def partial_rank_correlation(
    first: Sequence[float], second: Sequence[float], given: Sequence[float]
) -> RankCorrelation:
    """Spearman's correlation of two columns with the ranks of a third held fixed.

    NaN where one of the two follows the third exactly, so that nothing of it is left to compare.

    Parameters
    ----------
    first, second, given : sequence of L floats
    """
    columns = np.array([first, second, given], dtype=float)
    columns = columns[:, np.isfinite(columns).all(axis=0)]
    n = columns.shape[1]
    if n < 4 or (np.ptp(columns, axis=1) == 0).any():
        return RankCorrelation(math.nan, math.nan, n)
    from scipy.stats import rankdata, t

    r = np.corrcoef(rankdata(columns, axis=1))
    left = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
    if left < 1e-12:
        return RankCorrelation(math.nan, math.nan, n)
    coefficient = float(np.clip((r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt(left), -1, 1))
    freedom = n - 3
    if abs(coefficient) == 1:
        return RankCorrelation(coefficient, 0.0, n)
    statistic = coefficient * math.sqrt(freedom / (1 - coefficient**2))
    return RankCorrelation(coefficient, float(2 * t.sf(abs(statistic), freedom)), n)
