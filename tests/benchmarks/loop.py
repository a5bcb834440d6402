"""The time of `finetune` against a loop by hand, and of a tracked step against an untracked one.

`python -m tests.benchmarks.loop` measures both in one process.
"""

from __future__ import annotations

import copy
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from analysis.instruments.ledger import Ledger
from analysis.options import LEARNING_RATES, Recipe
from analysis.training.freezing import training_mode
from analysis.training.loop import finetune, training_step
from analysis.training.optimizers import make_optimizer
from analysis.training.splits import TensorImages
from tests.benchmarks.process import run_module
from tests.benchmarks.subjects import batch_of, frozen_model, images_for
from tests.benchmarks.table import show_table, verdict

MODEL, TRAIN_IMAGES = "pocket-resnet20", 500
STRATEGIES = ("full", "adabet", "head")
EPOCHS, PAIRS = 2, 7
TARGET = 1.10  # our seconds / by hand, at most
TRACKED = (("pocket-resnet20", "full"), ("pocket-resnet20", "adabet"), ("mobilenet_v2", "full"))
STEP_PAIRS = 15


@dataclass(frozen=True)
class Pairs:
    """Seconds of two things, measured in turns."""

    model: str
    strategy: str
    first: list[float]
    second: list[float]

    @property
    def ratios(self) -> list[float]:
        """The first divided by the second, for each pair."""
        return [a / b for a, b in zip(self.first, self.second, strict=True)]


@dataclass(frozen=True)
class LoopResult:
    loops: list[Pairs]  # `finetune` without the ledger, and the loop below
    steps: list[Pairs]  # with the ledger, and without


def measure() -> LoopResult:
    """Take all pairs in a fresh process."""
    with tempfile.TemporaryDirectory() as home:
        answer = run_module("tests.benchmarks.loop", environment={"BETTISCOPE_HOME": home})
    return LoopResult(**{key: [Pairs(**pair) for pair in pairs] for key, pairs in answer.items()})


def show(result: LoopResult) -> None:
    rows = []
    for pairs in result.loops:
        target = [f"≤ {TARGET:.2f}", verdict(median(pairs.ratios) <= TARGET)]
        rows.append([*_row(pairs, 1.0, 2), *target])
    head = ["model", "strategy", "finetune s", "by hand s", "ratio", "range", "target", ""]
    show_table(head, rows)
    print(f"{TRAIN_IMAGES} images, {EPOCHS} epochs, the test included. Medians of {PAIRS} pairs.\n")
    steps = [_row(pairs, 1000.0, 0) for pairs in result.steps]
    show_table(["model", "strategy", "tracked ms", "untracked ms", "ratio", "range"], steps)
    print(f"One step, with the memory ledger and without. Medians of {STEP_PAIRS} pairs.")


def _row(pairs: Pairs, scale: float, digits: int) -> list[str]:
    ratios = pairs.ratios
    return [
        pairs.model,
        pairs.strategy,
        f"{scale * median(pairs.first):.{digits}f}",
        f"{scale * median(pairs.second):.{digits}f}",
        f"{median(ratios):.2f}",
        f"{min(ratios):.2f}–{max(ratios):.2f}",
    ]


def compare_loops(strategy: str) -> Pairs:
    """Train the same network in both ways, in turns; they must end with the same weights."""
    start = frozen_model(MODEL, strategy)
    splits = (
        images_for(MODEL, "train", TRAIN_IMAGES),
        images_for(MODEL, "validation"),
        images_for(MODEL, "test"),
    )
    recipe = Recipe(epochs=EPOCHS)

    def ours(model: nn.Module) -> None:
        for _ in finetune(model, *splits, recipe=recipe, track_memory=False):
            pass

    def by_hand(model: nn.Module) -> None:
        train_by_hand(model, *splits, recipe=recipe)

    pairs = []
    for _ in range(PAIRS + 1):
        one, other = copy.deepcopy(start), copy.deepcopy(start)
        pairs.append((_seconds(ours, one), _seconds(by_hand, other)))
        _check_same(one, other)
    return Pairs(MODEL, strategy, *_in_columns(pairs))


def train_by_hand(
    model: nn.Module,
    train: TensorImages,
    validation: TensorImages,
    test: TensorImages,
    *,
    recipe: Recipe,
) -> list[tuple[float, float]]:
    """A plain PyTorch loop of the steps that `finetune` takes, for a network trained by SGD."""
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.dim() > 1]
    spared = [p for p in trained if p.dim() <= 1]
    rate = LEARNING_RATES["sgd"]
    optimizer = torch.optim.SGD([*decayed, *spared], lr=rate, momentum=recipe.momentum)
    steps = math.ceil(len(train.labels) / recipe.batch_size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * steps)
    losses = []
    torch.manual_seed(recipe.seed)
    for _ in range(recipe.epochs):
        training_mode(model)  # frozen norms stay in eval mode
        for indices in torch.randperm(len(train.labels)).split(recipe.batch_size):
            images, labels = train.tensor[indices], train.labels[indices]
            optimizer.zero_grad()
            logits = model(images)
            loss = cross_entropy(logits, labels)
            loss.backward()
            with torch.no_grad():
                for parameter in decayed:
                    parameter.mul_(1 - scheduler.get_last_lr()[0] * recipe.weight_decay)
            optimizer.step()
            scheduler.step()
            losses.append((loss.item(), (logits.argmax(1) == labels).float().mean().item()))
        losses.append(_evaluate_by_hand(model, validation, recipe.batch_size))
    losses.append(_evaluate_by_hand(model, test, recipe.batch_size))
    return losses


def _evaluate_by_hand(model: nn.Module, data: TensorImages, batch: int) -> tuple[float, float]:
    model.eval()
    correct = loss = 0.0
    with torch.no_grad():
        batches = zip(data.tensor.split(batch), data.labels.split(batch), strict=True)
        for images, labels in batches:
            logits = model(images)
            correct += (logits.argmax(1) == labels).sum().item()
            loss += cross_entropy(logits, labels, reduction="sum").item()
    return loss / len(data.labels), correct / len(data.labels)


def _check_same(one: nn.Module, other: nn.Module) -> None:
    expected = other.state_dict()
    for name, value in one.state_dict().items():
        if not torch.equal(value, expected[name]):
            raise SystemExit(f"the two loops are not the same: {name} differs")


def compare_steps(model: str, strategy: str) -> Pairs:
    """Take steps with the ledger and without, in turns."""
    network = frozen_model(model, strategy)
    optimizer = make_optimizer(network, Recipe())
    data = images_for(model, "train", batch_of(model))
    training_mode(network)

    def untracked() -> None:
        training_step(network, optimizer, data.tensor, data.labels)

    def tracked() -> None:
        with Ledger(network, optimizer, (data.tensor, data.labels)):
            untracked()

    pairs = [(_seconds(tracked), _seconds(untracked)) for _ in range(STEP_PAIRS + 1)]
    return Pairs(model, strategy, *_in_columns(pairs))


def _seconds(work: Callable[..., None], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def _in_columns(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """All but the first pair, which was a warm-up."""
    return [first for first, _ in pairs[1:]], [second for _, second in pairs[1:]]


if __name__ == "__main__":
    result = LoopResult(
        [compare_loops(strategy) for strategy in STRATEGIES],
        [compare_steps(*subject) for subject in TRACKED],
    )
    print(json.dumps(asdict(result)))
