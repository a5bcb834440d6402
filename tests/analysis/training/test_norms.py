"""What reaches each norm, against torch's own divergence of the tensors themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from analysis.training.norms import norm_evidence
from tests.factories import hooks_left, same_bits, state_of

LAYERS = ["0", "1", "3", "4", "5"]
IMAGES = torch.randn(11, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 2 + 300


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5),
        nn.GroupNorm(1, 5), nn.Flatten(), nn.LazyLinear(2),
    )  # fmt: skip
    model(IMAGES)  # training mode: the statistics move
    return model


@pytest.mark.parametrize("batch_size", [3, 11])
def test_the_shift_is_that_of_all_inputs_of_a_norm(batch_size):
    model = network()
    before = state_of(model)
    found = norm_evidence(model, IMAGES, LAYERS, batch_size=batch_size)["input_shift"]
    with torch.no_grad():
        reaching = {"1": model.eval()[:1](IMAGES), "4": model[:4](IMAGES)}
    for name, tensor in reaching.items():
        norm, values = model.get_submodule(name), tensor.double().transpose(0, 1).flatten(1)
        new = Normal(values.mean(1), (values.var(1, correction=0) + norm.eps).sqrt())
        known = Normal(norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt())
        assert found[name] == pytest.approx(kl_divergence(new, known).mean().item(), rel=1e-4)
    assert found[["0", "3", "5"]].isna().all()
    assert list(found.index) == LAYERS
    assert all(same_bits(before[name], now) for name, now in model.state_dict().items())
    assert not hooks_left(model)


def test_statistics_that_saw_no_image_have_no_shift():
    model = network()
    model[1].reset_running_stats()
    found = norm_evidence(model, IMAGES, LAYERS)["input_shift"]
    assert math.isnan(found["1"])
    assert found["4"] > 0


def test_a_channel_that_no_longer_moves_has_a_finite_shift():
    model = network()
    nn.init.zeros_(model[0].weight)
    found = norm_evidence(model, IMAGES, LAYERS)["input_shift"]
    assert 1 < found["1"] < math.inf
