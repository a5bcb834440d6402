"""AdaBet against random layers and against size alone, over the pairs of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.table import Cell, Row
from analysis.text import plural, signed

_NULLS = ("random", "size")


_TIE = 0.0005  # of accuracies: less is not told apart in the table


@dataclass(frozen=True)
class Duel:
    """AdaBet against one null, over the pairs where both are done, seed by seed."""

    null: str  # the strategy
    won: int
    lost: int
    even: int
    gain: float  # mean difference in test accuracy
    chance: float  # that a fair coin is as one-sided (two-sided sign test); even pairs left out
    seeds: int  # that both have done, on the pair with the fewest

    @property
    def pairs(self) -> int:
        return self.won + self.lost + self.even


def duels(rows: Iterable[Row]) -> list[Duel]:
    """AdaBet against random layers and against size alone, wherever they ran beside it."""
    beside = [row.cells for row in rows if "adabet" in row.cells]
    fought = []
    for null in _NULLS:
        each = [_gains(cells["adabet"], cells[null]) for cells in beside if null in cells]
        gains = [mean(by_seed) for by_seed in each if by_seed]
        if gains:
            won, lost = sum(g > _TIE for g in gains), sum(g < -_TIE for g in gains)
            even, seeds = len(gains) - won - lost, min(len(by_seed) for by_seed in each if by_seed)
            fought.append(Duel(null, won, lost, even, mean(gains), sign_test(won, lost), seeds))
    return fought


def _gains(ours: Cell, theirs: Cell) -> list[float]:
    """How much more accurate one is than the other, for each seed that both have done."""
    shared = ours.accuracies.keys() & theirs.accuracies.keys()
    return [ours.accuracies[seed] - theirs.accuracies[seed] for seed in shared]


def sign_test(won: int, lost: int) -> float:
    """The p-value of the two-sided sign test; 1 where nothing was won or lost."""
    from scipy.stats import binomtest  # a second's import, which pages do without until then

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def verdict(fought: Sequence[Duel]) -> str:
    """What the runs show of AdaBet, in a sentence or two; empty as long as they show nothing."""
    if not fought:
        return ""
    told = [
        f"{STRATEGIES[duel.null].title.lower()} on {duel.won} of "
        f"{plural(duel.pairs, 'pair')} ({f'even on {duel.even}; ' if duel.even else ''}"
        f"{signed(100 * duel.gain)} points on average; sign test p = {duel.chance:.2g})"
        for duel in fought
    ]
    seeds = min(duel.seeds for duel in fought)
    proof = f"Means over at least {seeds} seeds."
    if seeds == 1:
        proof = "A pair with one seed is a hint, not evidence."
    return f"At equal numbers of layers, AdaBet beats {' and '.join(told)}. {proof}"
