"""The memory of a pass: predicted without running it, against the ledger of the real pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.models import load_model
from analysis.models.loading import empty_network
from analysis.system.memory import resident_bytes
from analysis.topology.footprints import (
    free_budget,
    held_bytes,
    plan_within,
    predict_footprint,
    trace_footprint,
)
from analysis.topology.passes import Budget, Footprint
from analysis.topology.pipeline import analyze
from tests.factories import POCKET


def held(model: nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", POCKET)
def test_a_prediction_equals_the_memory_of_the_pass(name: str) -> None:
    model = load_model(name)
    footprint = predict_footprint(model, (3, 32, 32), layers=1)
    for count in (4, 20):
        measured = analyze(model, images(count)).peak_bytes - held(model)
        predicted = footprint.fixed + count * footprint.image
        # The distances' own slices and matrices are in what is measured.
        assert predicted <= measured * 1.25
        assert measured <= footprint.of_pass(count)
        assert measured - 1_500_000 <= 1.05 * predicted


def test_a_network_without_weights_has_the_same_prediction() -> None:
    whole = predict_footprint(load_model("pocket-vgg"), (3, 32, 32), layers=1)
    assert predict_footprint(empty_network("pocket-vgg", 10), (3, 32, 32), layers=1) == whole


@pytest.mark.parametrize("name", POCKET)
def test_the_bound_of_a_trace_is_never_less(name: str) -> None:
    model = load_model(name)
    traced, most = trace_footprint(model, images(6))
    exact = predict_footprint(model, (3, 32, 32), len(traced.layers))
    assert most.layers == exact.layers == len(traced.layers)
    assert exact.of_pass(1000) <= most.of_pass(1000) <= 2 * exact.of_pass(1000)


def test_a_larger_batch_may_peak_in_another_layer() -> None:
    class Weighty(nn.Module):
        """A large tensor that does not grow with the images, late; many activations, early."""

        def __init__(self) -> None:
            super().__init__()
            self.wide, self.last = nn.Linear(10, 5000), nn.Linear(10, 10)

        def forward(self, x: Tensor) -> Tensor:
            early = self.wide(x).sum(1, keepdim=True)
            return self.last(x + early) + torch.zeros(10, 100_000).sum()

    footprint = predict_footprint(Weighty(), (10,), layers=2)
    assert footprint.image >= 5000 * 4 - 4_000_000 // 1000
    for count in (2, 500, 1024):
        assert footprint.fixed + count * footprint.image >= max(4_000_000, count * 20_000)


def test_half_precision_takes_less_per_image() -> None:
    model = load_model("pocket-resnet20")
    full = predict_footprint(model, (3, 32, 32), layers=1)
    half = predict_footprint(model, (3, 32, 32), layers=1, precision="bfloat16")
    assert 0.4 * full.image < half.image < 0.8 * full.image


def test_ripser_is_charged_for_at_most_one_process_per_layer(monkeypatch: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    monkeypatch.setattr("analysis.topology.footprints.cpu_count", lambda: 64)
    assert trace_footprint(model, torch.randn(2, 4))[1].processes == 2
    assert predict_footprint(model, (4,), layers=2).processes == 2
    monkeypatch.setattr("analysis.topology.footprints.cpu_count", lambda: 1)
    assert predict_footprint(model, (4,), layers=2).processes == 1


def test_libraries_that_load_later_are_counted() -> None:
    later = held_bytes(torch.device("cpu")) - resident_bytes()
    assert 40e6 < later < 60e6


def test_torchs_cache_counts_as_free(monkeypatch: Any) -> None:
    resident = [3 * 10**9]
    monkeypatch.setattr("analysis.topology.footprints.free_cache", lambda _: resident.clear())
    monkeypatch.setattr(
        "analysis.topology.footprints.free_bytes", lambda _: 4 * 10**9 - sum(resident)
    )
    assert free_budget(torch.device("cuda")) == Budget(4 * 10**9, 4 * 10**9)


def test_the_bound_is_not_refined_for_a_model_that_fits(monkeypatch: Any) -> None:
    def never(*_: object) -> Footprint:
        raise AssertionError("looked at")

    monkeypatch.setattr("analysis.topology.footprints.predict_footprint", never)
    most, model = Footprint(layers=3, image=1000), nn.Linear(4, 4)
    assert plan_within(Budget(10**9), model, torch.randn(20, 4), most).passes == 1


def test_a_model_that_cannot_be_predicted_is_charged_the_bound_of_its_trace() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if float(x.sum()) > 0 else self.layer(-x)

    with pytest.raises(ModelError):
        predict_footprint(Decides(), (4,), layers=1)
    most = Footprint(layers=1, image=10**6)
    budget = Budget(most.of_matrices(20) + most.of_pass(10))
    assert plan_within(budget, Decides(), torch.randn(20, 4), most).blocks == 4
