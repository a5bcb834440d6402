"""The two parts of a cut network against the whole, on networks of many kinds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization

from analysis.instruments.behaviour import seeded
from analysis.system.torchvision_guard import torchvision
from analysis.training.cut import Cut, UncutError, cut_network
from analysis.training.freezing import freeze, training_mode

CPU = torch.device("cpu")


def cut(model: nn.Module, images: Tensor, *trains: str, training: bool = True) -> Cut:
    """Cut a network of which the parameters train whose names begin so; compare its logits."""
    freeze(model, [n for n, _ in model.named_parameters() if n.startswith(trains)])
    training_mode(model) if training else model.eval()
    parts = cut_network(model, images)
    with torch.no_grad():
        with seeded(1, CPU):
            whole = model(images)
        rows = parts.prefix(images)
        with seeded(1, CPU):
            logits = parts.rest(*rows)
    assert torch.equal(whole, logits)
    for row, tensor in zip(parts.rows, rows, strict=True):
        assert tensor.shape == (len(images), *row.shape)
    return parts


class Branches(nn.Module):
    """Tuples and dicts inside, a shape in a view, a shortcut, and a token that is added."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = {"one": self.a(x), "both": (self.a(x).tanh(), x[:, :2])}
        count, width = parts["one"].shape
        left, right = self.b(parts["both"][0]).chunk(2, dim=1)
        rows = torch.cat((left, right), 1).view(count, 2, width // 2)
        rows = torch.cat(
            (self.token.expand(count, -1, -1), rows + parts["one"].view(count, 2, -1)), 1
        )
        mixed, _ = self.attention(rows, rows, rows)
        result: Tensor = self.head(mixed.flatten(1))
        return result


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("first", ["b", "token", "attention", "head"])
def test_branches_tuples_and_shapes(first: str, *, training: bool) -> None:
    parts = cut(Branches(), torch.randn(5, 6), first, "head", training=training)
    tensors = {"b": 3, "token": 1, "attention": 1, "head": 1}
    # Before `b`, the rest needs its input, the shortcut, and nothing else of an image.
    assert len(parts.rows) <= tensors[first]


def test_the_rest_before_a_trained_head_is_the_head() -> None:
    parts = cut(torchvision.models.resnet18(num_classes=4), torch.randn(5, 3, 32, 32), "fc")
    assert [node.op for node in parts.rest.graph.nodes] == ["placeholder", "call_module", "output"]
    assert [row.shape for row in parts.rows] == [(512,)]


def test_batches_of_other_sizes_pass() -> None:
    model = Branches()
    parts = cut(model, torch.randn(5, 6), "token", "head")
    for count in (1, 4, 33):
        images = torch.randn(count, 6)
        assert torch.equal(parts.rest(*parts.prefix(images)), model(images))


def test_nothing_frozen_comes_before_the_first_layer() -> None:
    with pytest.raises(UncutError, match="nothing frozen comes before"):
        cut(Branches(), torch.randn(5, 6), "a")


def standardized(weight: Tensor) -> Tensor:
    """Each row with mean 0 and variance 1, by a batch norm, as timm does it."""
    rows = weight.reshape(1, weight.shape[0], -1)
    return functional.batch_norm(rows, None, None, training=True).reshape_as(weight)


class Standardized(nn.Module):
    """A parametrisation: it runs within its layer, which is not traced."""

    def forward(self, weight: Tensor) -> Tensor:
        return standardized(weight)


class Normed(nn.Module):
    """Linear layers around something that uses a batch norm in training mode."""

    def __init__(self, inner: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.h = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        register_parametrization(self.a, "weight", Standardized())
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.h(self.inner(self.b, self.a(x)))
        return result


@pytest.mark.parametrize("training", [True, False])
def test_weights_standardized_by_a_batch_norm_stay_frozen(*, training: bool) -> None:
    def standard(layer: nn.Linear, x: Tensor) -> Tensor:
        return functional.linear(x, standardized(layer.weight), layer.bias).relu()

    parts = cut(Normed(standard), torch.randn(5, 6), "h", training=training)
    assert [node.op for node in parts.rest.graph.nodes] == ["placeholder", "call_module", "output"]


def norm_of_images(layer: nn.Linear, x: Tensor) -> Tensor:
    return functional.batch_norm(layer(x), None, None, training=True)


def norm_of_weights_by_images(layer: nn.Linear, x: Tensor) -> Tensor:
    return functional.linear(x, standardized(layer.weight + x.mean(0)))


@pytest.mark.parametrize("inner", [norm_of_images, norm_of_weights_by_images])
def test_a_batch_norm_that_looks_at_the_images_is_not_frozen(
    inner: Callable[[nn.Linear, Tensor], Tensor],
) -> None:
    parts = cut(Normed(inner), torch.randn(5, 6), "h")
    assert functional.batch_norm in {node.target for node in parts.rest.graph.nodes}


def test_a_batch_norm_inside_an_operation_is_not_frozen() -> None:
    norm = partial(nn.BatchNorm1d, track_running_stats=False)
    mixing = torchvision.ops.MLP(6, [6, 6], norm_layer=norm)  # traced as one operation
    model = nn.Sequential(nn.Linear(6, 6), mixing, nn.Linear(6, 2))
    parts = cut(model, torch.randn(5, 6), "2")
    modules = [node.target for node in parts.rest.graph.nodes if node.op == "call_module"]
    assert modules == ["network.1", "network.2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5",
        "regnet_x_400mf", "efficientnet_b0", "densenet121", "swin_t", "convnext_tiny",
    ],
)  # fmt: skip
def test_networks_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=4)
    names = [name for name, _ in model.named_parameters()]
    for training in (True, False):
        cut(model, torch.randn(5, 3, 64, 64), *names[-len(names) // 5 :], training=training)
