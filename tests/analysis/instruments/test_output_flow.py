"""The head is the layer whose output is what the network gives, whatever runs last."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis.errors import OptionError
from analysis.instruments.activations import trace
from analysis.instruments.output_flow import Head
from analysis.models.heads import head_of_network
from tests.factories import hooks_left

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Rule = Callable[["Net", Tensor], object]


class Net(nn.Module):
    """Layers of many kinds; a rule says how the output is made of their features (N, 6)."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3)
        self.head, self.other, self.gate = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 1)
        self.norm, self.deep = nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.decode, self.scores = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 4, 1)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.rule = rule

    def forward(self, x: Tensor) -> object:
        self.map = self.conv(x).relu()
        return self.rule(self, self.map.mean((2, 3)))


def keeps(net: Net, z: Tensor) -> Tensor:
    y = net.head(z)
    net.picture = net.decode(net.map)
    return y


def fills(net: Net, z: Tensor) -> Tensor:
    out = z.new_zeros(len(z), 4)
    out[:, :] = net.head(z)
    net.other(z)
    return out


def attends(net: Net, z: Tensor) -> Tensor:
    places = net.map.flatten(2).transpose(1, 2)
    y = net.head(net.attention(places, places, places)[0].mean(1))
    net.other(z)
    return y


def weighs(net: Net, z: Tensor) -> Tensor:
    """Scores of places, averaged by a product of two results."""
    scores = net.head(net.map.flatten(2).transpose(1, 2))
    weights = net.gate(net.map.flatten(2).transpose(1, 2)).softmax(1)
    return (weights.transpose(1, 2) @ scores)[:, 0]


FOUND: dict[str, tuple[Rule, str]] = {
    "a decoder runs later": (keeps, "head"),
    "a gate runs later": (lambda n, z: n.head(z) * n.gate(z).sigmoid(), "head"),
    "an auxiliary head runs later": (lambda n, z: (n.head(z), n.other(z)), "head"),
    "a softmax follows": (lambda n, z: n.head(z).softmax(1), "head"),
    "a scale follows": (lambda n, z: n.head(z) / 0.07 + z.new_ones(4), "head"),
    "written into a buffer": (fills, "head"),
    "in place": (lambda n, z: n.head(z).sub_(1).clamp_(-5, 5), "head"),
    "views": (lambda n, z: n.head(z).view(-1, 2, 2).transpose(1, 2).reshape(-1, 4), "head"),
    "after attention": (attends, "head"),
    "an average weighted by the images": (weighs, "head"),
    "a deeper one": (lambda n, z: n.deep(n.head(z)), "deep"),
    "a convolution, averaged": (lambda n, z: n.scores(n.map).relu().mean((2, 3)), "scores"),
    "a convolution of one place": (lambda n, z: n.scores(z[:, :, None, None]), "scores"),
    "a choice": (lambda n, z: torch.where(n.gate(z) > 0, n.head(z), -n.head(z)), "head"),
    "nested": (lambda n, z: {"rest": None, "out": [n.head(z), z]}, "head"),
}


@pytest.mark.parametrize("case", FOUND)
def test_the_head_gives_the_output(case: str) -> None:
    rule, head = FOUND[case]
    net = Net(rule)
    assert trace(net, IMAGES).head.name == head
    assert head_of_network(Net(rule).to("meta"), (3, 8, 8)).name == head
    assert hooks_left(net) == []


NONE: dict[str, tuple[Rule, str]] = {
    "features": (lambda n, z: z, "from no linear layer or 1 × 1 convolution"),
    "a map": (lambda n, z: n.scores(n.map), r"gives numbers of shape \(4, 6, 6\)"),
    "a norm follows": (lambda n, z: n.norm(n.head(z)), "from no linear layer"),
    "a hidden layer": (lambda n, z: n.head(z).relu(), "from no linear layer"),
    "two put together": (lambda n, z: torch.cat([n.head(z), n.other(z)], 1), "from no linear"),
    "no tensor": (lambda n, z: None, "gives no tensor"),
}


FEATURES = {"features": 6, "two put together": 8, "no tensor": 0}


@pytest.mark.parametrize("case", NONE)
def test_a_network_without_a_classifier(case: str) -> None:
    rule, why = NONE[case]
    head = trace(Net(rule), IMAGES).head
    assert head.name is None
    assert re.search(f"has no classifier: .*{why}.*--head", head.reason)
    assert head.features == FEATURES.get(case, 4)


def test_an_output_that_cannot_be_followed() -> None:
    head = trace(Net(lambda n, z: torch.from_numpy(n.head(z).numpy() * 2)), IMAGES).head
    assert (head.name, head.features) == (None, 0)
    assert "cannot be followed" in head.reason


class Bare(nn.Module):
    """The classifier is a parameter, not a layer."""

    def __init__(self, listed: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        weight = nn.Parameter(torch.randn(6, 4))
        self.weights = nn.ParameterList([weight]) if listed else weight

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weights[0] if isinstance(self.weights, nn.ParameterList) else self.weights
        return self.conv(x).mean((2, 3)) @ weight


@pytest.mark.parametrize("listed", [False, True])
def test_a_classifier_that_is_no_layer(listed: bool) -> None:
    head = trace(Bare(listed), IMAGES).head
    assert (head.name, head.features) == (None, 0)
    assert "its own forward, has no weights that can train as a layer" in head.reason


def test_a_head_whose_input_cannot_be_followed() -> None:
    assert trace(Net(lambda n, z: n.head(torch.from_numpy(z.numpy()))), IMAGES).head.name == "head"


def test_two_layers_that_may_be_the_head_are_named() -> None:
    net = Net(lambda n, z: (n.other(z) + n.head(z)) / 2)
    head = trace(net, IMAGES).head
    assert (head.name, head.features) == (None, 0)
    assert "not clear which layer" in head.reason
    assert "depends on head, other." in head.reason
    assert trace(net, IMAGES, head="other").head.name == "other"
    assert trace(net, IMAGES, head="none").head == Head(None, features=4)


@pytest.mark.parametrize("name", ["norm", "heads", "conv.0"])
def test_a_choice_that_is_no_linear_or_convolution_layer(name: str) -> None:
    with pytest.raises(OptionError, match=r"`head` must be .* such as .*, decode, or “none”; got"):
        trace(Net(FOUND["in place"][0]), IMAGES, head=name)


def test_a_choice_where_no_layer_could_be_chosen() -> None:
    with pytest.raises(OptionError, match="must be “none”, as the network has no linear or conv"):
        trace(nn.Sequential(nn.Flatten(), nn.LayerNorm(192)), IMAGES, head="1")


class Cosine(nn.Module):
    """A classifier with a product of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(functional.normalize(x), functional.normalize(self.weight))


def test_a_classifier_with_a_product_of_its_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Cosine())
    assert trace(net, IMAGES).head.name == "3"


def test_a_quantised_classifier_cannot_train() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    head = trace(quantised, IMAGES).head
    assert (head.name, head.features) == (None, 0)
    assert "The classifier of this network, 3, has no weights that can train" in head.reason
