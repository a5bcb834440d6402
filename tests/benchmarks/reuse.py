"""The time of a fine-tune whose frozen part runs once, against the plain loop.

`python -m tests.benchmarks.reuse` measures both in turns in one process.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from statistics import median

import torch
from torch import nn

from analysis.options import Recipe
from analysis.training.freezing import owner_of
from analysis.training.loop import finetune
from analysis.training.metrics import EpochMetrics, FinetuneResult, FrozenPart
from analysis.training.splits import TensorImages
from tests.benchmarks.process import run_module
from tests.benchmarks.subjects import frozen_model, images_for
from tests.benchmarks.table import show_table, verdict

MODELS, STRATEGIES = (
    ("pocket-resnet20", "pocket-mobilenetv2", "pocket-vit"),
    ("adabet", "last", "head"),
)
TRAIN_IMAGES, RECIPE, TURNS = 500, Recipe(epochs=8), 2
LARGE, LARGE_IMAGES, LARGE_RECIPE = "resnet50", 64, Recipe(epochs=4, batch_size=8)
# How many times faster: epochs after the first, and the whole training.
TARGETS = {
    ("pocket-resnet20", "adabet"): (2.5, 2.0),
    ("pocket-resnet20", "head"): (30.0, 6.0),
    (LARGE, "last"): (3.0, 0.0),
}
_SAME = 1e-4


@dataclass(frozen=True)
class Reuse:
    """One network and strategy; seconds of the plain loop, and with reuse: medians over turns."""

    model: str
    strategy: str
    first_trained: str  # the earliest trained layer, which limits what is saved
    epoch: tuple[float, float]  # a later epoch
    training: tuple[float, float]  # all epochs, with validation
    whole: tuple[float, float]  # with the test, which runs the whole network in both
    cut: float  # preparing the reuse
    difference: float  # largest, in the losses
    said: str


def measure() -> list[Reuse]:
    """Train all subjects in a fresh process."""
    with tempfile.TemporaryDirectory() as home:
        answer = run_module("tests.benchmarks.reuse", environment={"BETTISCOPE_HOME": home})
    return [Reuse(**subject) for subject in answer]


def show(results: list[Reuse]) -> None:
    rows = []
    for result in results:
        epoch, training, whole = (
            pair[0] / pair[1] for pair in (result.epoch, result.training, result.whole)
        )
        targets = TARGETS.get((result.model, result.strategy))
        reached = targets and epoch >= targets[0] and training >= targets[1]
        rows.append(
            [
                result.model,
                result.strategy,
                result.first_trained,
                f"{1000 * result.epoch[0]:.0f} / {1000 * result.epoch[1]:.0f}",
                f"{epoch:.1f}",
                f"{training:.1f}",
                f"{whole:.1f}",
                f"{result.cut:.2f}",
                f"{result.difference:.0e}",
                f"≥ {targets[0]:g}, {targets[1]:g}" if targets else "",
                verdict(bool(reached)) if targets else "",
            ]
        )
    head = ["model", "strategy", "trains from", "epoch ms", "epoch ×", "training ×", "with test ×",
            "cut s", "differs", "target", ""]  # fmt: skip
    show_table(head, rows)
    print(
        f"{TRAIN_IMAGES} images of the digits, {RECIPE.epochs} epochs; {LARGE}: {LARGE_IMAGES} "
        f"images of 224², {LARGE_RECIPE.epochs} epochs. Plain loop / reuse; medians of {TURNS} "
        "turns. × is how many times faster; an epoch is one after the first."
    )


def compare(
    model: str, strategy: str, splits: tuple[TensorImages, ...], recipe: Recipe, turns: int
) -> Reuse:
    """Train the same network in both ways, in turns."""
    start = frozen_model(model, strategy)
    trained = next(name for name, p in start.named_parameters() if p.requires_grad)
    plain, reused = [], []
    for _ in range(turns):
        plain.append(_train(start, splits, Recipe(**vars(recipe) | {"reuse_frozen": False})))
        reused.append(_train(start, splits, recipe))
    pairs = zip(plain[0].losses, reused[0].losses, strict=True)
    difference = max(abs(a - b) for a, b in pairs)
    if difference > _SAME:
        raise SystemExit(f"{model}, {strategy}: the losses differ by {difference:.1e}")
    return Reuse(
        model,
        strategy,
        owner_of(trained),
        (median(t.epoch for t in plain), median(t.epoch for t in reused)),
        (median(t.training for t in plain), median(t.training for t in reused)),
        (median(t.whole for t in plain), median(t.whole for t in reused)),
        median(t.cut for t in reused),
        difference,
        reused[0].said,
    )


@dataclass(frozen=True)
class _Times:
    epoch: float
    training: float
    whole: float
    cut: float
    losses: list[float]
    said: str


def _train(start: nn.Module, splits: tuple[TensorImages, ...], recipe: Recipe) -> _Times:
    model, started = copy.deepcopy(start), time.perf_counter()
    epochs, losses, said, cut, training = list[float](), list[float](), "", 0.0, 0.0
    for item in finetune(model, *splits, recipe=recipe):
        match item:
            case FrozenPart():
                said, cut = item.text, time.perf_counter() - started
            case EpochMetrics():
                epochs.append(item.seconds)
                losses += [item.train_loss, item.val_loss]
            case FinetuneResult():
                training = item.seconds
    whole = time.perf_counter() - started
    return _Times(median(epochs[1:]), training, whole, cut, losses, said)


def _pocket(model: str) -> tuple[TensorImages, ...]:
    return (
        images_for(model, "train", TRAIN_IMAGES),
        images_for(model, "validation"),
        images_for(model, "test"),
    )


def _large() -> tuple[TensorImages, ...]:
    images = torch.randn(LARGE_IMAGES, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    data = TensorImages(images, torch.arange(LARGE_IMAGES) % 10)
    few = TensorImages(images[:16], data.labels[:16])
    return data, few, few


if __name__ == "__main__":
    results = [
        compare(model, strategy, _pocket(model), RECIPE, TURNS)
        for model in MODELS
        for strategy in STRATEGIES
    ]
    results.append(compare(LARGE, "last", _large(), LARGE_RECIPE, 1))
    print(json.dumps([asdict(result) for result in results]))
