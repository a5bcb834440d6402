"""The size, channels, mean and deviation that a network asks for, and that a person sets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from textwrap import shorten

import numpy as np
import pytest
import torch
from torch import nn

from analysis.__main__ import main
from analysis.errors import ModelError, OptionError
from analysis.models import input_format, load_model, prepare_images
from analysis.models.own_input import preprocessing_for
from analysis.options import AnalysisOptions
from analysis.results import InputFormat
from analysis.system.torchvision_guard import torchvision  # noqa: F401  (must precede transforms)
from analysis.topology.pipeline import analyze_named
from analysis.topology.store import fingerprint, load_analysis
from torchvision.transforms import Normalize

GREY_NET = """from torch import nn

def build():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    net.input_size, net.mean, net.std, net.resize = (1, 12, 20), 0.5, (0.25,), (12, 20)
    return net
"""


FRAMED = """from torch import nn

class Net(nn.Flatten):
    input_size, mean, std = (3, 32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

def build():
    return Net()
"""


NORMALISING = """import torch
from torch import nn

def build():
    net = nn.Flatten()
    net.mean, net.std, net.input_size = torch.zeros(3), torch.ones(3), 224
    return net
"""


def asking(**attributes: object) -> nn.Module:
    network = nn.Flatten()
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (32, (3, 32, 32)),
        (32.0, (3, 32, 32)),
        ("32", (3, 32, 32)),
        (np.int64(32), (3, 32, 32)),
        ((32, 32), (3, 32, 32)),
        ([24, 32], (3, 24, 32)),
        ((1, 28, 28), (1, 28, 28)),
        ((3, 32, 48), (3, 32, 48)),
        (torch.Size([3, 32, 48]), (3, 32, 48)),
        (np.array([3, 32, 48]), (3, 32, 48)),
        (torch.tensor([3, 32, 48]), (3, 32, 48)),
        ((1, 3, 32, 48), (3, 32, 48)),  # with a batch of one, as torchinfo has it
        (("3", 32.0, "48"), (3, 32, 48)),
    ],
)
def test_the_size_of_the_input_is_read(size: object, shape: tuple[int, int, int]) -> None:
    assert preprocessing_for(asking(input_size=size)).shape == shape


@pytest.mark.parametrize(
    "attributes",
    [
        {"input_size": size}
        for size in ("large", "32x32", 32.5, 0, -1, True, (), None, float("nan"), {"side": 32},
                     (2, 3, 32, 32), (1, 2, 3, 4, 5), (28, 28, 1), (4, 32, 32), 10**400)
    ]
    + [{"mean": (123.675, 116.28, 103.53)}, {"std": [58.4, 57.1, 57.4]}, {"mean": 10**400}]
    + [{"mean": "grey"}, {"mean": (0.5, 0.5)}, {"std": 0.0}, {"std": [0.2, 0.2, float("inf")]}]
    + [{"resize": size} for size in (100, "all", (224, 100), (256, 256, 256), ())],
)  # fmt: skip
def test_an_attribute_that_cannot_be_understood_is_refused_with_its_value(
    attributes: dict[str, object],
) -> None:
    ((name, value),) = attributes.items()
    with pytest.raises(ModelError) as error:
        preprocessing_for(asking(**attributes))
    assert f"`{name}`" in str(error.value)
    assert shorten(repr(value), 60, placeholder=" …") in str(error.value)
    assert len(str(error.value)) < 250
    assert str(error.value).count(". ") <= 1


def test_without_attributes_the_preparation_is_that_of_imagenet() -> None:
    plain = preprocessing_for(nn.Flatten())
    assert plain.format.text == (
        "224 × 224 pixels, RGB: resized to 256 × 256 (bilinear), then the centre is cropped; "
        "mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225."
    )
    grey = preprocessing_for(asking(input_size=(1, 28, 28)))
    assert (grey.mean, grey.std) == ((0.449,), (0.226,))
    # A buffer is a network's own normalisation, and a method is none.
    norm = nn.Module()
    norm.register_buffer("mean", torch.zeros(3))
    norm.resize = lambda: 3
    assert preprocessing_for(norm) == plain


def test_mean_deviation_and_resize_of_a_network_are_honoured() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    same = asking(input_size=32, mean=(0, 0, 0), std=(1, 1, 1), resize=32)
    assert torch.equal(preprocessing_for(same)(images), images)  # nothing cut off
    half = asking(input_size=32, mean=0.5, std=[0.5], resize=32)
    assert torch.allclose(preprocessing_for(half)(images), 2 * images - 1, atol=1e-6)
    stretched = asking(input_size=(3, 16, 48), mean=0, std=1, resize=(16, 48))
    edge = torch.zeros(1, 3, 32, 32)
    edge[..., -4:] = 1  # a tenth of the width stays a tenth
    assert preprocessing_for(stretched)(edge)[0, 0, 8].tolist()[-4:] == [1.0] * 4


def test_an_input_that_is_not_square_is_covered_without_distortion() -> None:
    wide = preprocessing_for(asking(input_size=(3, 32, 64), resize=32, mean=0, std=1))
    circle = torch.zeros(1, 1, 100, 100)
    circle[..., 40:60, 40:60] = 1
    for image in (circle, circle[..., 20:80, :]):
        seen = wide(image)[0, 0]
        assert seen.shape == (32, 64)
        rows, columns = (seen > 0.5).any(1).sum(), (seen > 0.5).any(0).sum()
        assert abs(int(rows - columns)) <= 1


def test_a_colour_image_becomes_grey_for_one_channel() -> None:
    grey = preprocessing_for(asking(input_size=(1, 8, 8), mean=0, std=1, resize=8))
    image = torch.ones(1, 3, 8, 8) * torch.tensor([1.0, 0.5, 0.0])[:, None, None]
    assert torch.allclose(grey(image), torch.full((1, 1, 8, 8), 0.299 + 0.587 / 2))
    assert torch.equal(grey(image[:, :1]), torch.ones(1, 1, 8, 8))


def test_a_network_of_one_channel_is_analysed_with_its_own_input(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(GREY_NET)
    name = f"{tmp_path / 'net.py'}:build"
    assert load_model(name, num_classes=3).get_submodule("4").out_features == 3
    image = np.full((1, 3, 40, 40), 0.75, np.float32)
    assert torch.allclose(prepare_images(name, image), torch.ones(1, 1, 12, 20))
    assert prepare_images(name, list(image)).shape == (1, 1, 12, 20)
    assert main(["analyze", "--model", name, "--samples", "8"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["input"] == {
        "channels": 1, "height": 12, "width": 20, "resize": [12, 20], "mean": [0.5],
        "std": [0.25], "interpolation": "bilinear", "padding": 0, "stretched": True,
        "bordered": False, "clipped": False, "remark": "",
    }  # fmt: skip
    assert [layer["layer"] for layer in result["layers"]] == ["0", "4"]


def test_mean_and_deviation_can_be_set(home: Path) -> None:
    image = np.random.default_rng(0).random((1, 1, 28, 28), dtype=np.float32)
    seen = prepare_images("pocket-resnet20", image, input_mean="0", input_std="1")
    assert np.allclose(seen[0, 0, 2:-2, 2:-2], image[0, 0])
    options = AnalysisOptions(samples=8, input_mean="0.5, 0.4 0.3", input_std="0.5")
    assert options.input_mean == "0.5, 0.4, 0.3"
    report = analyze_named(options)
    assert isinstance(report.input_format, InputFormat)
    assert report.input_format.mean == (0.5, 0.4, 0.3)
    assert report.input_format.text == (
        "32 × 32 pixels, RGB: stretched to 28 × 28 (bilinear), with 2 black pixels around it; "
        "mean 0.5, 0.4, 0.3, std 0.5."
    )
    stored = load_analysis(fingerprint(options))
    assert stored is not None
    assert stored.input_format == report.input_format
    plain = analyze_named(AnalysisOptions(samples=8))
    assert not np.array_equal(plain.layers[0].distances, report.layers[0].distances)


def test_the_size_before_the_crop_can_be_set(tmp_path: Path, home: Path) -> None:
    (tmp_path / "net.py").write_text(FRAMED)
    name = f"{tmp_path / 'net.py'}:build"
    image = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    assert not np.allclose(prepare_images(name, image), image)  # the frame is cut off
    assert np.allclose(prepare_images(name, image, input_resize=32), image)
    assert input_format(name, input_resize=40).resize == (40, 40)
    assert input_format("pocket-vit", input_resize=56).resize == (56, 56)
    options = AnalysisOptions(samples=4, input_resize=27)
    assert fingerprint(options) != fingerprint(AnalysisOptions(samples=4))
    with pytest.raises(
        OptionError, match="`input_resize` must be at least the input's 28 pixels, got 27"
    ):
        analyze_named(options)


def test_a_network_that_may_normalise_its_images_itself_is_named(tmp_path: Path) -> None:
    def remark(model: nn.Module) -> str:
        return preprocessing_for(model).format.remark

    own = nn.Module()
    own.register_buffer("mean", torch.zeros(3))
    own.std = torch.ones(3)
    assert remark(own).startswith("The network has a mean and a deviation, so it may normalise")
    layer = Normalize(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
    inside = nn.Sequential(layer, nn.Flatten())
    assert remark(inside).startswith("0 of the network has a mean and a deviation")
    inside.mean, inside.std = 0, 1  # type: ignore[assignment]
    assert remark(inside) == ""
    for plain in (nn.BatchNorm2d(3), asking(mean=0.5, std=0.5), asking(input_size=8)):
        assert remark(plain) == ""
    (tmp_path / "net.py").write_text(NORMALISING)
    name = f"{tmp_path / 'net.py'}:build"
    assert "--input-mean 0 --input-std 1" in input_format(name).remark
    assert input_format(name, input_mean="0", input_std="1").remark == ""


def test_a_function_that_needs_classes_and_a_changed_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    text = NORMALISING.replace("build()", "build(num_classes)")
    path.write_text(text)
    assert input_format(f"{path}:build").height == 224
    path.write_text(text.replace("224", "64"))
    os.utime(path, ns=(1, 1))
    assert input_format(f"{path}:build").height == 64


def test_settings_of_the_input_decide_unless_they_are_the_default() -> None:
    plain, spelled = AnalysisOptions(), AnalysisOptions(input_mean=" ", input_std="")
    assert fingerprint(plain) == fingerprint(spelled)
    others = [AnalysisOptions(input_mean=text) for text in ("0.5", "(0.5, 0.5, 0.5)", "[.5 .5 .5]")]
    assert len({fingerprint(options) for options in (plain, *others)}) == 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"input_mean": "grey"}, "`input_mean` must be numbers, separated by commas, got 'grey'"),
        ({"input_mean": "nan"}, "`input_mean` must be numbers"),
        ({"input_std": "0.5, 0"}, "`input_std` must be numbers above 0, separated by commas"),
        ({"input_mean": "127.5"}, "for values from 0 to 1 .divide those for 0 to 255 by 255."),
        ({"input_std": "58.4"}, "`input_std` must be numbers above 0 for values from 0 to 1"),
    ],
)
def test_other_texts_are_refused(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        AnalysisOptions(**settings)  # type: ignore[arg-type]


def test_as_many_numbers_as_channels_are_needed() -> None:
    with pytest.raises(OptionError, match=r"^`input_std` must be one number or 3, one for each"):
        input_format("pocket-vit", input_std="0.5, 0.5")
