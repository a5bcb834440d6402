"""The passes that an analysis makes anyway show how a network behaves, and change no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis.instruments.layout import layout_of
from analysis.models import load_model
from analysis.topology import observed_passes
from analysis.topology.layer_distances import measure_layer_distances
from analysis.topology.passes import Plan
from analysis.topology.pipeline import analyze

SAMPLES = 12


def images() -> Tensor:
    return torch.randn(SAMPLES, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Centred(nn.Module):
    """Its batch decides what an image gets; or, if it reads the memory, the layout does."""

    def __init__(self, reads_memory: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end = nn.Conv2d(3, 4, 5), nn.Linear(4 * 28 * 28, 3)
        self.reads_memory = reads_memory
        self.sizes: list[int] = []
        self.precisions: set[str] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        self.precisions.add(torch.get_float32_matmul_precision())
        y = self.conv(x)
        if self.reads_memory:
            return self.end(y.as_strided((len(y), 4 * 28 * 28), (4 * 28 * 28, 1)))
        return self.end((y - y.mean(0)).flatten(1))


@pytest.mark.parametrize("name", ["pocket-resnet20", "pocket-vit"])
def test_what_is_compared_is_no_memory_of_the_analysis(name: str) -> None:
    model, inputs = load_model(name), images()
    report = analyze(model, inputs)
    assert layout_of(model) == torch.channels_last
    names = [layer.name for layer in report.layers]
    alone = measure_layer_distances(model, inputs, names, Plan(SAMPLES))
    assert report.peak_bytes == alone.peak_bytes
    for layer in report.layers:
        np.testing.assert_array_equal(layer.distances, alone.distances[layer.name])


def test_ones_own_modules_are_observed_before_all_images_run() -> None:
    model = Centred()
    report = analyze(model, images())
    assert "depend on the other images" in report.remarks[0]
    assert model.sizes.count(SAMPLES) == 1
    assert model.sizes.index(SAMPLES) > 1


def test_a_norm_that_looks_at_its_batch_is_found_by_the_passes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4, track_running_stats=False),
        nn.Flatten(), nn.Linear(4 * 28 * 28, 3),
    )  # fmt: skip
    report = analyze(model, images())
    assert "depend on the other images" in report.remarks[0]
    assert "depend on the other images" not in str(analyze(model[:1], images()).remarks)


def test_what_the_wrong_layout_gave_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed_passes, "_PACKAGES", {"torch", "tests"})
    model = Centred(reads_memory=True)
    report = analyze(model, images())
    assert model.sizes[:2] == [2, SAMPLES]
    assert model.sizes.count(SAMPLES) == 2
    assert layout_of(model) == torch.contiguous_format
    alone = measure_layer_distances(model, images(), ["end"], Plan(SAMPLES))
    np.testing.assert_array_equal(report.layer("end").distances, alone.distances["end"])


def test_every_pass_has_full_float32() -> None:
    before = torch.get_float32_matmul_precision()
    model = Centred()
    with torch.no_grad():
        model.conv.bias += 1e5  # type: ignore[operator]  # so that its rounding is measured too
    torch.set_float32_matmul_precision("medium")
    try:
        analyze(model, images())
    finally:
        torch.set_float32_matmul_precision(before)
    assert model.sizes.count(SAMPLES) == 2  # the second for the rounding
    assert model.precisions == {"highest"}
