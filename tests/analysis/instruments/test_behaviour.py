"""What changes a network's numbers silently is found, reported, and undone."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis.errors import ModelError
from analysis.instruments.behaviour import observe_network
from analysis.instruments.layout import layout_of
from analysis.results import TopologyReport
from analysis.topology import observed_passes
from analysis.topology.passes import Plan
from analysis.topology.pipeline import analyze

LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format


class Net(nn.Module):
    """A convolution and a classifier, with a change to what goes between them."""

    def __init__(self, between: Callable[[Tensor], Tensor], width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end = nn.Conv2d(3, 6, 5), nn.Linear(width, 4)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.between(self.conv(x)))


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def strided(x: Tensor) -> Tensor:
    """Reads the memory as if it were contiguous, whatever it is."""
    return x.as_strided(x.shape, (6 * 16, 16, 4, 1)).flatten(1)


def images(count: int = 8, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(1))


def distances(report: TopologyReport) -> list[np.ndarray]:
    return [layer.distances for layer in report.layers]


@pytest.mark.parametrize(
    ("change", "layout"),
    [
        (lambda x: x.flatten(1), LAST),
        (lambda x: x.view(len(x), -1), CONTIGUOUS),
        (strided, CONTIGUOUS),
        (lambda x: x.view(torch.int32).view(torch.float32).view(len(x), -1), CONTIGUOUS),
        (lambda x: x.unflatten(1, (2, 3)).contiguous().view(len(x), -1), LAST),
    ],
    ids=["flatten", "view", "as_strided", "view-dtype", "contiguous"],
)
def test_layout_is_ours(change: Callable[[Tensor], Tensor], layout: torch.memory_format) -> None:
    model, x = Net(change, 6 * 16), images()
    report = analyze(model, x)
    with torch.no_grad():
        hidden = model.conv(x)
        clouds = (hidden.flatten(1), model(x))
    assert layout_of(model) == layout
    for measured, cloud in zip(distances(report), clouds, strict=True):
        np.testing.assert_allclose(measured, torch.cdist(cloud, cloud), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_alters_its_input_leaves_the_images(channels: int) -> None:
    class Alters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.sub_(0.5).relu_())

    x = images(channels=channels)
    before = x.clone()
    analyze(Alters(), x)
    assert x.equal(before)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: functional.dropout(pooled(x), 0.5),
        lambda x: pooled(x) + torch.randn(len(x), 6),
        lambda x: pooled(x) * random.random(),
        lambda x: pooled(x) + float(np.random.rand()),  # noqa: NPY002
        lambda x: pooled(x)[:, torch.randperm(6)],
        lambda x: pooled(x) * (1 + (torch.rand(()) < 0.01)),
    ],
    ids=["dropout", "noise", "random", "numpy", "permutation", "rarely"],
)
def test_a_network_that_is_random_in_eval_mode(change: Callable[[Tensor], Tensor]) -> None:
    model, x = Net(change), images()
    state = random.getstate(), torch.get_rng_state()
    first, second, other = (analyze(model, x, seed=seed) for seed in (3, 3, 4))
    assert random.getstate() == state[0]
    assert torch.get_rng_state().equal(state[1])
    assert "is random even in evaluation mode" in first.warnings()[0]
    for a, b in zip(distances(first), distances(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(distances(first)[-1], distances(other)[-1])


@pytest.mark.parametrize(
    "change",
    [
        nn.BatchNorm2d(6, track_running_stats=False),
        lambda x: x - x.mean(0),
        lambda x: x / x.abs().max(),
        lambda x: x + x.roll(1, 0),
        lambda x: x * x.flatten(1).softmax(0).mean(1)[:, None, None, None],
    ],
    ids=["norm", "centred", "scaled", "rolled", "softmax"],
)
def test_a_network_whose_images_look_at_each_other(
    change: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Net(lambda x: pooled(change(x)))
    assert "depend on the other images" in analyze(model, images()).warnings()[0]
    for plans in ("plan_passes", "plan_within"):
        monkeypatch.setattr(observed_passes, plans, lambda *_: Plan(8, blocks=4))
    with pytest.raises(ModelError, match=r"must run in one pass.*use at most 4 samples"):
        analyze(model, images())


def test_a_network_that_behaves_has_no_remark() -> None:
    assert analyze(Net(pooled), images()).warnings() == []
    assert analyze(Net(pooled), torch.zeros(8, 3, 8, 8)).remarks == ()


class Moves(nn.Module):
    """Counts its passes, and adds the count to its output."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.end = nn.Linear(4, 3)
        self.register_buffer("passes", torch.zeros(()))
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            self.passes += 1
        else:
            self.passes = self.passes + 1
        return self.end(x) * self.passes


@pytest.mark.parametrize("in_place", [True, False])
def test_state_that_moves_is_reported_and_put_back(in_place: bool) -> None:
    model = Moves(in_place)
    kept = model.passes
    report = analyze(nn.Sequential(model), torch.randn(8, 4))
    assert "They were put back after each pass: 0.passes." in report.warnings()[0]
    assert model.passes is kept
    assert kept == 0


def test_a_network_that_alters_its_weights_is_reported() -> None:
    class Renormalizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.end = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.end.weight.data *= 0.9
            return self.end(x)

    report = analyze(nn.Sequential(Renormalizes()), torch.randn(8, 4))
    assert (
        "changes weights of this network even in evaluation mode: 0.end.weight."
        in (report.warnings()[0])
    )
    assert len(report.warnings()) == 1  # it is not called random


def test_a_network_that_cannot_run_is_left_to_the_analysis() -> None:
    assert observe_network(nn.Linear(5, 2), torch.randn(4, 3)) == observe_network(
        nn.Linear(3, 2), torch.randn(4, 3)
    )
