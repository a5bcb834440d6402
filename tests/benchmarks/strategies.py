"""The accuracy and cost of every strategy over several seeds, by the command line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from analysis.selection.strategies import STRATEGIES
from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_markdown, show_table, verdict

COMMAND = (
    "finetune --model pocket-resnet20 --dataset digits --train-samples 500 --epochs 8 --rho 0.1"
)
SEEDS = (0, 1, 2)
FULL_REACHES = 0.95  # mean test accuracy
ADABET_OVER_HEAD = 0.10  # of mean test accuracy
MB = 1e6  # bytes
_NEEDS = {"weights": "weights", "labels": "labels", "gradients": "labels, gradients"}
HEAD = [
    "strategy",
    "trained %",
    "test accuracy %",
    "last validation %",
    "peak MB",
    "training s",
    "choosing s",
    "choosing MB",
    "needs",
]


@dataclass(frozen=True)
class StrategyResult:
    """Lists have one entry per seed."""

    strategy: str
    trained: list[float]  # share of the parameters, in (0, 1]
    test_accuracy: list[float]  # of the last weights, in [0, 1]
    validation_accuracy: list[float]  # after the last epoch, in [0, 1]
    peak_bytes: list[int]  # of the sampled steps, measured
    seconds: list[float]  # of training and validation
    selection_seconds: list[float]
    selection_bytes: list[int]  # peak while choosing, measured
    labels: bool  # whether the choice needed labels and a backward pass


def measure(say: Callable[[str], None]) -> list[StrategyResult]:
    """Train with every strategy from every seed, each in a fresh process with nothing saved."""
    return [_measure_strategy(strategy, say) for strategy in STRATEGIES]


def show(results: list[StrategyResult]) -> None:
    """Print the table as text, then as Markdown, then the accuracies beside their targets."""
    rows = [_row(result) for result in results]
    show_table(HEAD, rows)
    print(
        f"Mean ± sample standard deviation over the seeds {', '.join(map(str, SEEDS))}; the rest: "
        "medians."
    )
    print()
    show_markdown(HEAD, rows)
    print()
    reached = {result.strategy: mean(result.test_accuracy) for result in results}
    aims = (
        ("full", reached["full"], FULL_REACHES),
        ("adabet - head", reached["adabet"] - reached["head"], ADABET_OVER_HEAD),
    )
    show_table(
        ["mean test accuracy", "measured", "target", ""],
        [
            [what, f"{value:.3f}", f"≥ {target:.2f}", verdict(value >= target)]
            for what, value, target in aims
        ],
    )


def _measure_strategy(strategy: str, say: Callable[[str], None]) -> StrategyResult:
    runs = []
    for seed in SEEDS:
        say(f"{strategy} · seed {seed}")
        runs.append(_run_once(strategy, seed))
    selections = [run["selection"] for run in runs]
    return StrategyResult(
        strategy=strategy,
        trained=[run["trainable_parameters"] / run["total_parameters"] for run in runs],
        test_accuracy=[run["test_accuracy"] for run in runs],
        validation_accuracy=[run["last_val_accuracy"] for run in runs],
        peak_bytes=[run["peak_memory"]["total"] for run in runs],
        seconds=[run["seconds"] for run in runs],
        selection_seconds=[selection["seconds"] for selection in selections],
        selection_bytes=[selection["peak_bytes"] for selection in selections],
        labels=any(selection["used_labels"] for selection in selections),
    )


def _run_once(strategy: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "result.json"
        arguments = [*COMMAND.split(), "--strategy", strategy, "--seed", str(seed)]
        arguments += ["--json", str(path)]
        run_python("-m", "analysis", *arguments, environment={"BETTISCOPE_HOME": home})
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return result


def _row(result: StrategyResult) -> list[str]:
    return [
        result.strategy,
        f"{100 * median(result.trained):.1f}",
        _spread(result.test_accuracy),
        _spread(result.validation_accuracy),
        f"{median(result.peak_bytes) / MB:.1f}",
        f"{median(result.seconds):.1f}",
        f"{median(result.selection_seconds):.2f}",
        f"{median(result.selection_bytes) / MB:.1f}",
        _NEEDS.get(STRATEGIES[result.strategy].needs, ""),
    ]


def _spread(accuracies: list[float]) -> str:
    return f"{100 * mean(accuracies):.1f} ± {100 * stdev(accuracies):.1f}"
