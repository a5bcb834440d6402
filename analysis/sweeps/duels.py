"""AdaBet against random layers and against size alone, over the pairs of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.table import Cell, Row
from analysis.text import plural, signed

_NULLS = ("random", "size")
_TIE = 0.0005  # difference in accuracy that the table does not show


@dataclass(frozen=True)
class Duel:
    """AdaBet against one null, over the pairs on which both are done."""

    null: str  # the strategy
    won: int
    lost: int
    even: int
    gain: float  # mean difference in test accuracy
    chance: float  # p-value of the two-sided sign test, without the even pairs
    seeds: int  # that both have done, on the pair with fewest

    @property
    def pairs(self) -> int:
        return self.won + self.lost + self.even


def duels(rows: Iterable[Row]) -> list[Duel]:
    """AdaBet against random layers and against size alone, on the pairs that have both."""
    pairs = [row.cells for row in rows if "adabet" in row.cells]
    results = []
    for null in _NULLS:
        by_pair = [_gains(cells["adabet"], cells[null]) for cells in pairs if null in cells]
        gains = [mean(by_seed) for by_seed in by_pair if by_seed]
        if gains:
            won, lost = sum(g > _TIE for g in gains), sum(g < -_TIE for g in gains)
            even = len(gains) - won - lost
            seeds = min(len(by_seed) for by_seed in by_pair if by_seed)
            results.append(Duel(null, won, lost, even, mean(gains), sign_test(won, lost), seeds))
    return results


def _gains(ours: Cell, theirs: Cell) -> list[float]:
    """Difference in accuracy for each seed that both have done."""
    shared = ours.accuracies.keys() & theirs.accuracies.keys()
    return [ours.accuracies[seed] - theirs.accuracies[seed] for seed in shared]


def sign_test(won: int, lost: int) -> float:
    """The p-value of the two-sided sign test; 1 where nothing was won or lost."""
    from scipy.stats import binomtest  # here, as the import takes a second

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def verdict(results: Sequence[Duel]) -> str:
    """What the runs show about AdaBet, in one or two sentences; empty without a duel."""
    if not results:
        return ""
    parts = [
        f"{STRATEGIES[duel.null].title.lower()} on {duel.won} of "
        f"{plural(duel.pairs, 'pair')} ({f'even on {duel.even}; ' if duel.even else ''}"
        f"{signed(100 * duel.gain)} points on average; sign test p = {duel.chance:.2g})"
        for duel in results
    ]
    seeds = min(duel.seeds for duel in results)
    evidence = f"Means over at least {seeds} seeds."
    if seeds == 1:
        evidence = "A pair with one seed is a hint, not evidence."
    return f"At equal numbers of layers, AdaBet beats {' and '.join(parts)}. {evidence}"
