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

TARGET_SECONDS = 10.0
COMMAND = "analyze --model pocket-resnet20 --dataset digits --samples 400"


@dataclass(frozen=True)
class PocketResult:
    whole_seconds: float  # of the command, its imports included; median
    analysis_seconds: float  # as the report states it; median


def measure(repeats: int) -> PocketResult:
    """Run the command in fresh processes, each with an empty store."""
    pairs = [_run_once() for _ in range(repeats)]
    return PocketResult(*(median(values) for values in zip(*pairs, strict=True)))


def show(result: PocketResult) -> None:
    rows = [
        ["the analysis", f"{result.analysis_seconds:.1f}", "", ""],
        [
            "the whole command",
            f"{result.whole_seconds:.1f}",
            f"≤ {TARGET_SECONDS:g}",
            verdict(result.whole_seconds <= TARGET_SECONDS),
        ],
    ]
    show_table(["pocket-resnet20, 400 images", "median s", "target", ""], rows)


def _run_once() -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as home:
        result = Path(home) / "result.json"
        arguments = [*COMMAND.split(), "--json", str(result)]
        start = time.perf_counter()
        run_python("-m", "analysis", *arguments, environment={"BETTISCOPE_HOME": home})
        whole = time.perf_counter() - start
        return whole, float(json.loads(result.read_text(encoding="utf-8"))["seconds"])
