"""The memory of training: predicted, measured, and by the paper's analytic model.

`python -m tests.benchmarks.memory MODEL` measures one model, so that its memory is freed at the
end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import groupby

from analysis.options import Recipe
from analysis.training.loop import finetune
from analysis.training.metrics import FinetuneResult
from analysis.training.prediction import ANALYTIC_BATCH, analytic_bytes, predict_peak
from tests.benchmarks.process import run_module
from tests.benchmarks.subjects import batch_of, frozen_model, images_for
from tests.benchmarks.table import show_table, verdict

MODELS = (
    "pocket-resnet20",
    "pocket-vgg",
    "pocket-mobilenetv2",
    "pocket-vit",
    "resnet50",
    "mobilenet_v2",
)
STRATEGIES = ("full", "adabet", "head")
TOLERANCE = 0.01  # of the measured peak
MB = 1e6  # bytes


@dataclass(frozen=True)
class MemoryResult:
    """Bytes at the peak of a training step."""

    model: str
    strategy: str
    batch: int  # images
    predicted: int
    measured: int
    analytic: int  # by the model behind the paper's figures, for batches of `ANALYTIC_BATCH`


def measure(say: Callable[[str], None]) -> list[MemoryResult]:
    """Measure each model in a fresh process."""
    results = []
    with tempfile.TemporaryDirectory() as home:
        for model in MODELS:
            say(f"memory of {model}")
            environment = {"BETTISCOPE_HOME": home}
            answers = run_module("tests.benchmarks.memory", model, environment=environment)
            results += [MemoryResult(**answer) for answer in answers]
    return results


def show(results: list[MemoryResult]) -> None:
    rows = []
    for _, group in groupby(results, key=lambda result: result.model):
        full, *others = group
        rows += [_row(result, full) for result in (full, *others)]
    head = ["model", "strategy", "batch", "predicted MB", "measured MB", "ratio", "target", ""]
    show_table([*head, "saved", "analytic MB", "analytic saved"], rows)
    print(
        "Peak of live tensor bytes in a training step. ratio: predicted / measured. saved: against "
        "full\ntraining, measured. analytic: the model behind the paper's figures, after "
        f"TinyTL (frozen\nweights at 4 bit, batches of {ANALYTIC_BATCH}, no gradients or optimiser "
        "state). Do not compare it with the others."
    )


def _row(result: MemoryResult, full: MemoryResult) -> list[str]:
    ratio = result.predicted / result.measured
    part = result is not full
    return [
        result.model,
        result.strategy,
        str(result.batch),
        f"{result.predicted / MB:.2f}",
        f"{result.measured / MB:.2f}",
        f"{ratio:.4f}",
        f"1 ± {TOLERANCE:g}",
        verdict(abs(ratio - 1) <= TOLERANCE),
        f"{1 - result.measured / full.measured:.1%}" if part else "",
        f"{result.analytic / MB:.2f}",
        f"{1 - result.analytic / full.analytic:.1%}" if part else "",
    ]


def measure_model(model: str) -> list[MemoryResult]:
    """Predict and take two steps with each strategy; the optimiser has state in the second."""
    batch = batch_of(model)
    train, one = images_for(model, "train", 2 * batch), images_for(model, "validation", 1)
    shape = tuple(train.tensor.shape[1:])
    recipe = Recipe(epochs=1, batch_size=batch)
    results = []
    for strategy in STRATEGIES:
        network = frozen_model(model, strategy)
        trained = {name for name, p in network.named_parameters() if p.requires_grad}
        predicted = predict_peak(network, shape, trained=trained, recipe=recipe)
        analytic = analytic_bytes(network, shape, trained=trained)
        *_, last = finetune(network, train, one, one, recipe=recipe)
        assert isinstance(last, FinetuneResult)
        assert last.peak_memory is not None
        measured = last.peak_memory.total
        results.append(MemoryResult(model, strategy, batch, predicted.total, measured, analytic))
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=MODELS)
    print(json.dumps([asdict(result) for result in measure_model(parser.parse_args().model)]))
