"""Many images within a budget of memory: time, peak, and the same numbers as in one pass.

`python -m tests.benchmarks.large PART` measures one part, so that its memory is freed at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import psutil

from analysis.datasets import load_dataset
from analysis.models import load_model, prepare_images
from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.topology.pipeline import analyze, analyze_named
from tests.benchmarks.process import run_module
from tests.benchmarks.table import show_table, verdict

MODEL, DATASET, WEIGHTS = "resnet50", "digits", "random"
SAMPLES, BUDGET = 400, 4_000_000_000  # images, and bytes of the whole process
FEW, TIGHT = 48, 350_000_000  # images that fit one pass, and a limit in bytes that needs several
TOLERANCE = 1e-5  # of a distance


@dataclass(frozen=True)
class WithinBudget:
    """An analysis that does not fit into one pass."""

    seconds: float
    peak_bytes: int  # resident, of the process that runs the model
    ripser_bytes: int  # resident at the end, of the processes that run Ripser beside it
    passes: int


@dataclass(frozen=True)
class SameNumbers:
    """Several passes against one over the same images."""

    passes: int
    largest_difference: float  # of a distance, relative to it
    other_b1: list[str]  # layers whose b₁ differs
    seconds_of_one: float
    seconds: float


@dataclass(frozen=True)
class LargeResult:
    """The cost of many images, and a comparison of the numbers with those of one pass."""

    large: WithinBudget
    same: SameNumbers


def measure(say: Callable[[str], None]) -> LargeResult:
    """Measure both parts in fresh processes."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"BETTISCOPE_HOME": home}
        say(f"{MODEL}, {FEW} images in one pass and in several")
        same = run_module("tests.benchmarks.large", "same", environment=environment)
        say(f"{MODEL}, {SAMPLES} images within {BUDGET / 1e9:g} GB")
        large = run_module("tests.benchmarks.large", "budget", environment=environment)
    return LargeResult(WithinBudget(**large), SameNumbers(**same))


def show(result: LargeResult) -> None:
    """Print the measured numbers beside their targets."""
    large, same = result.large, result.same
    print(
        f"{MODEL} ({WEIGHTS} weights) on {SAMPLES} images of {DATASET}: {large.passes} passes, "
        f"{large.seconds:.0f} s.\n{FEW} images in {same.passes} passes: {same.seconds:.1f} s, "
        f"in one {same.seconds_of_one:.1f} s.\n"
    )
    rows = [
        ["peak of the process, GB", f"{large.peak_bytes / 1e9:.2f}", f"≤ {BUDGET / 1e9:g}"],
        ["processes of Ripser, GB", f"{large.ripser_bytes / 1e9:.2f}", "-", ""],
        ["several passes against one", f"{same.largest_difference:.1e}", f"≤ {TOLERANCE:g}"],
        ["layers with another b₁", f"{len(same.other_b1)}", "0"],
    ]
    rows[0].append(verdict(large.peak_bytes <= BUDGET))
    rows[2].append(verdict(same.largest_difference <= TOLERANCE))
    rows[3].append(verdict(not same.other_b1))
    show_table(["", "measured", "target", ""], rows)


class _Passes:
    """Counts the passes of an analysis from its progress."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, progress: Progress) -> None:
        self.count = progress.total // progress.layers - 1


def _within_budget() -> WithinBudget:
    passes, begun = _Passes(), time.perf_counter()
    options = AnalysisOptions(
        model=MODEL, dataset=DATASET, weights=WEIGHTS, samples=SAMPLES, memory=BUDGET
    )
    analyze_named(options, progress=passes)
    seconds = time.perf_counter() - begun
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
    ripser = [child.memory_info().rss for child in psutil.Process().children(recursive=True)]
    return WithinBudget(seconds, own, sum(ripser), passes.count)


def _same_numbers() -> SameNumbers:
    drawn = load_dataset(DATASET).sample(FEW, seed=0)
    model = load_model(MODEL, weights=WEIGHTS)
    images = prepare_images(MODEL, drawn.images, weights=WEIGHTS)
    passes = _Passes()
    one, several = (analyze(model, images, memory=memory, progress=passes) for memory in (0, TIGHT))
    worst = 0.0
    for a, b in zip(one.layers, several.layers, strict=True):
        apart = a.distances > 0
        relative = np.abs(a.distances - b.distances)[apart] / a.distances[apart]
        worst = max(worst, float(relative.max(initial=0)))
    other = [a.name for a, b in zip(one.layers, several.layers, strict=True) if a.b1 != b.b1]
    return SameNumbers(passes.count, worst, other, one.seconds, several.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("budget", "same"))
    part = parser.parse_args().part
    print(json.dumps(asdict(_within_budget() if part == "budget" else _same_numbers())))


if __name__ == "__main__":
    main()
