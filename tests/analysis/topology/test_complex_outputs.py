"""A layer that gives complex numbers has a cloud of real and imaginary parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis.topology.pipeline import analyze
from analysis.training.gradients import gradient_evidence


class Mixer(nn.Module):
    """Complex weights."""

    def __init__(self, *, conjugates: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4, dtype=torch.complex64))
        self.conjugates = conjugates

    def forward(self, x: Tensor) -> Tensor:
        out = x.to(torch.complex64) @ self.weight
        return out.conj() if self.conjugates else out


class Magnitudes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


def network(*, conjugates: bool) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Mixer(conjugates=conjugates), Magnitudes(), nn.Linear(4, 2)).eval()


@pytest.mark.parametrize("conjugates", [False, True])
def test_both_parts_are_coordinates(conjugates: bool) -> None:
    model, images = network(conjugates=conjugates), torch.randn(9, 6)
    layer = analyze(model, images).layer("0")
    with torch.no_grad():
        out = model[0](images).resolve_conj()
    cloud = torch.cat((out.real, out.imag), 1)
    np.testing.assert_allclose(layer.distances, torch.cdist(cloud, cloud), atol=1e-5)
    assert layer.activation_size == 9 * 8
    # Neither part alone gives these distances.
    assert np.abs(layer.distances - torch.cdist(out.real, out.real).numpy()).max() > 0.1


@pytest.mark.parametrize("conjugates", [False, True])
def test_the_information_of_both_parts_counts(conjugates: bool) -> None:
    model, images, labels = network(conjugates=conjugates), torch.randn(5, 6), torch.arange(5) % 2
    evidence = gradient_evidence(model, images, labels, ["0", "2"], batch_size=5)
    parts = torch.view_as_real(model[0](images).resolve_conj()).detach().requires_grad_()
    logits = model[2](torch.view_as_complex(parts).abs())
    (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), parts)
    expected = (parts * gradient).square().mean() / 2
    assert evidence["fisher"]["0"] == pytest.approx(expected.item(), rel=1e-4)
    assert evidence["relative"]["0"] > 0
