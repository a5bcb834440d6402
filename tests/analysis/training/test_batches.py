"""No image is left alone in a batch, and none is dropped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from analysis.errors import TrainingError
from analysis.options import Recipe, RunOptions, batch_sizes
from analysis.training.freezing import freeze
from analysis.training.gradients import gradient_evidence
from analysis.training.loop import evaluate, finetune
from analysis.training.metrics import FinetuneResult, MemorySample, StepMetrics
from analysis.training.prediction import predict_peak
from tests.factories import two_classes


class Squeezed(nn.Module):
    """Loses the images' axis where there is one image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.body(x)[:, :, None, None].squeeze())
        return result


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def unnormed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [
        (32, 32, [32]),
        (33, 32, [33]),
        (65, 32, [32, 33]),
        (34, 32, [32, 2]),
        (1, 32, [1]),
        (3, 2, [3]),
        (3, 1, [1, 1, 1]),
        (0, 4, []),
    ],
)
def test_batches_hold_all_images_and_none_alone(count: int, size: int, sizes: list[int]) -> None:
    assert batch_sizes(count, size) == sizes
    assert sum(sizes) == count


@pytest.mark.parametrize("make", [normed, Squeezed])
@pytest.mark.parametrize("others", [1, 5, 9])
def test_a_last_image_joins_a_batch(make: type[nn.Module], others: int) -> None:
    train, rest = two_classes(9), [two_classes(others, seed=seed) for seed in (1, 2)]
    model = make()
    metrics = list(finetune(model, train, *rest, recipe=Recipe(epochs=2, batch_size=4)))
    steps = [metric for metric in metrics if isinstance(metric, StepMetrics)]
    assert [step.images for step in steps] == [4, 5] * 2
    assert sorted(torch.cat(train.batches[:2]).tolist()) == list(range(9))
    assert isinstance(metrics[-1], FinetuneResult)
    with torch.no_grad():
        right = (model(rest[1].tensor).view(-1, 2).argmax(1) == rest[1].labels).float().mean()
    assert metrics[-1].test_accuracy == pytest.approx(right.item())


def test_a_split_of_one_image_is_evaluated() -> None:
    """Batch norms in eval mode take one image, but squeezing loses its axis before them."""

    class Pooled(Squeezed):
        def __init__(self) -> None:
            super().__init__()
            self.head = normed()[1:]  # type: ignore[index, assignment]

    model, one = Pooled(), two_classes(1)
    model.body = nn.Linear(6, 8)
    accuracy, loss = evaluate(model, one)
    with torch.no_grad():
        logits = model(torch.cat([one.tensor, one.tensor]))[:1]
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, one.labels).item())
    assert accuracy == float(logits.argmax(1) == one.labels)


def test_one_image_at_a_time_is_refused_at_the_first_step_by_norms_alone() -> None:
    splits = [two_classes(1, seed=seed) for seed in range(3)]
    with pytest.raises(TrainingError, match="at least two images in each batch"):
        list(finetune(normed(), *splits))
    for make in (Squeezed, unnormed):
        assert isinstance(list(finetune(make(), *splits))[-1], FinetuneResult)


@pytest.mark.parametrize(
    ("make", "images", "size"),
    [(normed, 9, 4), (normed, 5, 4), (normed, 13, 4), (unnormed, 13, 4), (unnormed, 3, 1)],
)
def test_the_predicted_peak_is_that_of_the_joined_batch(
    make: type[nn.Module], images: int, size: int
) -> None:
    options = RunOptions(train_samples=images, recipe=Recipe(epochs=2, batch_size=size))
    model = make()
    trained = ["3.weight", "3.bias"] if make is normed else ["2.weight", "2.bias"]
    freeze(model, trained)
    predicted = predict_peak(model, (6,), trained=trained, recipe=options.largest_step)
    splits = [two_classes(n, seed=n) for n in (images, 2, 2)]
    metrics = list(finetune(model, *splits, recipe=options.recipe))
    result = metrics[-1]
    assert isinstance(result, FinetuneResult)
    assert result.peak_memory == predicted
    sampled = {metric.step for metric in metrics if isinstance(metric, MemorySample)}
    largest = [m.step for m in metrics if isinstance(m, StepMetrics) and m.images > size]
    assert sampled >= set(largest)


def test_gradients_of_a_last_image_are_counted() -> None:
    images, labels = two_classes(9).tensor, two_classes(9).labels
    model, layers = Squeezed(), ["body", "head"]
    split = gradient_evidence(model, images, labels, layers, batch_size=4)
    whole = gradient_evidence(model, images, labels, layers, batch_size=9)
    assert split.to_numpy() == pytest.approx(whole.to_numpy(), rel=1e-4)
