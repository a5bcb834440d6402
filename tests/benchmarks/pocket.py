"""How long the command line takes for pocket-resnet20 with 400 images."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_table, verdict

TARGET_SECONDS, STORED_SECONDS = 7.0, 2.0
COMMAND = "analyze --model pocket-resnet20 --dataset digits --samples 400"


@dataclass(frozen=True)
class PocketResult:
    whole_seconds: float  # of the command, its imports included; median
    analysis_seconds: float  # as the report states it; median
    stored_seconds: float  # of the same command again, which finds the analysis stored; median


def measure(repeats: int) -> PocketResult:
    """Run the command in fresh processes, each with an empty store."""
    runs = [_run_twice() for _ in range(repeats)]
    return PocketResult(*(median(values) for values in zip(*runs, strict=True)))


def show(result: PocketResult) -> None:
    rows = [
        ["the analysis", f"{result.analysis_seconds:.1f}", "", ""],
        [
            "the whole command",
            f"{result.whole_seconds:.1f}",
            f"≤ {TARGET_SECONDS:g}",
            verdict(result.whole_seconds <= TARGET_SECONDS),
        ],
        [
            "the command again, stored",
            f"{result.stored_seconds:.1f}",
            f"≤ {STORED_SECONDS:g}",
            verdict(result.stored_seconds <= STORED_SECONDS),
        ],
    ]
    show_table(["pocket-resnet20, 400 images", "median s", "target", ""], rows)


def _run_twice() -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as home:
        result = Path(home) / "result.json"
        whole, stored = (_seconds_of_command(home, result) for _ in range(2))
        seconds = float(json.loads(result.read_text(encoding="utf-8"))["seconds"])
        return whole, seconds, stored


def _seconds_of_command(home: str, result: Path) -> float:
    arguments = [*COMMAND.split(), "--json", str(result)]
    start = time.perf_counter()
    run_python("-m", "analysis", *arguments, environment={"BETTISCOPE_HOME": home})
    return time.perf_counter() - start
