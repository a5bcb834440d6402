"""Several passes against one: the same numbers in less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from analysis.errors import ModelError, OptionError
from analysis.models import load_model
from analysis.progress import Progress
from analysis.results import TopologyReport
from analysis.topology.footprints import predict_footprint
from analysis.topology.layer_distances import measure_layer_distances
from analysis.topology.passes import Plan
from analysis.topology.pipeline import analyze

SAMPLES = 30
TRACED = [2]  # images of the pass before the measured one
LOOKS = [2, 2, 2]  # and of three more where all images do not fit into one: two looks, and a trace


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 5)
    ).eval()


def images(count: int = SAMPLES) -> Tensor:
    return torch.randn(count, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def budget_for(model: nn.Module, inputs: Tensor, together: int, layers: int) -> int:
    """Bytes of a pass of `together` images, and of the matrices."""
    footprint = predict_footprint(model, tuple(inputs.shape[1:]), layers)
    return footprint.of_matrices(len(inputs)) + footprint.of_pass(together)


class Counted:
    """Records the number of images of each forward pass over real images."""

    def __init__(self, model: nn.Module) -> None:
        self.sizes: list[int] = []
        model.register_forward_pre_hook(self._note)

    def _note(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not isinstance(inputs[0], FakeTensor):
            self.sizes.append(len(inputs[0]))

    def __deepcopy__(self, _: object) -> Counted:
        return self


def assert_same(one: TopologyReport, other: TopologyReport) -> None:
    for a, b in zip(one.layers, other.layers, strict=True):
        np.testing.assert_allclose(b.distances, a.distances, rtol=1e-5, err_msg=a.name)
        assert (b.distances == b.distances.T).all()
        assert (a.b1, a.activation_size, a.finite) == (b.b1, b.activation_size, b.finite)


def test_several_passes_within_a_small_budget_give_the_same_numbers() -> None:
    model, inputs = network(), images()
    counted = Counted(model)
    one = analyze(model, inputs)
    assert counted.sizes == [*TRACED, SAMPLES]
    counted.sizes.clear()
    several = analyze(model, inputs, memory=budget_for(model, inputs, 12, layers=3))
    assert counted.sizes == [*TRACED, *LOOKS, *[12] * 10]  # five blocks of six
    assert_same(one, several)
    assert several.peak_bytes < 0.6 * one.peak_bytes
    assert max(layer.b1 for layer in one.layers) > 0


@pytest.mark.parametrize("name", ["pocket-mobilenetv2", "pocket-vit"])
def test_pocket_models_within_a_budget(name: str) -> None:
    model = load_model(name)
    inputs = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    layers = len((one := analyze(model, inputs)).layers)
    counted = Counted(model)
    several = analyze(model, inputs, memory=budget_for(model, inputs, 16, layers))
    assert counted.sizes == [*TRACED, *LOOKS, 16, 16, 16]
    assert_same(one, several)


def test_per_batch_clouds_are_the_same_as_well() -> None:
    model, inputs = network(), images()
    options: dict[str, Any] = {"pooling": "per-batch", "batch_size": 10}
    memory = budget_for(model, inputs, 8, layers=3)
    one, several = (analyze(model, inputs, memory=m, **options) for m in (0, memory))
    assert_same(one, several)
    assert len(several.layers[0].diagrams) == 3


def test_images_are_read_one_block_at_a_time() -> None:
    class Blocks:
        def __init__(self, whole: Tensor) -> None:
            self.whole, self.asked = whole, []

        def __len__(self) -> int:
            return len(self.whole)

        def __getitem__(self, rows: slice) -> Tensor:
            self.asked.append(len(range(*rows.indices(len(self)))))
            return self.whole[rows]

    model, blocks = network(), Blocks(images())
    several = analyze(model, blocks, memory=budget_for(model, blocks.whole, 6, layers=3))
    assert max(blocks.asked) == 3
    assert_same(analyze(model, blocks.whole), several)


def test_progress_counts_every_pass() -> None:
    model, inputs, seen = network(), images(), []
    memory = budget_for(model, inputs, 12, layers=3)
    analyze(model, inputs, memory=memory, progress=lambda p: seen.append(p))
    assert [p.done for p in seen] == list(range(33))  # three layers in ten passes, and topology
    assert {(p.total, p.layers) for p in seen} == {(33, 3)}
    assert [p.stage for p in seen] == ["Forward pass"] * 30 + ["Topology"] * 3
    assert seen[4] == Progress("Forward pass", "1", 4, 33, 3)


def test_a_layer_that_is_not_finite_in_one_pass_is_not_finite() -> None:
    inputs = images()
    inputs[13] = 1e38  # overflows in the linear layer's sums, or before
    model = network()
    memory = budget_for(model, inputs, 10, layers=3)
    one, several = (analyze(model, inputs, memory=m) for m in (0, memory))
    assert one.not_finite
    assert several.not_finite == one.not_finite


def test_a_module_called_twice_gives_its_last_output_in_every_pass() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.again(self.again(x) * 3)

    torch.manual_seed(0)
    model, inputs = Twice(), torch.randn(12, 6)
    with torch.no_grad():
        expected = squareform(pdist(model(inputs).double().numpy()))
    clouds = measure_layer_distances(
        model, inputs, ["again"], Plan(12, 3), on_layer=lambda *_: None
    )
    np.testing.assert_allclose(clouds.distances["again"], expected, rtol=1e-5)


def test_an_output_that_is_not_one_point_per_image_stays_outside() -> None:
    class Shares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            # Two images, as the trace has them, are distinguished from a pass of eight.
            shared = self.inner(x if len(x) == 2 else x[:1])
            return self.outer(x) + shared.sum()

    report = analyze(Shares(), torch.randn(12, 6))
    assert (report.names, report.outside) == (["outer"], ("inner",))
    clouds = measure_layer_distances(
        Shares(), torch.randn(12, 6), ["inner", "outer"], Plan(12, 3), on_layer=lambda *_: None
    )
    assert (list(clouds.outside), list(clouds.distances)) == (["inner"], ["outer"])


class Sometimes(nn.Module):
    """Its second layer runs, or gives one point per image, depending on the first image."""

    def __init__(self, otherwise: str) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.otherwise = otherwise

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if x[0, 0] > 0:
            return self.second(hidden)
        return hidden + self.second(hidden[:1]).sum() if self.otherwise == "outside" else hidden


@pytest.mark.parametrize("otherwise", ["skipped", "outside"])
def test_distances_that_no_pass_measured_are_not_zero(otherwise: str) -> None:
    inputs = torch.randn(12, 6)
    inputs[:, 0] = torch.tensor([1.0] * 4 + [-1.0] * 8)  # the last pass begins with image 4
    clouds = measure_layer_distances(
        Sometimes(otherwise), inputs, ["first", "second"], Plan(12, 3), on_layer=lambda *_: None
    )
    assert clouds.distances["first"] is not None
    if otherwise == "outside":
        assert (list(clouds.distances), list(clouds.outside)) == (["first"], ["second"])
    else:
        assert clouds.distances["second"] is None


def test_an_analysis_that_cannot_fit_is_refused_before_the_passes() -> None:
    model, inputs = network(), images()
    counted = Counted(model)
    with pytest.raises(ModelError, match="Even two images at a time need"):
        analyze(model, inputs, memory=1_000_000)
    assert counted.sizes == [*TRACED, *LOOKS]
    with pytest.raises(OptionError, match="`memory` must be at least 0, got -1"):
        analyze(model, inputs, memory=-1)
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_distances_of_half_precision_activations_have_full_precision(precision: Any) -> None:
    model, inputs, clouds = network(), images(), {}
    for name, module in model.named_children():
        module.register_forward_hook(
            # The last pass is of a few images, to measure the rounding.
            lambda _, __, out, name=name: (
                clouds.update({name: out.clone()}) if len(out) == SAMPLES else None
            )
        )
    report = analyze(model, inputs, precision=precision)
    for layer in report.layers:
        cloud = clouds[layer.name]
        assert cloud.dtype == getattr(torch, precision)
        assert len(cloud) == SAMPLES
        expected = squareform(pdist(cloud.double().flatten(1).numpy()))
        np.testing.assert_allclose(layer.distances, expected, rtol=1e-5)
    full = analyze(model, inputs)
    half, whole = report.layers[0].distances, full.layers[0].distances
    apart = whole > 0
    assert 1e-5 < np.abs(half[apart] / whole[apart] - 1).max() < 0.05


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(OptionError, match="`precision` must be one of float32, bfloat16, float16"):
        analyze(network(), images(), precision="int8")  # type: ignore[arg-type]
