"""How far several rankings of the same layers agree, and how far size alone makes a ranking."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.results import Float64
from analysis.selection.correlation import (
    RankCorrelation,
    partial_rank_correlation,
    rank_correlation,
)
from analysis.selection.ranking import rank


@dataclass(frozen=True, eq=False)
class Agreement:
    """Of K rankings with each other. NaN where it is undefined."""

    names: tuple[str, ...]
    tau: Float64  # (K, K), Kendall's τ-b of the ranks: 1 the same order, -1 the reverse
    jaccard: Float64  # (K, K), layers that both select among those that either selects


def agreement(rankings: Mapping[str, pd.DataFrame]) -> Agreement:
    """Compare rankings of the same layers, as `ranking.ranking` returns them."""
    ranks = [rows["rank"].to_numpy(dtype=float, na_value=np.nan) for rows in rankings.values()]
    chosen = [rows["selected"].to_numpy(dtype=bool) for rows in rankings.values()]
    count = len(ranks)
    tau, jaccard = np.full((count, count), math.nan), np.full((count, count), math.nan)
    for i in range(count):
        for j in range(i + 1):
            tau[i, j] = tau[j, i] = kendall(ranks[i], ranks[j])
            either = int((chosen[i] | chosen[j]).sum())
            if either:
                jaccard[i, j] = jaccard[j, i] = (chosen[i] & chosen[j]).sum() / either
    return Agreement(tuple(rankings), tau, jaccard)


def kendall(first: Float64, second: Float64) -> float:
    """Kendall's τ-b over the pairs that are both finite; NaN where one is constant.

    By counting all pairs of layers, which for a few hundred is quicker than scipy's sorting.
    """
    both = np.isfinite(first) & np.isfinite(second)
    x, y = (np.sign(np.subtract.outer(v[both], v[both])) for v in (first, second))
    untied = float((x != 0).sum()) * float((y != 0).sum())
    return float((x * y).sum()) / math.sqrt(untied) if untied else math.nan


@dataclass(frozen=True)
class SizeDominance:
    """How far a ranking follows the size of the layers' activations, |a|."""

    size: RankCorrelation  # of the score and 1/|a|
    loops: RankCorrelation  # of the score and b₁
    loops_at_equal_size: RankCorrelation  # of the score and b₁, given |a|
    chosen: int  # layers
    ranked: int
    by_size: float  # chosen layers that the smallest |a| would choose; ties count in part
    tied: int  # layers of one size, of which the smallest |a| would choose some

    @classmethod
    def of(cls, rows: pd.DataFrame) -> SizeDominance:
        """Read it off a `ranking.ranking`."""
        ranked = rows.loc[rows["rank"].notna()]
        # Ranks, not scores: scores that differ by rounding are equal.
        order = (-ranked["rank"].astype(float)).tolist()
        smallness = (-ranked["activation_size"].astype(float)).tolist()
        loops = ranked["b1"].astype(float).tolist()
        selected = ranked["selected"].to_numpy(dtype=bool)
        count = int(selected.sum())
        small = rank(pd.Series(smallness, index=ranked["layer"])).to_numpy(dtype=float)
        ties = np.array([(small == place).sum() for place in small])
        chance = np.clip((count - small + 1) / ties, 0, 1) if len(small) else small
        return cls(
            size=rank_correlation(order, smallness),
            loops=rank_correlation(order, loops),
            loops_at_equal_size=partial_rank_correlation(order, loops, smallness),
            chosen=count,
            ranked=len(ranked),
            by_size=float(chance[selected].sum()),
            tied=int(((chance > 0) & (chance < 1)).sum()),
        )
