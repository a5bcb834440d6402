"""The names of runs, and the numbers that several pages show of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.instruments.memory_use import MemoryUse
from analysis.options import batch_sizes
from analysis.runs.store import Run, RunMetrics
from analysis.selection.strategies import idle_settings, title_of
from analysis.text import plural
from app.cache import ended_metrics, run_queue
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
    return title_of(run.options.strategy)


@dataclass(frozen=True)
class Setting:
    """One thing in which runs may differ."""

    title: str  # of a column or a filter
    value: Callable[[Run], float | str | None]  # None where it plays no part
    text: str  # in a name, with the value in place of {}


def _choosing(name: str) -> Callable[[Run], float | str | None]:
    """A field of the options, where it plays a part in the choice."""

    def value(run: Run) -> float | str | None:
        idle = name in idle_settings(run.options)
        field: float | str = getattr(run.options, name)
        return None if idle else field

    return value


NORMALIZATION = Setting("Normalisation", _choosing("normalization"), "by {}")
SUMMARY = Setting("Score from", _choosing("summary"), "from {}")
SHORTEST = Setting("Shortest loop", _choosing("min_persistence"), "loops from {:g}")
PRESET = Setting("Preset", lambda run: run.options.preset, "preset {}")
RHO = Setting("ρ", _choosing("rho"), "ρ = {:.2f}")
ALSO = Setting("Also trains", lambda run: ", ".join(run.options.also_train) or None, "with {}")
SETTINGS = (
    Setting("Model", lambda run: run.options.analysis.model, "{}"),
    Setting("Weights", lambda run: weights_name(run.options.analysis.weights), "{}"),
    Setting("Dataset", lambda run: data_text(run.options.analysis), "{}"),
    NORMALIZATION,
    SUMMARY,
    SHORTEST,
    PRESET,
    RHO,
    ALSO,
    Setting("Images", lambda run: run.options.train_samples, "{} images"),
    Setting("Epochs", lambda run: run.options.recipe.epochs, "{} epochs"),
    Setting("Batch", lambda run: run.options.recipe.batch_size, "batches of {}"),
)
SEED = Setting("Seed", lambda run: run.options.recipe.seed, "seed {}")


def names_of(runs: Sequence[Run], *, with_seeds: bool = True) -> dict[str, str]:
    """The shortest names, by id, that distinguish these runs: what differs, and no more."""
    parts = {run.id: [strategy_title(run)] for run in runs}
    for setting in (*SETTINGS, *([SEED] if with_seeds else [])):
        values = {run.id: setting.value(run) for run in runs}
        if len(set(values.values()) - {None}) > 1:
            for run_id, value in values.items():
                if value is not None:
                    parts[run_id].append(setting.text.format(value))
    names = {run_id: " · ".join(texts) for run_id, texts in parts.items()}
    counts = Counter(names.values())
    return {
        run.id: names[run.id] + (f" · #{run.number}" if counts[names[run.id]] > 1 else "")
        for run in runs
    }


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
