"""Fisher information and relative gradients against autograd, one image at a time."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, cross_entropy, linear, relu

from analysis.errors import TrainingError
from analysis.options import Recipe
from analysis.training.gradients import gradient_evidence
from analysis.training.optimizers import make_optimizer
from tests.factories import hooks_left, same_bits, state_of

LAYERS = ["conv1", "bn1", "conv2", "bn2", "fc"]


class Residual(nn.Module):
    """ReLU in place right after a norm, and a sum in place that changes a layer's own output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu, self.dropout = nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(x))
        out += x
        result: Tensor = self.fc(self.dropout(self.relu(out).mean((2, 3))))
        return result


def network() -> Residual:
    torch.manual_seed(0)
    model = Residual()
    for name in ("bn1", "bn2"):  # statistics that differ from the batch's
        norm = model.get_submodule(name)
        norm.running_mean.normal_()  # type: ignore[operator, union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[operator, union-attr]
        norm.weight.data.uniform_(0.5, 2)  # type: ignore[operator, union-attr]
        norm.bias.data.normal_()  # type: ignore[operator, union-attr]
    return model


IMAGES = torch.randn(7, 1, 5, 5, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def outputs(model: Residual, x: Tensor) -> dict[str, Tensor]:
    """Every layer's output, from functions that change nothing in place."""

    def norm(module: nn.BatchNorm2d, x: Tensor) -> Tensor:
        return batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias)

    tensors = {"conv1": conv2d(x, model.conv1.weight, padding=1)}
    tensors["bn1"] = norm(model.bn1, tensors["conv1"])
    inner = relu(tensors["bn1"])
    tensors["conv2"] = conv2d(inner, model.conv2.weight, model.conv2.bias, padding=1)
    tensors["bn2"] = norm(model.bn2, tensors["conv2"])
    tensors["fc"] = linear(
        relu(tensors["bn2"] + inner).mean((2, 3)), model.fc.weight, model.fc.bias
    )
    return tensors


def test_fisher_equals_that_of_one_image_at_a_time() -> None:
    model, expected = network(), dict.fromkeys(LAYERS, 0.0)
    for image, label in zip(IMAGES, LABELS, strict=True):
        tensors = outputs(model, image[None])
        loss = cross_entropy(tensors["fc"], label[None])
        gradients = torch.autograd.grad(loss, [tensors[name] for name in LAYERS])
        for name, gradient in zip(LAYERS, gradients, strict=True):
            products = (tensors[name] * gradient).detach().double().flatten()
            expected[name] += sum(p * p for p in products.tolist()) / len(products) / 2 / 7
    evidence = gradient_evidence(model, IMAGES, LABELS, LAYERS)
    assert list(evidence.index) == LAYERS
    assert evidence["fisher"].to_dict() == pytest.approx(expected, rel=1e-4)
    assert len(set(expected.values())) == 5


def test_relative_gradients_are_norms_over_norms() -> None:
    model = network()
    loss = sum(
        cross_entropy(outputs(model, image[None])["fc"], label[None])
        for image, label in zip(IMAGES, LABELS, strict=True)
    )
    expected = {}
    for name in LAYERS:
        parameters = list(model.get_submodule(name).parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        squares = [
            sum((t.double() ** 2).sum().item() for t in ts) for ts in (gradients, parameters)
        ]
        expected[name] = math.sqrt(squares[0] / squares[1])
    evidence = gradient_evidence(model, IMAGES, LABELS, LAYERS)
    assert evidence["relative"].to_dict() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 50])
def test_the_batch_size_changes_no_number(batch_size: int) -> None:
    evidence = gradient_evidence(network(), IMAGES, LABELS, LAYERS, batch_size=batch_size)
    whole = gradient_evidence(network(), IMAGES, LABELS, LAYERS, batch_size=7)
    for column in ("fisher", "relative"):
        assert evidence[column].to_dict() == pytest.approx(whole[column].to_dict(), rel=1e-4)


def test_weights_statistics_and_gradients_are_unchanged() -> None:
    model = network().train()
    model.requires_grad_(False)  # a frozen model gives the same evidence
    before = state_of(model)
    evidence = gradient_evidence(model, IMAGES, LABELS, LAYERS)
    assert (evidence > 0).all(axis=None)
    assert all(same_bits(before[name], now) for name, now in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert hooks_left(model) == []


def test_an_error_leaves_no_hook() -> None:
    model = network()
    with pytest.raises(TrainingError, match="IndexError"):
        gradient_evidence(model, IMAGES, torch.full((7,), 9), LAYERS)
    assert hooks_left(model) == []


def test_tied_weights_count_for_both_of_their_layers() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), *(partial(nn.Linear, bias=False)(25, 25) for _ in "ab"))
    model[2].weight = model[1].weight
    relative = gradient_evidence(model, IMAGES, LABELS, ["1", "2"])["relative"]
    assert relative["1"] == relative["2"] > 0


def test_attention_includes_its_projections() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(5, 1, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = x[:, 0]
            result: Tensor = self.attention(x, x, x, need_weights=False)[0].mean(1)
            return result

    torch.manual_seed(0)
    model = Model()
    evidence = gradient_evidence(model, IMAGES, LABELS, ["attention"])
    cross_entropy(model(IMAGES), LABELS, reduction="sum").backward()
    gradients = [p.grad for p in model.parameters()]
    norm = math.sqrt(sum((g**2).sum().item() for g in gradients if g is not None))
    size = math.sqrt(sum((p**2).sum().item() for p in model.parameters()))
    assert evidence.loc["attention", "relative"] == pytest.approx(norm / size, rel=1e-4)
    assert evidence.loc["attention", "fisher"] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_gain_of_a_step_is_that_of_the_optimisers_own_first_step(optimizer):
    recipe = Recipe(optimizer=optimizer, learning_rate=0.02, weight_decay=0.5)
    found = gradient_evidence(network(), IMAGES, LABELS, LAYERS, batch_size=3, recipe=recipe)
    model = network().double().eval()
    cross_entropy(model(IMAGES.double()), LABELS).backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    make_optimizer(model, recipe).step()
    for layer in LAYERS:
        own = model.get_submodule(layer).named_parameters(prefix=layer)
        gain = -sum((p.grad * (p.detach() - before[name])).sum().item() for name, p in own)
        assert found.loc[layer, "step"] == pytest.approx(gain, rel=1e-4)
