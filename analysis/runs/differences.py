"""How sure a difference in test accuracy is: paired over the same images and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from analysis.runs.records import Run
from analysis.runs.standings import Standing
from analysis.training.metrics import Predictions

LEVEL = 0.95  # of all intervals together
DRAWS = 20_000  # so that the tails of twenty intervals still hold a dozen draws each


@dataclass(frozen=True)
class Difference:
    """One standing's test accuracy less another's, with an interval; shares, not per cent."""

    gain: float  # mean over images and seeds
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    def __neg__(self) -> Difference:
        return Difference(-self.gain, -self.high, -self.low)


@dataclass(frozen=True)
class Differences:
    """Every pair of some standings, held against each other."""

    images: int  # of the test split, the same for all runs
    of_pairs: dict[tuple[int, int], Difference]  # by place in the table, the earlier one first

    def between(self, one: int, other: int) -> Difference:
        """How much better the standing at one place is than that at another."""
        if one < other:
            return self.of_pairs[one, other]
        return -self.of_pairs[other, one]


def differences(
    table: Sequence[Standing], predictions: Callable[[Run], Predictions | None]
) -> Differences | None:
    """Hold standings against each other, image by image.

    The intervals hold together with probability `LEVEL` (Bonferroni), however many pairs there
    are.

    Parameters
    ----------
    table : sequence of Standing
        Over the same seeds.
    predictions : callable
        What a run took the test images for.

    Returns
    -------
    Differences or None
        None if a run kept no predictions, or its test images are others.
    """
    correct: list[list[tuple[bool, ...]]] = []
    subjects = set()
    for standing in table:
        correct.append([])
        for run in standing.runs:
            known = predictions(run)
            if known is None:
                return None
            correct[-1].append(known.correct)
            subjects.add((known.labels, run.fingerprints.get("data", "")))
    if len(subjects) != 1:
        return None
    ((labels, _),) = subjects
    pairs = list(combinations(range(len(table)), 2))
    level = 1 - (1 - LEVEL) / max(1, len(pairs))
    hits = np.asarray(correct, dtype=np.int8)  # (standings, seeds, images)
    return Differences(
        len(labels), {(i, j): paired_bootstrap(hits[i] - hits[j], level=level) for i, j in pairs}
    )


def paired_bootstrap(
    gains: ArrayLike, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """The mean of paired gains, and its percentile interval over images and seeds.

    Each draw takes as many images and as many seeds as there are, with replacement and
    independently of each other; a single seed stays as it is. Two or three seeds, drawn again,
    differ too little: how they deviate from their mean is widened as Student's t has it.

    Parameters
    ----------
    gains : array_like of shape (seeds, images)
        1 where only the first of two is right, -1 where only the other is, else 0.
    level : float in (0, 1)
        Of the interval.
    draws : int
    seed : int
        Decides the draws.
    """
    table = np.asarray(gains, dtype=float)
    seeds, images = table.shape
    mean = float(table.mean())
    if seeds > 1:
        table = table + (_widening(seeds, level) - 1) * (table.mean(axis=1, keepdims=True) - mean)
    random = np.random.default_rng(seed)
    # Images with the same gains under all seeds are alike: draw how many there are of each kind.
    kinds, counts = np.unique(table, axis=1, return_counts=True)
    drawn_images = random.multinomial(images, counts / images, size=draws) / images
    drawn_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    means = np.einsum("bk,sk,bs->b", drawn_images, kinds, drawn_seeds, optimize=True)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Difference(mean, float(low), float(high))


def _widening(seeds: int, level: float) -> float:
    """Half an interval of Student's over that of a bootstrap of as many values."""
    from scipy.stats import norm, t  # here, as the import takes a second

    end = (1 + level) / 2
    bootstrapped = norm.ppf(end) * np.sqrt((seeds - 1) / seeds)
    return float(t.ppf(end, seeds - 1) / bootstrapped)
