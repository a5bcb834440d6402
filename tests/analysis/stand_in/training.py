"""Stands in for `analysis.training.fine_tune`.

The run's `train_samples` is the index of its kind in `KINDS`.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analysis.errors import StoreError, TrainingError
from analysis.instruments.memory_use import MemoryUse
from analysis.options import RunOptions
from analysis.system.home import home
from analysis.training.followed import FollowedTopology
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    MemorySample,
    Metric,
    Selection,
    StepMetrics,
)
from tests.analysis.run_faults import KINDS

PEAK = MemoryUse(parameters=1, gradients=2, optimizer=3, activations=4, other=5)
SELECTION = Selection(("fc", "conv"), 10, 100, 0.5, 1000, True, False, predicted=PEAK)
RESULT = FinetuneResult(0.75, 2, 0.5, 0.625, PEAK, 1.5)
STEPS = 5  # an epoch


class Training:
    device = "a device"

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.fingerprints = {"model": "m", "data": "d"}

    def __iter__(self) -> Iterator[Selection | Metric | FollowedTopology]:
        _log(self.options, "begins")
        kind = KINDS[self.options.train_samples]
        if kind == "killed" and self.options.recipe.seed == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "training error":
            raise TrainingError("`train_samples` must be at most 7.")
        if kind == "unexpected error":
            raise ZeroDivisionError("a bug")
        if kind == "out of memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        yield SELECTION
        epochs = 10_000 if kind == "long" else self.options.recipe.epochs
        for step in range(1, epochs * STEPS + 1):
            epoch = (step - 1) // STEPS + 1
            loss = math.nan if kind == "diverges" else 1 / step
            yield StepMetrics(step, epoch, loss, 0.5, 0.1, 32, step / 10, step == 1)
            if step == 1:
                yield MemorySample(step, epoch, PEAK, 123, None)
            if step % STEPS == 0:
                yield EpochMetrics(epoch, loss, 0.5, 0.9, 0.6, 0.5)
            if kind == "ignores stop":
                time.sleep(600)
            if kind == "starts a process" and step == 1:  # as Ripser does
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
                _log(self.options, "has", child.pid)
            if kind in ("waits", "starts a process") and step == 2:
                _wait()
            time.sleep(0.02)
        loops = np.array([[1.0, 2.0]], np.float32)
        yield FollowedTopology(32, (0, epochs), {"conv": (loops, loops[:0])})
        yield RESULT
        _log(self.options, "ends")

    def save_weights(self, path: Path) -> None:
        kind = KINDS[self.options.train_samples]
        if kind == "cannot save":
            raise StoreError("No room.")
        if kind == "no memory to save":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        if kind == "no space to save" and not (home() / "go").exists():
            raise StoreError("No room.") from OSError(errno.ENOSPC, "full")
        if kind == "slow to save":
            _wait()
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"weights" * 1000)
        except OSError as error:
            raise StoreError("No room for the weights.") from error


def _wait() -> None:
    while not (home() / "go").exists():
        time.sleep(0.02)


def _log(options: RunOptions, what: str, pid: int = 0) -> None:
    line = f"{time.monotonic()} {options.recipe.seed} {what} {pid or os.getpid()}\n"
    with (home() / "log").open("a") as file:
        file.write(line)
