"""Runs in a store as workers write them, without the training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

from analysis.instruments.memory_use import MemoryUse
from analysis.options import RunOptions
from analysis.runs.store import Ending, Run, RunStore
from analysis.system.processes import ProcessId
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    MemorySample,
    Predictions,
    Selection,
    StepMetrics,
)


def run_options(strategy: str, seed: int = 0, **others: object) -> RunOptions:
    """The default run with another strategy and seed."""
    default = RunOptions()
    settings = {
        "strategy": strategy,
        "analysis": replace(default.analysis, seed=seed),
        "recipe": replace(default.recipe, seed=seed),
    }
    return replace(default, **(settings | others))  # type: ignore[arg-type]


def finished_run(
    store: RunStore,
    options: RunOptions | None = None,
    *,
    accuracy: float = 0.9,
    correct: Sequence[bool] = (),
    peak: int = 10_000_000,
    ending: Ending | None = None,
    layers: tuple[str, ...] = ("layer3.2.bn2", "fc"),
) -> Run:
    """A run as a worker writes it; done with `accuracy` unless `ending` says otherwise.

    `correct` says of each test image whether it is classified correctly, and gives the accuracy.
    Without it the run has no predictions, as those of earlier versions.
    """
    predictions = None
    if len(correct):
        accuracy = sum(correct) / len(correct)
        predictions = Predictions((1,) * len(correct), tuple(int(hit) for hit in correct))
    worker = ProcessId.of(os.getpid())
    with patch.object(RunStore, "has_queued", lambda _: False):  # else the page's queue takes it
        (run_id,) = store.add([options or RunOptions()])
        assert store.claim_next(worker, worker, limit=1) == run_id, "another run was waiting"
    use = MemoryUse(parameters=peak // 2, activations=peak - peak // 2)
    selection = Selection(layers, 1000, 10_000, 0.25, 3_000_000, False, False, "sgd", use)
    step = StepMetrics(1, 1, 2.0, 0.25, 0.05, 32, 0.5, True)
    epoch = EpochMetrics(1, 1.5, 0.5, 1.25, accuracy, 1.0)
    result = FinetuneResult(accuracy, 1, accuracy, accuracy, use, 1.5, predictions)
    sample = MemorySample(1, 1, use, 400_000_000, None)
    store.record(
        run_id,
        worker,
        [selection, step, sample, epoch],
        ending=ending or Ending("done", result=result),
    )
    run = store.run(run_id)
    assert run is not None
    return run
