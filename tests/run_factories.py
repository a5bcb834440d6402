"""Runs in a store as workers write them, without the training."""

from __future__ import annotations

import os
from dataclasses import replace

from analysis.instruments.memory_use import MemoryUse
from analysis.options import RunOptions
from analysis.runs.store import Ending, Run, RunStore
from analysis.system.processes import ProcessId
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    MemorySample,
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
    peak: int = 10_000_000,
    ending: Ending | None = None,
    layers: tuple[str, ...] = ("layer3.2.bn2", "fc"),
) -> Run:
    """A run as a worker writes it; done with `accuracy` unless `ending` says otherwise."""
    worker = ProcessId.of(os.getpid())
    (run_id,) = store.add([options or RunOptions()])
    assert store.claim_next(worker, worker, limit=1) == run_id, "another run was waiting"
    use = MemoryUse(parameters=peak // 2, activations=peak - peak // 2)
    selection = Selection(layers, 1000, 10_000, 0.25, 3_000_000, False, False, "sgd", use)
    step = StepMetrics(1, 1, 2.0, 0.25, 0.05, 32, 0.5, True)
    epoch = EpochMetrics(1, 1.5, 0.5, 1.25, accuracy, 1.0)
    result = FinetuneResult(accuracy, 1, accuracy, accuracy, use, 1.5)
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
