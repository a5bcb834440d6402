"""Which strategy did best, over runs that can be compared."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

from analysis.runs.records import Run
from analysis.selection.strategies import idle_settings


@dataclass(frozen=True)
class Standing:
    """The runs of one strategy, one per seed."""

    strategy: str
    variant: str  # of AdaBet: how the layers were scored, where runs of a strategy differ in it
    runs: tuple[Run, ...]  # done, by ascending seed

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.options.recipe.seed for run in self.runs)

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of the test split, by ascending seed."""
        return tuple(run.result.test_accuracy for run in self.runs if run.result is not None)

    @property
    def mean(self) -> float:
        return mean(self.accuracies)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; 0 for one seed."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


def comparison_key(run: Run) -> Hashable:
    """A key that is equal for runs whose accuracies can be compared.

    Strategy and seed may differ, and how AdaBet scores; model, data, budget, recipe and device
    may not.
    """
    options = run.options.deciding()
    return (
        replace(
            options.analysis,
            seed=0,
            samples=4,
            batch_size=1,
            pooling="pooled",
            subsets=1,
            precision="float32",  # of the analysis; training is in float32
            device="auto",  # the versions say where it ran
        ),
        options.rho,
        options.preset,
        options.also_train,
        options.train_samples,
        replace(options.recipe, seed=0),
        run.versions.get("device", "cpu"),
    )


def standings(runs: Sequence[Run]) -> tuple[list[Standing], list[str]]:
    """Strategies by mean test accuracy, the best first, all over the same seeds.

    Parameters
    ----------
    runs : sequence of Run
        Comparable with each other. Only runs that are done count; of several runs of one
        strategy and seed, the newest.

    Returns
    -------
    table : list of Standing
        Over the seeds for which most results can be compared.
    left_out : list of str
        Strategies that have results, but not for all of these seeds.
    """
    done: dict[tuple[str, str], dict[int, Run]] = {}
    for run in sorted(runs, key=lambda run: run.number):
        if run.result is not None:
            seeds = done.setdefault((run.options.strategy, _variant(run)), {})
            seeds[run.options.recipe.seed] = run
    if not done:
        return [], []
    shared = _shared_seeds([frozenset(seeds) for seeds in done.values()])
    several = len({variant for _, variant in done if variant}) > 1
    table = [
        Standing(strategy, variant if several else "", tuple(seeds[seed] for seed in shared))
        for (strategy, variant), seeds in done.items()
        if set(shared) <= set(seeds)
    ]
    left_out = [strategy for (strategy, _), seeds in done.items() if not set(shared) <= set(seeds)]
    return sorted(table, key=lambda standing: -standing.mean), left_out


def _shared_seeds(owned: Sequence[frozenset[int]]) -> list[int]:
    """The seeds that give most results to compare; of equals, those that more strategies have."""

    def worth(seeds: frozenset[int]) -> tuple[int, int, list[int]]:
        strategies = sum(seeds <= others for others in owned)
        return strategies * len(seeds), strategies, [-seed for seed in sorted(seeds)]

    candidates: set[frozenset[int]] = {one & other for one in owned for other in owned}
    best: frozenset[int] = max((seeds for seeds in candidates if seeds), key=worth)
    return sorted(best)


def _variant(run: Run) -> str:
    options = run.options
    if "normalization" in idle_settings(options):
        return ""
    unit = " of the diameter" if options.persistence_unit == "diameter" else ""
    least = options.min_persistence
    shortest = f", loops from {least:g}{unit}" if least else ""
    return f"{options.summary} by {options.normalization}{shortest}"
