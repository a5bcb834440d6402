"""How the items of a training become one record."""

from __future__ import annotations

from analysis.instruments.memory_use import MemoryUse
from analysis.runs.records import Ending, RunMetrics, TrainingLog
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    MemorySample,
    Selection,
    StepMetrics,
)

SELECTION = Selection(("fc",), 10, 100, 0.5, 1000, False, False)
STEPS = tuple(StepMetrics(number, 1, 0.5, 0.5, 0.1, 32, 1.0, False) for number in (1, 2))
SAMPLE = MemorySample(1, 1, MemoryUse(), 123, None)
EPOCH = EpochMetrics(1, 1.5, 0.5, 1.25, 0.75, 1.0)
RESULT = FinetuneResult(0.75, 1, 0.75, 0.625, MemoryUse(), 1.5)


def test_a_training_log_sorts_items_by_kind() -> None:
    log = TrainingLog()
    for item in (SELECTION, STEPS[0], SAMPLE, STEPS[1], EPOCH, RESULT):
        log.add(item)
    assert log.selection == SELECTION
    assert log.metrics == RunMetrics(steps=STEPS, epochs=(EPOCH,), memory=(SAMPLE,))
    assert log.result == RESULT
    assert log.ending == Ending("done", result=RESULT)


def test_a_training_without_a_result_has_failed() -> None:
    log = TrainingLog()
    log.add(SELECTION)
    log.add(STEPS[0])
    assert log.ending == Ending("failed", "The training ended without a result.")
    assert log.metrics == RunMetrics(steps=STEPS[:1])
