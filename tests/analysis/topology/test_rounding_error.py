"""Loops that rounded activations make or hide, where they lie far from the origin or in 16 bits."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from ripser import ripser
from torch import Tensor, nn

from analysis.models import load_model
from analysis.results import TopologyReport
from analysis.topology import observed_passes, rounding_error
from analysis.topology.layer_distances import LayerDistances, measure_layer_distances
from analysis.topology.pipeline import analyze
from analysis.topology.store import load_analysis, save_analysis
from tests.factories import POCKET

POINTS = 16


class Shifted(nn.Module):
    """Images go to points at one distance from each other, which have no loop, far from zero."""

    def __init__(self, bias: float, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        turned = torch.linalg.qr(torch.randn(POINTS, POINTS, generator=generator))[0]
        self.far = nn.Linear(POINTS, POINTS)
        self.norm = nn.BatchNorm1d(POINTS)  # moves them back, with what is left of their digits
        self.last = nn.Linear(POINTS, 3)
        with torch.no_grad():
            self.far.weight.copy_(turned * scale)
            self.far.bias.fill_(bias * scale)
            self.norm.running_mean.fill_(bias * scale)
            self.norm.running_var.fill_(scale**2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.norm(self.far(images)))


def report_of(model: nn.Module, images: Tensor | None = None, **options: object) -> TopologyReport:
    return analyze(model, torch.eye(POINTS) if images is None else images, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bias", "scale"), [(1e3, 1 / 3), (1e4, 1.0), (1e4, 1e-4), (1e4, 7e5), (1e5, 1 / 3)]
)
def test_a_large_bias_makes_no_loops_at_any_scale(bias: float, scale: float) -> None:
    report = report_of(Shifted(bias, scale))
    assert [report.layer(name).b1 for name in ("far", "norm")] == [0, 0]
    for layer in report.layers[:2]:
        assert len(layer.diagram) == 0  # so every summary and plot is without them
        assert 1e-7 < layer.rounding / layer.diameter < 0.1


def test_layers_that_lose_loops_to_rounding_are_named() -> None:
    (sentence,) = (text for text in report_of(Shifted(1e4)).warnings() if "rounding" in text)
    assert sentence.startswith("Loops that are shorter than the rounding do not count in far, norm")


def test_a_layer_that_is_all_rounding_is_named() -> None:
    (sentence,) = (text for text in report_of(Shifted(1e7)).warnings() if "rounding" in text)
    assert sentence.startswith("The images differ by no more than rounding in far, norm, last, so")


@pytest.mark.parametrize("bias", [1e3, 1e4, 1e5])
def test_the_measured_error_is_that_of_float64(bias: float) -> None:
    torch.manual_seed(0)
    images = torch.randn(40, POINTS)
    model = Shifted(bias).eval()
    report = report_of(model, images)
    with torch.no_grad():
        exact = model.double().far(images.double())
    true = np.abs(torch.cdist(exact, exact, compute_mode="donot_use_mm_for_euclid_dist").numpy()
                  - report.layer("far").distances).max()  # fmt: skip
    assert true < report.layer("far").rounding < 6 * true


def test_float64_shows_the_loops_that_float32_hides() -> None:
    torch.manual_seed(0)
    images = torch.randn(40, POINTS)
    near, far = report_of(Shifted(0), images), report_of(Shifted(1e5), images)
    wide = report_of(Shifted(1e5).double(), images.double())
    assert wide.layer("far").b1 == near.layer("far").b1 > far.layer("far").b1


@pytest.mark.parametrize("name", POCKET)
def test_ordinary_networks_lose_no_loop(name: str) -> None:
    model = load_model(name)
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    far = []

    def measure_anyway(clouds: LayerDistances) -> bool:
        far.append(is_far(clouds))
        return True

    is_far = rounding_error.is_far_from_origin
    with patch.object(rounding_error, "is_far_from_origin", measure_anyway):
        report = report_of(model, images)
    assert far == [False]  # no pass would be taken for it
    assert max(layer.rounding for layer in report.layers) > 0
    for layer in report.layers:
        loops = ripser(layer.distances, distance_matrix=True)["dgms"][1].astype(np.float64)
        assert layer.b1 == (loops[:, 1] - loops[:, 0] > 1e-5 * loops[:, 1]).sum()


def test_16_bits_count_as_before_and_say_how_many_loops_may_be_rounding() -> None:
    torch.manual_seed(0)
    images = torch.randn(60, POINTS)
    model = Shifted(0)
    exact, report = report_of(model, images), report_of(model, images, precision="bfloat16")
    (sentence,) = (text for text in report.warnings() if "rounding" in text)
    assert "are no longer than the rounding of bfloat16, which makes some" in sentence
    assert not any("rounding" in text for text in exact.warnings())
    # Leaving out all of these loops would lose most of the real ones.
    assert abs(report.layer("far").b1 - exact.layer("far").b1) <= 3
    own = report_of(Shifted(0).bfloat16(), images)  # without autocast
    assert any("the rounding of bfloat16" in text for text in own.warnings())


class Chance(nn.Module):
    def __init__(self, far: nn.Module) -> None:
        super().__init__()
        self.far = far

    def forward(self, images: Tensor) -> Tensor:
        return self.far(images + torch.rand_like(images))


class Beside(Chance):
    def forward(self, images: Tensor) -> Tensor:
        return self.far(images * (1 + images.mean(0).norm()))


def test_chance_is_no_rounding_and_neighbours_are_the_same_in_both_passes() -> None:
    assert report_of(Chance(Shifted(1e4))).layer("far.far").rounding == 0
    layer = report_of(Beside(Shifted(1e4))).layer("far.far")
    assert layer.b1 == 0
    assert 0 < layer.rounding < 0.01 * layer.diameter


def test_small_passes_measure_it_too() -> None:
    model, images = Shifted(1e4), torch.eye(POINTS)
    whole = report_of(model, images)
    plans = rounding_error.Plan(POINTS, blocks=POINTS)
    with (
        patch.object(observed_passes, "plan_passes", lambda *_: plans),
        patch.object(observed_passes, "plan_within", lambda *_: plans),
        patch.object(
            rounding_error, "measure_layer_distances", wraps=measure_layer_distances
        ) as measure,
    ):
        blocks = report_of(model, images)
    assert measure.call_args.args[3].largest == plans.largest == 2
    assert blocks.layer("far").b1 == 0
    assert blocks.layer("far").rounding == pytest.approx(whole.layer("far").rounding, rel=1)


def test_the_error_is_stored(home: object) -> None:
    report = report_of(Shifted(1e4))
    save_analysis("0" * 32, report)
    loaded = load_analysis("0" * 32)
    assert loaded is not None
    assert [x.rounding for x in loaded.layers] == [x.rounding for x in report.layers]
    assert loaded.warnings() == report.warnings()
    odd = replace(report, layers=(replace(report.layers[0], rounding=-1.0),))
    save_analysis("1" * 32, odd)
    with pytest.raises(Exception, match="damaged"):
        load_analysis("1" * 32)
