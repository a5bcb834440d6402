"""Runs that differ only in their seed, as one line, one point and one tile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from statistics import mean, stdev

import streamlit as st

from analysis.runs.store import Run
from analysis.training.metrics import EpochMetrics, StepMetrics
from app.charts.training import Curve
from app.components.shared.run_names import (
    metrics_of,
    names_of,
    steps_per_epoch,
)

SINGLE = "single_runs"


@dataclass(frozen=True)
class RunGroup:
    """The runs of one setting, one per seed."""

    name: str
    runs: tuple[Run, ...]  # by ascending seed
    variant: int = 0  # counts the groups of one strategy

    @property
    def strategy(self) -> str:
        return self.runs[0].options.strategy


def groups_of(runs: Sequence[Run], *, single: bool = False) -> list[RunGroup]:
    """The runs by setting, in their order; or every run by itself.

    Of several runs with one setting and seed, each is in a group of its own.
    """
    members: dict[object, list[Run]] = {}
    seen: Counter[object] = Counter()
    for run in runs:
        options = run.options.deciding()
        setting = replace(
            options,
            analysis=replace(options.analysis, seed=0),
            recipe=replace(options.recipe, seed=0),
        )
        key = setting, run.versions.get("device", "cpu")
        seed = run.options.recipe.seed
        seen[key, seed] += 1
        members.setdefault(run.id if single else (key, seen[key, seed]), []).append(run)
    sets = [tuple(sorted(found, key=lambda run: run.options.recipe.seed))
            for found in members.values()]  # fmt: skip
    seeds = {tuple(run.options.recipe.seed for run in found) for found in sets}
    names = names_of([found[0] for found in sets], with_seeds=single)
    groups: list[RunGroup] = []
    variants: Counter[str] = Counter()
    for found in sets:
        name, strategy = names[found[0].id], found[0].options.strategy
        if not single and len(seeds) > 1:
            count = len(found)
            seed = found[0].options.recipe.seed
            name += f" · {count} seeds" if count > 1 else f" · seed {seed}"
        groups.append(RunGroup(name, found, variants[strategy]))
        variants[strategy] += 1
    return groups


def chosen_groups(runs: Sequence[Run]) -> list[RunGroup]:
    """The groups of runs; every run by itself if the page's switch says so."""
    return groups_of(runs, single=bool(st.session_state.get(SINGLE)))


def render_single_switch(runs: Sequence[Run]) -> None:
    """Draw the switch between means and single runs, where there are several seeds."""
    if any(len(group.runs) > 1 for group in groups_of(runs)):
        st.toggle("Single runs", key=SINGLE, help="Show every seed by itself, without means.")


def curve_of(group: RunGroup) -> Curve:
    """The mean of a group's curves; at each place over the seeds that have come so far."""
    metrics = [metrics_of(run) for run in group.runs]
    steps, epochs = metrics[0].steps, metrics[0].epochs
    accuracies: list[float] = []
    losses: list[float] = []
    if len(metrics) > 1:
        steps = tuple(
            _mean_step([step for step in at if step])
            for at in zip_longest(*(known.steps for known in metrics))
        )
        by_epoch = [
            [epoch for epoch in at if epoch]
            for at in zip_longest(*(known.epochs for known in metrics))
        ]
        epochs = tuple(map(_mean_epoch, by_epoch))
        accuracies = [spread([epoch.val_accuracy for epoch in at]) for at in by_epoch]
        losses = [spread([epoch.val_loss for epoch in at]) for at in by_epoch]
    curve = Curve.of(
        group.name, group.strategy, steps, epochs, steps_per_epoch=steps_per_epoch(group.runs[0])
    )
    return replace(curve, variant=group.variant, accuracy_spread=accuracies, loss_spread=losses)


def spread(values: Sequence[float]) -> float:
    """Standard deviation; 0 for one value."""
    return stdev(values) if len(values) > 1 else 0.0


def _mean_step(at: Sequence[StepMetrics]) -> StepMetrics:
    return replace(
        at[0], loss=mean(step.loss for step in at), accuracy=mean(step.accuracy for step in at)
    )


def _mean_epoch(at: Sequence[EpochMetrics]) -> EpochMetrics:
    return replace(
        at[0],
        train_loss=mean(epoch.train_loss for epoch in at),
        val_loss=mean(epoch.val_loss for epoch in at),
        val_accuracy=mean(epoch.val_accuracy for epoch in at),
    )
