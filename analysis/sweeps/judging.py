"""Hold every criterion against a layer profile, and against the sets of layers that it selects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev

import pandas as pd

from analysis.options import RunOptions
from analysis.runs.records import Run
from analysis.selection.leaderboard import Leaderboard, leaderboard, regrets
from analysis.selection.ranking import layer_count, select
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.grid import Grid
from analysis.sweeps.layer_profile import LayerProfile, set_accuracies, set_grid
from analysis.text import signed

HARDLY = 0.2  # agreement of the seeds below which no criterion can be judged
_NAMED = 4  # criteria in a sentence
Sets = Mapping[str, tuple[str, ...]]  # of layers, by criterion
BEST_SINGLES = ""  # the set of the layers that gained most alone; no criterion has this name


@dataclass(frozen=True)
class SetAccuracy:
    """What the set of layers that a criterion selects reached."""

    accuracies: tuple[float, ...]  # by seed; empty for a criterion that can score no layer
    regret: float  # in accuracy, against the best set of all; or NaN

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds; None for one seed."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Judgement:
    """What a profile says of the criteria."""

    board: Leaderboard
    scores: Mapping[str, tuple[float, ...]]  # of each layer, means over the seeds; NaN: no score
    sets: Mapping[str, SetAccuracy]  # by criterion, and of `BEST_SINGLES`
    rho: float
    set_size: int  # layers in a set, without the head


def criteria_for(options: RunOptions) -> list[str]:
    """The strategies that score layers, apart from those that equal another one here."""
    shifted = options.analysis.shift != "none"
    return [
        name
        for name, strategy in STRATEGIES.items()
        if strategy.scores is not None and (shifted or not strategy.before_shift)
    ]


def chosen_sets(
    profile: LayerProfile, scores: Mapping[int, pd.DataFrame], rho: float
) -> dict[int, Sets]:
    """The set of layers that each criterion selects, by seed; the best singles under all seeds.

    A criterion that can score no layer has no set. Layers stand in execution order, so that equal
    sets are equal.
    """
    names = [layer.layer for layer in profile.layers]
    gain = pd.Series([layer.gain for layer in profile.layers], index=names)
    by_seed: dict[int, Sets] = {}
    for seed, table in scores.items():
        columns: dict[str, pd.Series] = {str(name): table[name] for name in table}
        chosen = {
            name: _in_order(select(own, rho=rho), names)
            for name, own in columns.items()
            if own.notna().any()
        }
        by_seed[seed] = chosen | {BEST_SINGLES: _in_order(select(gain, rho=rho), names)}
    return by_seed


def set_grids(profile: LayerProfile, sets: Mapping[int, Sets]) -> list[Grid]:
    """A grid for each seed, in which equal sets are trained once."""
    return [set_grid(profile.options, list(own.values()), (seed,)) for seed, own in sets.items()]


def judge(
    profile: LayerProfile,
    scores: Mapping[int, pd.DataFrame],
    sets: Mapping[int, Sets],
    runs: Mapping[RunOptions, Run],
    rho: float,
) -> Judgement:
    """Hold criteria against a profile.

    Parameters
    ----------
    profile : LayerProfile
    scores : mapping of int to DataFrame
        Of `scoring.criterion_scores`, by seed.
    sets : mapping
        Of `chosen_sets`.
    runs : mapping of RunOptions to Run
        Those of `set_grids`.
    rho : float in (0, 1]
    """
    tables = list(scores.values())
    criteria = [str(name) for name in tables[0]]
    board = leaderboard(
        profile.gains,
        profile.costs,
        {name: [table[name].to_numpy() for table in tables] for name in criteria},
        sizes=[1 / layer.activations for layer in profile.layers],
        parameters=[layer.parameters for layer in profile.layers],
        rho=rho,
    )
    trained = [set_accuracies(grid, runs) for grid in set_grids(profile, sets)]
    accuracies = {
        name: [own[chosen[name]][0] for own, chosen in zip(trained, sets.values(), strict=True)]
        for name in (*criteria, BEST_SINGLES)
        if all(name in own for own in sets.values())
    }
    lost = regrets(accuracies)
    return Judgement(
        board=board,
        scores={name: _mean_scores([table[name] for table in tables]) for name in criteria},
        sets={
            name: SetAccuracy(tuple(accuracies.get(name, ())), lost.get(name, math.nan))
            for name in (*criteria, BEST_SINGLES)
        },
        rho=rho,
        set_size=layer_count(len(profile.layers), rho=rho, rounding="at-least-one"),
    )


def _in_order(chosen: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    wanted = set(chosen)
    return tuple(name for name in names if name in wanted)


def _mean_scores(columns: Sequence[pd.Series]) -> tuple[float, ...]:
    known = pd.concat(columns, axis=1).mean(axis=1)
    return tuple(value if math.isfinite(value) else math.nan for value in known)


def answer(profile: LayerProfile, judgement: Judgement) -> str:
    """Which criterion finds the layers worth training here, in a sentence."""
    board, most = judgement.board, max(layer.gain for layer in profile.layers)
    if board.note:
        return board.note
    if most < smallest_gain(profile):
        return (
            "None: no layer gains more than the test images can show (at most "
            f"{signed(100 * most)} points)."
        )
    if board.agreement < HARDLY:
        return (
            "That is not known: two seeds hardly agree on what each layer is worth "
            f"(rank correlation {board.agreement:.2f})."
        )
    best = board.standings[0]
    if not best.clear:
        return "None is shown to find the layers worth training better than chance."
    title = STRATEGIES[best.criterion].title
    others = [STRATEGIES[s.criterion].title for s in board.standings[1:] if s.level_with_best]
    if not others:
        return f"{title}: it finds the layers worth training better than all others."
    names = _listed(others) if len(others) <= _NAMED else f"{len(others)} others"
    return f"{title} comes first, but {names} cannot be told apart from it."


def smallest_gain(profile: LayerProfile) -> float:
    """The smallest gain in accuracy that so many test images show, at a level of about 95 %.

    Two standard errors of the difference of two accuracies like the head's, as if each were
    measured on images of its own; 0 if the number of images is unknown.
    """
    if not profile.test_images:
        return 0.0
    share = sum(profile.head_accuracies) / len(profile.seeds)
    return 2 * math.sqrt(2 * share * (1 - share) / profile.test_images)


def answer_about(judgement: Judgement, criterion: str) -> str:
    """What the profile says of one criterion, in a sentence; empty without it."""
    standing = next((s for s in judgement.board.standings if s.criterion == criterion), None)
    if standing is None or math.isnan(standing.spearman.value):
        return ""
    estimate, title = standing.spearman, STRATEGIES[criterion].title
    verb = "is not shown to do better than chance"
    if estimate.low > 0 or estimate.high < 0:
        verb = f"does {'better' if estimate.low > 0 else 'worse'} than chance"
    return (
        f"{title} {verb}: rank correlation {signed(estimate.value, 2)} "
        f"({signed(estimate.low, 2)} to {signed(estimate.high, 2)})."
    )


def _listed(titles: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(titles[:-1]), titles[-1]]))
