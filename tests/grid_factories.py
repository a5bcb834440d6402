"""Runs of a grid's cells as a sweep saves them, without the training."""

from __future__ import annotations

import time
from collections.abc import Callable

from analysis.datasets import dataset_spec
from analysis.instruments.memory_use import MemoryUse
from analysis.models import weights_fingerprint
from analysis.options import RunOptions
from analysis.runs.records import SWEPT, Ending, Outcome, Run
from analysis.runs.store import RunStore
from analysis.sweeps.grid import Grid
from analysis.training.metrics import FinetuneResult, Selection

PREDICTED = 1.25  # times the measured memory


def outcome(
    options: RunOptions, *, accuracy: float = 0.9, peak: int = 10_000_000, seconds: float = 8.0
) -> Outcome:
    """A done cell, 2 s before training, of which choosing the layers took 0.5 s."""
    analysis, now = options.analysis, time.time()
    use = MemoryUse(parameters=peak)
    predicted = MemoryUse(parameters=round(PREDICTED * peak))
    return Outcome(
        Ending(
            "done", result=FinetuneResult(accuracy, 1, accuracy, accuracy, use, seconds), at=now
        ),
        started=now - seconds - 2.0,
        selection=Selection(("fc",), 10, 100, 0.5, 1000, False, False, "sgd", predicted),
        fingerprints={
            "model": weights_fingerprint(analysis.model, analysis.weights, analysis.seed),
            "data": dataset_spec(analysis.dataset).fingerprint(),
        },
    )


def keep_cell(store: RunStore, options: RunOptions, **numbers: float) -> Run:
    """Save a done cell in the store."""
    result = outcome(options, **numbers)  # type: ignore[arg-type]
    run = store.run(store.keep(options, result, group=f"{SWEPT}test"))
    assert run is not None
    return run


def fill(
    store: RunStore,
    grid: Grid,
    accuracy: Callable[[RunOptions], float],
    peak: Callable[[RunOptions], int],
) -> list[Run]:
    """Every cell of a grid, done."""
    return [
        keep_cell(store, cell, accuracy=accuracy(cell), peak=peak(cell)) for cell in grid.cells()
    ]
