"""Time and added peak memory against a bare forward pass and against the plain recipe.

Ours and the bare pass run alone and beside busy neighbours, in turns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.benchmarks.process import busy_neighbours, run_module
from tests.benchmarks.table import show_table, verdict
from tests.benchmarks.variants import BATCH, IMAGES, SIDE, VARIANTS


@dataclass(frozen=True)
class Target:
    """What a model must reach."""

    speedup: float  # plain seconds / ours, at least
    slowdown: float  # our seconds / bare, at most
    memory: float | None  # our added bytes / plain, at most; None: no target


TARGETS = {
    "resnet50": Target(speedup=5.0, slowdown=1.4, memory=0.35),
    "mobilenet_v2": Target(speedup=5.0, slowdown=1.6, memory=0.35),
    "vgg16": Target(speedup=1.5, slowdown=0.9, memory=None),
    "vit_b_16": Target(speedup=1.5, slowdown=1.15, memory=None),
}
# Beside busy neighbours ours may slow down by this much more than the bare pass does.
BUSY_TARGET = 1.25
BESIDE_BUSY = ("bare", "ours")
# A process that has just started is served before its neighbours for about a second, which is all
# that some bare passes take. In the seconds after it the cores are shared fairly.
BUSY_SECONDS = 10


@dataclass(frozen=True)
class ModelResult:
    """Medians over the repeats."""

    model: str
    seconds: dict[str, float]  # by variant
    added_bytes: dict[str, float]  # by variant, peak resident memory above that of the loaded model
    all_seconds: dict[str, list[float]]  # by variant, each repeat
    busy_seconds: dict[str, float]  # by variant, beside busy neighbours; empty if one did not run
    layers: int | None  # None if only one recipe ran
    other_betti: dict[str, list[float | None]]  # by layer where they differ: plain's, ours

    def ratio(self, over: str, kind: str = "seconds") -> float | None:
        """Ours divided by another variant, or None if one of them did not run."""
        values: dict[str, float] = getattr(self, kind)
        if "ours" not in values or over not in values:
            return None
        return values["ours"] / max(values[over], 1.0 if kind == "added_bytes" else 1e-9)

    def slowed(self, variant: str) -> float:
        """How many times longer a variant takes beside busy neighbours."""
        return self.busy_seconds[variant] / max(self.seconds[variant], 1e-9)


def measure(
    models: list[str], variants: list[str], repeats: int, say: Callable[[str], None]
) -> list[ModelResult]:
    """Run each variant in fresh processes, in turns."""
    return [_measure_model(model, variants, repeats, say) for model in models]


def _measure_model(
    model: str, variants: list[str], repeats: int, say: Callable[[str], None]
) -> ModelResult:
    beside = BESIDE_BUSY if {*BESIDE_BUSY} <= {*variants} else ()
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    busy: dict[str, list[float]] = {variant: [] for variant in beside}
    for repeat in range(repeats):
        for variant in variants:
            say(f"{model} · {variant} · {repeat + 1} of {repeats}")
            runs[variant].append(run_module("tests.benchmarks.variants", model, variant))
        for variant in beside:
            say(f"{model} · {variant} beside busy neighbours · {repeat + 1} of {repeats}")
            with busy_neighbours():
                run = run_module(
                    "tests.benchmarks.variants", model, variant, "--least", str(BUSY_SECONDS)
                )
            busy[variant].append(run["seconds"])
    layers, other = None, {}
    if {"plain", "ours"} <= runs.keys():
        expected, measured = runs["plain"][0]["betti"], runs["ours"][0]["betti"]
        names = list(expected | measured)
        pairs = {name: [expected.get(name), measured.get(name)] for name in names}
        layers, other = (
            len(names),
            {name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        )
    return ModelResult(
        model=model,
        seconds={v: median(r["seconds"] for r in runs[v]) for v in variants},
        added_bytes={v: median(r["added_bytes"] for r in runs[v]) for v in variants},
        all_seconds={v: [r["seconds"] for r in runs[v]] for v in variants},
        busy_seconds={v: median(busy[v]) for v in beside},
        layers=layers,
        other_betti=other,
    )


def show(results: list[ModelResult]) -> None:
    """Print what was measured, then the ratios beside the targets."""
    print(f"{IMAGES} images of {SIDE}², random weights; bare pass in batches of {BATCH}.\n")
    measured = [
        [
            result.model,
            *(_seconds(result.seconds.get(v)) for v in VARIANTS),
            *(_seconds(result.busy_seconds.get(v)) for v in BESIDE_BUSY),
            *(_megabytes(result.added_bytes.get(v)) for v in VARIANTS),
            _agreement(result),
        ]
        for result in results
    ]
    head = ["model", *(f"{v} s" for v in VARIANTS), *(f"{v} busy s" for v in BESIDE_BUSY)]
    head += [*(f"{v} MB" for v in VARIANTS), "same b₁"]
    show_table(head, measured)
    print(
        "s: wall time of one pass. MB: peak resident memory (VmHWM) less what the process held\n"
        "with model and images loaded (VmRSS). Busy: beside one spinning process a core. Medians.\n"
        "same b₁: layers where ours is plain's.\n"
    )
    for result in results:
        for layer, (plain, ours) in result.other_betti.items():
            print(f"{result.model} {layer}: b₁ is {plain} by the plain recipe, {ours} by ours")
    rows = [row for result in results if result.model in TARGETS for row in _targets(result)]
    show_table(["model", "ratio", "measured", "target", ""], rows)


def _targets(result: ModelResult) -> list[list[str]]:
    target = TARGETS[result.model]
    time_of_plain, time_of_bare = result.ratio("plain"), result.ratio("bare")
    memory = result.ratio("plain", "added_bytes")
    rows = []
    if time_of_plain is not None:
        speedup = 1 / time_of_plain
        rows.append(["plain time / ours", f"{speedup:.2f}", f"≥ {target.speedup:g}"])
        rows[-1].append(verdict(speedup >= target.speedup))
    if time_of_bare is not None:
        rows.append(["our time / bare", f"{time_of_bare:.2f}", f"≤ {target.slowdown:g}"])
        rows[-1].append(verdict(time_of_bare <= target.slowdown))
    if result.busy_seconds:
        more = result.slowed("ours") / result.slowed("bare")
        row = ["our slowdown beside busy neighbours / bare's", f"{more:.2f}"]
        rows.append([*row, f"≤ {BUSY_TARGET:g}", verdict(more <= BUSY_TARGET)])
    if memory is not None:
        limit = "-" if target.memory is None else f"≤ {target.memory:g}"
        rows.append(["our memory / plain", f"{memory:.3f}", limit])
        rows[-1].append("" if target.memory is None else verdict(memory <= target.memory))
    return [[result.model, *row] for row in rows]


def _agreement(result: ModelResult) -> str:
    if result.layers is None:
        return "-"
    return f"{result.layers - len(result.other_betti)} of {result.layers}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.0f}"
