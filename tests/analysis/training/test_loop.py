"""The loop against PyTorch loops written here, and what must not change its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis.errors import TrainingError
from analysis.options import Recipe
from analysis.training.freezing import freeze
from analysis.training.gradients import gradient_evidence
from analysis.training.loop import EVALUATION_BATCH, evaluate, finetune
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    MemorySample,
    Metric,
    StepMetrics,
)
from analysis.training.optimizers import make_optimizer, optimizer_name
from analysis.training.splits import TensorImages
from tests.factories import Drawn, hooks_left, same_bits, state_of, two_classes

T = TypeVar("T")


def network(*, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2)
    )


def train(model: nn.Module, data: Drawn | None = None, **recipe: object) -> list[Metric]:
    """All metrics of a fine-tune, by default on ten images in batches of four."""
    options = {"epochs": 2, "batch_size": 4} | recipe
    return list(
        finetune(
            model, data or two_classes(10), two_classes(9, seed=1), two_classes(7, seed=2),
            recipe=Recipe(**options),  # type: ignore[arg-type]
        )
    )  # fmt: skip


def of(kind: type[T], metrics: Iterable[object]) -> list[T]:
    return [metric for metric in metrics if isinstance(metric, kind)]


def numbers(metrics: Iterable[Metric]) -> list[float]:
    """All numbers of the metrics except times."""
    steps = [(s.loss, s.accuracy, s.learning_rate) for s in of(StepMetrics, metrics)]
    epochs = [
        (e.train_loss, e.train_accuracy, e.val_loss, e.val_accuracy)
        for e in of(EpochMetrics, metrics)
    ]
    ends = [(r.best_val_accuracy, r.test_accuracy) for r in of(FinetuneResult, metrics)]
    return [number for metric in (*steps, *epochs, *ends) for number in metric]


def cosine(rate: float, step: int, steps: int) -> float:
    return rate * (1 + math.cos(math.pi * step / steps)) / 2


def test_sgd_is_momentum_with_decoupled_decay_and_a_cosine() -> None:
    rate, momentum, decay = 0.2, 0.8, 0.3
    data, model, plain = two_classes(10), network(), network()
    metrics = train(
        model, data, learning_rate=rate, momentum=momentum, weight_decay=decay, optimizer="sgd"
    )
    assert len(data.batches) == 6
    velocity = {name: torch.zeros_like(p) for name, p in plain.named_parameters()}
    plain.train()
    for step, batch in enumerate(data.batches):
        loss = cross_entropy(plain(data.tensor[batch]), data.labels[batch])
        assert of(StepMetrics, metrics)[step].loss == pytest.approx(loss.item(), rel=1e-6)
        gradients = torch.autograd.grad(loss, list(plain.parameters()))
        now = cosine(rate, step, 6)
        assert of(StepMetrics, metrics)[step].learning_rate == pytest.approx(now, rel=1e-9)
        with torch.no_grad():
            for (name, p), gradient in zip(plain.named_parameters(), gradients, strict=True):
                velocity[name] = momentum * velocity[name] + gradient
                # Norms and biases, which have one axis, do not decay.
                p.copy_((p * (1 - now * decay) if p.dim() == 2 else p) - now * velocity[name])
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-6, atol=1e-7)


def test_adamw_is_torchs() -> None:
    data, model, plain = two_classes(10), network(), network()
    train(model, data, learning_rate=0.05, weight_decay=0.4, optimizer="adamw")
    weights = [plain[0].weight, plain[4].weight]
    others = [plain[0].bias, plain[1].weight, plain[1].bias, plain[4].bias]
    groups = [{"params": weights, "weight_decay": 0.4}, {"params": others, "weight_decay": 0.0}]
    assert make_optimizer(network(), Recipe(optimizer="adamw")).defaults["foreach"] is False
    optimizer = torch.optim.AdamW(groups)
    plain.train()
    for step, batch in enumerate(data.batches):
        for group in optimizer.param_groups:
            group["lr"] = cosine(0.05, step, 6)
        optimizer.zero_grad()
        cross_entropy(plain(data.tensor[batch]), data.labels[batch]).backward()
        optimizer.step()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-6, atol=1e-7)


def test_weight_decay_affects_only_trained_parameters() -> None:
    model = network()
    before = state_of(model)
    freeze(model, ["4.weight", "4.bias"])
    train(model, weight_decay=1.0)
    after = model.state_dict()
    assert {n for n in before if not same_bits(before[n], after[n])} == {"4.weight", "4.bias"}


def test_every_epoch_has_all_images_in_another_order() -> None:
    data = two_classes(10)
    train(network(), data)
    assert [len(batch) for batch in data.batches] == [4, 4, 2] * 2
    first, second = torch.cat(data.batches[:3]), torch.cat(data.batches[3:])
    for epoch in (first, second):
        assert sorted(epoch.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert first.tolist() != list(range(10))


def test_the_optimizer_that_suits_the_model() -> None:
    assert optimizer_name(network(), Recipe()) == "sgd"
    attending = nn.ModuleList([nn.MultiheadAttention(4, 1)])
    assert optimizer_name(attending, Recipe()) == "adamw"
    assert optimizer_name(attending, Recipe(optimizer="sgd")) == "sgd"
    assert make_optimizer(network(), Recipe()).param_groups[0]["lr"] == 0.05
    assert make_optimizer(attending, Recipe()).param_groups[0]["lr"] == 1e-3


def test_same_seed_same_numbers_and_another_seed_others() -> None:
    first = numbers(train(network(dropout=0.5), augmentation="none"))
    assert numbers(train(network(dropout=0.5))) == first
    assert numbers(train(network(dropout=0.5), seed=1)) != first


def test_random_numbers_of_the_caller_change_nothing() -> None:
    def run(seed: int, draw: bool) -> list[Metric]:
        model, metrics = network(dropout=0.5), []
        torch.manual_seed(seed)
        data = two_classes(10, shape=(6, 1, 1)), two_classes(9, seed=1), two_classes(7, seed=2)
        wrapped = nn.Sequential(nn.Flatten(), model)
        for metric in finetune(
            wrapped, *data, recipe=Recipe(epochs=2, batch_size=4, augmentation="flip-crop")
        ):
            metrics.append(metric)
            if draw:
                torch.rand(5)
        return metrics

    assert numbers(run(0, draw=False)) == numbers(run(1, draw=True))


def test_the_callers_random_numbers_are_as_without_training() -> None:
    model = network(dropout=0.5)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    iterator = finetune(model, *[two_classes(10)] * 3, recipe=Recipe(epochs=2, batch_size=4))
    drawn = []
    for count, _ in enumerate(iterator):
        if count < 3:
            drawn.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn), expected)
    torch.manual_seed(11)
    train(model)
    assert torch.equal(torch.rand(3), expected)


def test_dropout_drops_while_training_and_not_while_validating() -> None:
    model = network(dropout=0.9)
    frozen = {"learning_rate": 1e-30, "weight_decay": 0.0}  # no weight moves
    (epoch,) = of(EpochMetrics, train(model, epochs=1, **frozen))
    (plain,) = of(EpochMetrics, train(network(), epochs=1, **frozen))
    assert epoch.train_loss != plain.train_loss
    assert epoch.val_loss == plain.val_loss


def test_epoch_metrics_are_means_over_images() -> None:
    """With weights that hardly move, they equal those of all images at once."""
    model, data = network(), two_classes(10)
    freeze(model, ["4.weight", "4.bias"])  # with the norm in eval mode batches do not matter
    model.eval()
    metrics = train(model, data, epochs=1, learning_rate=1e-30, weight_decay=0.0)
    (epoch,) = of(EpochMetrics, metrics)
    with torch.no_grad():
        for kind, images in (("train", data), ("val", two_classes(9, seed=1))):
            logits = model(images.tensor)
            loss = cross_entropy(logits, images.labels).item()
            accuracy = (logits.argmax(1) == images.labels).float().mean().item()
            assert getattr(epoch, f"{kind}_loss") == pytest.approx(loss, rel=1e-5)
            assert getattr(epoch, f"{kind}_accuracy") == pytest.approx(accuracy)
    steps = of(StepMetrics, metrics)
    assert [step.images for step in steps] == [4, 4, 2]
    # Batches are not equally good, or a mean over batches would pass too.
    assert epoch.train_loss != pytest.approx(sum(step.loss for step in steps) / 3, rel=1e-3)
    assert [step.step for step in steps] == [1, 2, 3]
    assert steps[0].accuracy * 4 == round(steps[0].accuracy * 4)


def test_evaluation_takes_every_image_once() -> None:
    data = two_classes(2 * EVALUATION_BATCH + 3)
    model = network().train()
    accuracy, loss = evaluate(model, data)
    assert not any(module.training for module in model.modules())
    logits = model(data.tensor)
    assert loss == pytest.approx(cross_entropy(logits, data.labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == data.labels).float().mean().item())
    assert torch.cat(data.batches).tolist() == list(range(len(data.labels)))


def test_best_last_and_test_accuracy() -> None:
    """Validation with swapped labels: the better it learns, the worse it scores."""
    model, wrong = network(), two_classes(40, seed=1)
    wrong.labels = 1 - wrong.labels
    test = two_classes(50, seed=2)
    recipe = Recipe(epochs=6, batch_size=8, learning_rate=0.05)
    metrics = list(finetune(model, two_classes(60), wrong, test, recipe=recipe))
    epochs, (result,) = of(EpochMetrics, metrics), of(FinetuneResult, metrics)
    accuracies = [epoch.val_accuracy for epoch in epochs]
    assert accuracies[0] > accuracies[-1], "else best and last would be equal"
    assert result.best_val_accuracy == max(accuracies)
    assert result.best_epoch == 1 + accuracies.index(max(accuracies))
    assert result.last_val_accuracy == accuracies[-1]
    with torch.no_grad():
        predicted = model(test.tensor).argmax(1)
    right = (predicted == test.labels).sum().item()
    assert result.test_accuracy == right / 50
    assert result.predictions is not None
    assert list(result.predictions.labels) == test.labels.tolist()
    assert list(result.predictions.predicted) == predicted.tolist()
    assert sum(result.predictions.correct) == right
    assert result.test_accuracy > 0.8, "a net that learned nothing shows nothing"
    assert isinstance(metrics[-1], FinetuneResult)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 7))
    assert sum(epoch.seconds for epoch in epochs) <= result.seconds
    assert torch.cat(test.batches).tolist() == list(range(50)), "the test images are seen once"
    assert max(map(len, test.batches)) == 8, "in batches no larger than a step's"


@pytest.mark.parametrize(
    ("images", "sampled"),
    [
        (12, [1, 2, 5, 8]),  # three batches an epoch: the first of all, the second of each
        (8, [1, 2, 4, 6]),
        (4, [1, 2, 3]),  # one batch an epoch
        (6, [1, 2, 3, 5]),  # the second is half a batch: only the first shows the whole peak
    ],
)
def test_sampled_steps(images: int, sampled: list[int]) -> None:
    model = network()
    metrics = train(model, two_classes(images), epochs=3)
    samples = of(MemorySample, metrics)
    assert [sample.step for sample in samples] == sampled
    steps = of(StepMetrics, metrics)
    assert [step.step for step in steps if step.tracked] == sampled
    assert [s.epoch for s in samples] == [s.epoch for s in steps if s.tracked]
    assert samples[0].peak.optimizer in (0, samples[1].peak.optimizer)
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert all(sample.peak.optimizer == weights for sample in samples[1:])
    assert all(sample.peak.parameters == weights for sample in samples)
    assert all(sample.resident > 0 and sample.allocator_peak is None for sample in samples)
    (result,) = of(FinetuneResult, metrics)
    assert result.peak_memory is not None
    assert result.peak_memory.total == max(sample.peak.total for sample in samples)


def test_tracking_changes_no_number() -> None:
    def run(track: bool) -> tuple[list[Metric], dict[str, Tensor]]:
        model = network(dropout=0.3)
        data = two_classes(10), two_classes(9, seed=1), two_classes(7, seed=2)
        recipe = Recipe(epochs=2, batch_size=4)
        return list(finetune(model, *data, recipe=recipe, track_memory=track)), state_of(model)

    (tracked, weights), (plain, plain_weights) = run(True), run(False)
    assert numbers(tracked) == numbers(plain)
    assert all(same_bits(weights[name], plain_weights[name]) for name in weights)
    assert of(MemorySample, plain) == []
    assert not any(step.tracked for step in of(StepMetrics, plain))
    assert of(FinetuneResult, plain)[0].peak_memory is None


@pytest.mark.parametrize("metrics", [1, 2, 5])
def test_a_closed_training_leaves_nothing_behind(metrics: int) -> None:
    model = network()
    iterator = finetune(model, *[two_classes(10)] * 3, recipe=Recipe(epochs=2, batch_size=4))
    for _ in range(metrics):
        next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert not any(module.training for module in model.modules())
    assert hooks_left(model) == []
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("track", [True, False])
def test_an_error_in_the_backward_pass_leaves_nothing_behind(track: bool) -> None:
    def fail(_: Tensor) -> None:
        raise RuntimeError("on purpose")

    model = network()
    model[0].weight.register_hook(fail)  # the last to get a gradient
    with pytest.raises(TrainingError, match="RuntimeError: on purpose"):
        list(finetune(model, *[two_classes(10)] * 3, track_memory=track))
    assert not any(module.training for module in model.modules())
    assert hooks_left(model) == []
    assert all(p.grad is None for p in model.parameters())


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = network()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.body(images), images


@pytest.mark.parametrize(
    ("model", "kind"),
    [(_Pair(), "returns tuple for"), (nn.Sequential(nn.Linear(6, 2), nn.Flatten(0)), "a tensor (")],
)
def test_an_output_without_logits_is_an_error(model: nn.Module, kind: str) -> None:
    with pytest.raises(TrainingError, match="must return one tensor of logits") as raised:
        train(model)
    assert kind in str(raised.value)
    with pytest.raises(TrainingError, match="must return one tensor of logits"):
        gradient_evidence(model, torch.randn(4, 6), torch.tensor([0, 1, 0, 1]), [])


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    model, data = network(), two_classes(10)
    data.tensor[3] = float("nan")
    with pytest.raises(TrainingError, match=r"no longer finite at step \d+ \(epoch 1\).*learning"):
        train(model, data)
    assert not model.training
    assert hooks_left(model) == []


def test_a_validation_loss_that_is_not_finite_ends_the_training() -> None:
    model, data, larger = nn.Sequential(nn.Linear(6, 2)), two_classes(4), two_classes(4)
    larger.tensor.mul_(1e4)
    recipe = Recipe(epochs=1, learning_rate=1e36, weight_decay=0.0)
    with pytest.raises(TrainingError, match=r"no longer finite after epoch 1.*learning rate"):
        list(finetune(model, data, larger, data, recipe=recipe))


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_empty_split_is_named(empty: int) -> None:
    splits = [two_classes(4) for _ in range(3)]
    splits[empty] = TensorImages(torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64))  # type: ignore[call-overload]
    name = ("training", "validation", "test")[empty]
    with pytest.raises(TrainingError, match=f"The {name} split has no images"):
        next(finetune(network(), *splits))


def test_a_model_without_trained_parameters_is_an_error() -> None:
    model = network()
    freeze(model, [])
    with pytest.raises(TrainingError, match="every parameter is frozen"):
        train(model)
