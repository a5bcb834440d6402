"""Which criterion finds the layers that are worth training: statistics over layers and seeds.

A layer without a score is never chosen by a criterion, and so counts as its worst. Layers with
equal scores share their places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from analysis.results import Float64, Integers
from analysis.selection.correlation import rank_correlation

LEVEL = 0.95
DRAWS = 2_000
_LEFT = 1e-9  # of the variance of ranks, below which nothing is left to compare


@dataclass(frozen=True)
class Estimate:
    """A rank correlation with its interval; NaN where it is not defined."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Standing:
    """How well one criterion finds the layers worth training."""

    criterion: str
    spearman: Estimate  # of its scores with the gains
    hits: float  # share of the best layers that are among its best, as many; NaN: it has none
    per_byte: Estimate  # as `spearman`, with the gain per byte of training memory
    hits_per_byte: float
    partial: float  # as `spearman`, with the ranks of size and parameters held fixed
    unscored: int  # layers that it never chooses
    # Whether its correlation cannot be told apart from the best one's
    level_with_best: bool = False
    clear: bool = False  # whether its correlation is above 0, all criteria counted


@dataclass(frozen=True)
class Leaderboard:
    """Criteria, the best first; those without a correlation last."""

    standings: tuple[Standing, ...]
    places: int  # how many layers count as the best
    by_chance: float  # the share of these that a random choice finds
    agreement: float  # mean rank correlation of the gains of two seeds; NaN for one seed
    note: str = ""  # why nothing can be correlated; else empty


def leaderboard(
    gains: ArrayLike,
    costs: ArrayLike,
    scores: Mapping[str, ArrayLike],
    *,
    sizes: Sequence[float],
    parameters: Sequence[float],
    rho: float,
    draws: int = DRAWS,
    seed: int = 0,
) -> Leaderboard:
    """Hold criteria against what each layer gained.

    Correlations are Spearman's, of the scores of each seed with the mean gain, averaged over the
    seeds. Intervals are percentiles over draws of as many seeds and as many layers, with
    replacement and independently of each other, as if layers were independent. That a correlation
    is clear, or below the best one, is judged with Bonferroni's correction over the criteria.

    Parameters
    ----------
    gains : array_like of shape (seeds, layers)
    costs : array_like of shape (layers,)
        Bytes of training memory.
    scores : mapping of str to array_like of shape (seeds, layers)
        More is better; NaN for a layer that is never chosen.
    sizes, parameters : sequence of L floats
        Of the layers.
    rho : float in (0, 1]
        ⌈ρ L⌉ layers count as the best.
    draws : int
    seed : int
        Decides the draws.
    """
    table = np.asarray(gains, dtype=float)
    cost = np.asarray(costs, dtype=float)
    known = {name: _scored(values) for name, values in scores.items()}
    count = table.shape[1]
    places = max(1, math.ceil(rho * count - 1e-9))
    note = _why_nothing(table)
    random = np.random.default_rng(seed)
    layers = random.integers(count, size=(draws, count))
    times = random.multinomial(len(table), np.full(len(table), 1 / len(table)), size=draws)
    drawn = {
        per_byte: _drawn(known, table / cost if per_byte else table, layers, times)
        for per_byte in (False, True)
    }
    gain = table.mean(axis=0)
    given = np.array([sizes, parameters], dtype=float)
    found = []
    for name, values in known.items():
        found.append(
            Standing(
                criterion=name,
                spearman=_estimate(_mean_correlation(values, gain), drawn[False][name]),
                hits=_mean_hits(values, gain, places),
                per_byte=_estimate(_mean_correlation(values, gain / cost), drawn[True][name]),
                hits_per_byte=_mean_hits(values, gain / cost, places),
                partial=_mean(partial(row, gain, given) for row in values),
                unscored=int(np.isneginf(values).all(axis=0).sum()),
            )
        )
    found.sort(key=lambda s: -np.nan_to_num(s.spearman.value, nan=-2))
    return Leaderboard(
        _told_apart(found, drawn[False]), places, places / count, agreement(table), note
    )


def hits(scores: ArrayLike, gains: ArrayLike, places: int) -> float:
    """The share of the best layers by gain that are among the best by score, as many of each.

    Where layers tie for the last places, each has its share of them.
    """
    return float(_membership(scores, places) @ _membership(gains, places) / places)


def partial(scores: ArrayLike, gains: ArrayLike, given: ArrayLike) -> float:
    """The rank correlation of scores and gains, with the ranks of other columns held fixed.

    Parameters
    ----------
    scores, gains : array_like of shape (layers,)
    given : array_like of shape (columns, layers)

    Returns
    -------
    float
        The correlation of what linear regression on the ranks of `given` leaves of the other ranks.
        NaN where it leaves nothing.
    """
    from scipy.stats import rankdata  # here, as the import takes a second

    x, y = (rankdata(np.asarray(values, dtype=float)) for values in (scores, gains))
    basis = np.column_stack([np.ones(len(x)), rankdata(np.asarray(given, dtype=float), axis=1).T])
    left = []
    for ranks in (x, y):
        rest = ranks - basis @ np.linalg.lstsq(basis, ranks, rcond=None)[0]
        if np.square(rest).mean() <= _LEFT * len(ranks) ** 2:
            return math.nan
        left.append(rest)
    return float(np.clip(left[0] @ left[1] / np.prod(np.linalg.norm(left, axis=1)), -1, 1))


def agreement(gains: ArrayLike) -> float:
    """How far the gains of two seeds rank the layers alike, on average; NaN for one seed."""
    pairs = combinations(np.asarray(gains, dtype=float), 2)
    return _mean(rank_correlation(one, other).coefficient for one, other in pairs)


def regrets(accuracies: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """What each set of layers loses against the best one, in accuracy; means over the seeds."""
    means = {name: float(np.mean(values)) for name, values in accuracies.items()}
    best = max(means.values(), default=math.nan)
    return {name: best - value for name, value in means.items()}


def _scored(values: ArrayLike) -> Float64:
    """The scores with the worst one, −∞, where there is none."""
    table = np.array(values, dtype=float)
    table[np.isnan(table)] = -np.inf
    return table


def _why_nothing(gains: Float64) -> str:
    layers = gains.shape[1]
    if layers < 3:
        return f"With {layers} layers, no criterion can be judged: that takes three or more."
    if np.ptp(gains.mean(axis=0)) == 0:
        return "Every layer gained the same, so no criterion can be judged."
    return ""


def _mean(values: object) -> float:
    """The mean of those that are defined; NaN if none is."""
    known = [value for value in values if not math.isnan(value)]  # type: ignore[attr-defined]
    return float(np.mean(known)) if known else math.nan


def _mean_hits(scores: Float64, gain: Float64, places: int) -> float:
    """NaN for a criterion that can score no layer."""
    return _mean(hits(row, gain, places) for row in scores if not np.isneginf(row).all())


def _mean_correlation(scores: Float64, gain: Float64) -> float:
    return _mean(_correlations(row[None], gain[None])[0] for row in scores)


def _correlations(first: Float64, second: Float64) -> Float64:
    """Spearman's correlation of each row with the same row of the other; NaN where one is flat."""
    return _of_ranks(_ranks(first), _ranks(second))


def _ranks(rows: Float64) -> Float64:
    """Ranks along each row, centred and of length 1; zeros where all values are equal."""
    from scipy.stats import rankdata

    if rows.shape[1] < 3:
        return np.zeros_like(rows)
    ranks = rankdata(rows, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1, keepdims=True)
    unit: Float64 = np.divide(ranks, norms, out=np.zeros_like(ranks), where=norms > 0)
    return unit


def _of_ranks(first: Float64, second: Float64) -> Float64:
    defined = first.any(axis=1) & second.any(axis=1)
    return np.where(defined, np.einsum("bl,bl->b", first, second), math.nan)


def _drawn(
    scores: Mapping[str, Float64], gains: Float64, layers: Integers, times: Integers
) -> dict[str, Float64]:
    """The correlation of each criterion in every draw; see `leaderboard`."""
    means = times @ gains / len(gains)  # (draws, layers)
    ranked = _ranks(np.take_along_axis(means, layers, axis=1))
    drawn = {}
    for name, rows in scores.items():
        same = (rows == rows[0]).all()
        of_seeds = [_of_ranks(_ranks(row[layers]), ranked) for row in (rows[:1] if same else rows)]
        if same:
            drawn[name] = of_seeds[0]
        else:
            drawn[name] = np.einsum("bs,sb->b", times, np.array(of_seeds)) / len(rows)
    return drawn


def _estimate(value: float, drawn: Float64) -> Estimate:
    known = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(known):
        return Estimate()
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def _told_apart(found: Sequence[Standing], drawn: Mapping[str, Float64]) -> tuple[Standing, ...]:
    """The standings with what can be said of them, all criteria counted."""
    tail = (1 - LEVEL) / 2 / max(1, len(found))
    best = drawn[found[0].criterion] if found else np.zeros(0)
    told = []
    for standing in found:
        own = drawn[standing.criterion]
        defined = not math.isnan(standing.spearman.value)
        above_zero = _quantile(own, tail) > 0
        below_best = _quantile(best - own, tail) > 0
        told.append(
            replace(
                standing,
                clear=defined and above_zero,
                level_with_best=defined and not below_best,
            )
        )
    return tuple(told)


def _quantile(values: Float64, share: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, share)) if len(known) else math.nan


def _membership(values: ArrayLike, places: int) -> Float64:
    """How surely each value is among the highest; ties share the last places equally."""
    row = np.asarray(values, dtype=float)
    last = np.sort(row)[-places]
    above, level = row > last, row == last
    shares: Float64 = above + level * (places - above.sum()) / level.sum()
    return shares
