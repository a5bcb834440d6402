"""Wrappers are looked through, lazy layers filled, and what cannot be analysed is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.instruments.wrappers import lazy_layers, remove_wrappers, unwrapped
from analysis.models import load_model, weights_fingerprint
from analysis.models.loading import learn_code
from analysis.topology.pipeline import analyze
from analysis.training.freezing import freeze, parameters_of
from analysis.training.loop import finetune
from analysis.training.splits import TensorImages

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def body() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def lazy() -> nn.Sequential:
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )


@pytest.mark.parametrize(
    "wrap",
    [
        torch.compile,
        nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
        lambda model: nn.DataParallel(torch.compile(model)),
    ],
    ids=["compile", "DataParallel", "AveragedModel", "both"],
)
def test_a_wrapper_is_looked_through(wrap: type[nn.Module]) -> None:
    plain, model = analyze(body(), IMAGES), wrap(body())
    report = analyze(model, IMAGES)
    assert report.names == ["0", "3"]
    assert report.head == "3"
    for layer, same in zip(report.layers, plain.layers, strict=True):
        np.testing.assert_array_equal(layer.distances, same.distances)
    assert parameters_of(model, ["3"]) == ["3.weight", "3.bias"]
    freeze(model, ["3.bias"])
    trained = {name for name, p in unwrapped(model).named_parameters() if p.requires_grad}
    assert trained == {"3.bias"}


def test_a_compiled_forward_runs_with_hooks() -> None:
    """Dynamo compiles the first pass, and would not notice the hooks of the next."""
    model = body()
    model.compile(backend="eager")
    model(IMAGES)
    for _ in range(2):
        assert analyze(model, IMAGES).names == ["0", "3"]


def test_wrappers_inside_a_network_are_removed() -> None:
    model = nn.Sequential(nn.DataParallel(body()[:3]), torch.compile(body()[3]))
    model = remove_wrappers(torch.compile(model))
    assert [name for name, _ in model.named_parameters()] == [
        "0.0.weight", "0.0.bias", "1.weight", "1.bias",
    ]  # fmt: skip


def test_lazy_layers_are_filled_by_the_seed() -> None:
    first, second, other = (analyze(lazy(), IMAGES, seed=seed) for seed in (1, 1, 2))
    assert first.names == ["0", "1", "4"]
    np.testing.assert_array_equal(first.layers[0].distances, second.layers[0].distances)
    assert not np.array_equal(first.layers[0].distances, other.layers[0].distances)
    assert first.warnings() == []


def test_a_lazy_layer_that_does_not_run_is_named() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.run, self.skip = nn.LazyConv2d(4, 3), nn.LazyLinear(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.run(x)

    with pytest.raises(ModelError, match=r"does not run these lazy layers.*: skip"):
        analyze(Skips(), IMAGES)


OWN = """
import torch
from torch import nn

def lazy():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))
    net.input_size = 8
    return net

def wrapped():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5))
    net.input_size = 8
    return nn.DataParallel(torch.compile(net))

def meta():
    with torch.device("meta"):
        return nn.Linear(3, 2)
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(OWN)
    return f"{tmp_path / 'net.py'}:"


def test_a_lazy_network_of_ones_own(own: str) -> None:
    name = f"{own}lazy"
    learn_code(name, 3)
    assert weights_fingerprint(name, "random", 3)
    one, two, other = (load_model(name, weights="random", seed=s, num_classes=2) for s in (3, 3, 4))
    assert lazy_layers(one) == []
    assert one[0].weight.equal(two[0].weight)
    assert not one[0].weight.equal(other[0].weight)
    assert one(IMAGES).shape == (6, 2)


def test_a_wrapped_network_of_ones_own(own: str) -> None:
    model = load_model(f"{own}wrapped", num_classes=2)
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert model(IMAGES).shape == (6, 2)


def test_the_meta_device_is_refused(own: str) -> None:
    with pytest.raises(ModelError, match=r"on the meta device.*: weight, bias\. Build it on"):
        load_model(f"{own}meta")
    with pytest.raises(ModelError, match="on the meta device"):
        analyze(body().to("meta"), IMAGES)


@pytest.mark.filterwarnings("ignore")
def test_what_hides_its_layers_is_refused() -> None:
    scripted = torch.jit.script(body())
    for model in (scripted, torch.jit.freeze(scripted.eval()), torch.jit.trace(body(), IMAGES)):
        with pytest.raises(ModelError, match=r"The network was compiled by torch\.jit"):
            analyze(model, IMAGES)
    with pytest.raises(ModelError, match=r"A part of the network, 0, was compiled"):
        analyze(nn.Sequential(scripted, nn.Linear(3, 2)), IMAGES)
    exported = torch.export.export(body(), (IMAGES,)).module()
    data = TensorImages(IMAGES, torch.arange(6) % 2)
    for use in (lambda: analyze(exported, IMAGES), lambda: [*finetune(exported, data, data, data)]):
        with pytest.raises(ModelError, match=r"was exported by torch\.export"):
            use()


def test_a_layer_that_sees_one_image_of_many_is_not_analysed() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.vmap(lambda one: self.conv(one).mean((1, 2)))(x))

    report = analyze(Mapped(), IMAGES)
    assert (report.names, report.outside, report.head) == (["head"], ("conv",), "head")


class Two(nn.Module):
    """Takes an image and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image: Tensor, mask: Tensor, scale: float = 1.0) -> Tensor:
        return self.conv(image * mask) * scale


class Named(Two):
    """Takes a dict."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        if self.how == "key":
            return self.conv(batch["image"])
        if self.how == "get":
            return self.conv(batch.get("image"))
        return super().forward(**batch)


@pytest.mark.filterwarnings("ignore:Using a non-tuple")
def test_what_takes_other_inputs_is_refused() -> None:
    with pytest.raises(ModelError, match=r"takes 2 inputs \(image, mask\), but here it gets one"):
        analyze(Two(), IMAGES)
    for how in ("key", "get", "spread"):
        with pytest.raises(ModelError, match="takes a dict or an object"):
            analyze(Named(how), IMAGES)
    with pytest.raises(ModelError, match="could not run on images of shape"):
        analyze(nn.Conv2d(1, 2, 3), IMAGES)


def test_a_network_that_ends_the_program_is_reported() -> None:
    class Exits(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise SystemExit(3)

    with pytest.raises(ModelError, match="could not run on images of shape"):
        analyze(Exits(3, 2), IMAGES)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_network_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 2))
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ModelError, match="is quantised: its layers hold packed weights"):
        analyze(quantised, IMAGES)
