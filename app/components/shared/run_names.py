"""The names of runs, and the numbers that several pages show of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.instruments.memory_use import MemoryUse
from analysis.options import batch_sizes
from analysis.runs.store import Run, RunMetrics
from analysis.selection.strategies import STRATEGIES
from analysis.text import plural
from app.cache import ended_metrics, run_queue
from app.charts.training import Curve
from app.components.shared.subject_names import data_text, weights_name
from app.literal import literal
from app.state import session

STATES = {
    "queued": "waiting",
    "running": "running",
    "done": "done",
    "stopped": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}


def settings_text(run: Run) -> str:
    """The settings that the runs of one group share, in one line of Markdown."""
    options, recipe = run.options, run.options.recipe
    rate = "" if recipe.learning_rate is None else f" · learning rate {recipe.learning_rate:g}"
    epochs = plural(recipe.epochs, "epoch")
    return (
        f"{literal(options.analysis.model)} ({literal(weights_name(options.analysis.weights))}) on "
        f"{literal(data_text(options.analysis))} · "
        f"ρ = {options.rho:.2f} · {options.train_samples} images, {epochs}, "
        f"batches of {recipe.batch_size}{rate}"
    )


def strategy_title(run: Run) -> str:
    """The title of a run's strategy."""
    known = STRATEGIES.get(run.options.strategy)
    return known.title if known else run.options.strategy


def names_of(runs: Sequence[Run]) -> dict[str, str]:
    """The shortest names, by id, that distinguish these runs."""
    many_seeds = len({run.options.recipe.seed for run in runs}) > 1
    names = {}
    for run in runs:
        seed = f" · seed {run.options.recipe.seed}" if many_seeds else ""
        names[run.id] = f"{strategy_title(run)}{seed}"
    for run in runs:
        alike = [other.id for other in runs if names[other.id] == names[run.id]]
        if len(alike) > 1:
            names |= {other.id: f"{names[other.id]} · #{other.number}" for other in runs
                      if other.id in alike}  # fmt: skip
    return names


def metrics_of(run: Run) -> RunMetrics:
    """A run's metrics up to its revision; only new ones are read from the store."""
    read = session().comparison.metrics
    if not run.active:
        read.pop(run.id, None)
        return ended_metrics(run.id, run.revision)
    revision, known = read.get(run.id, (-1, RunMetrics()))
    if revision != run.revision:
        known = run_queue().store.metrics(run.id, known=known)
        read[run.id] = (run.revision, known)
    return known


def steps_per_epoch(run: Run) -> int:
    """Optimiser steps in one pass over the training images."""
    return len(batch_sizes(run.options.train_samples, run.options.recipe.batch_size))


def curves_of(runs: Sequence[Run], *, by_strategy: bool) -> list[Curve]:
    """One curve per run, with its strategy's colour and name or with its own."""
    names, order = names_of(runs), list(STRATEGIES)
    curves = []
    for place, run in enumerate(runs):
        name = names[run.id]
        if by_strategy and run.options.strategy in order:
            place, name = order.index(run.options.strategy), strategy_title(run)
        metrics = metrics_of(run)
        curves.append(
            Curve.of(
                name,
                place,
                metrics.steps,
                metrics.epochs,
                steps_per_epoch=steps_per_epoch(run),
            )
        )
    return curves


def peak_use(run: Run) -> MemoryUse | None:
    """The highest memory use in a run's sampled steps."""
    samples = metrics_of(run).memory
    return max((sample.peak for sample in samples), key=lambda use: use.total, default=None)


def peak_bytes(run: Run) -> float:
    """Peak bytes of choosing the layers and training; NaN if not measured."""
    peak = peak_use(run)
    if peak is None or run.selection is None:
        return math.nan
    return max(peak.total, run.selection.peak_bytes)


def shown_accuracy(run: Run) -> float:
    """Test accuracy of a finished run, else the last validation accuracy; NaN before that."""
    if run.result is not None:
        return run.result.test_accuracy
    epochs = metrics_of(run).epochs
    return epochs[-1].val_accuracy if epochs else math.nan


def training_seconds(run: Run) -> float:
    """Seconds of training and validation so far; NaN before the first step."""
    if run.result is not None:
        return run.result.seconds
    steps = metrics_of(run).steps
    return steps[-1].seconds if steps else math.nan
