"""What the models are called and what tells their weights apart, all without torch."""

import subprocess
import sys

import numpy as np
import pytest

from analysis.asset_files import asset_entry
from analysis.errors import OptionError
from analysis.models import (
    MODELS,
    list_models,
    load_model,
    prepare_images,
    weights_fingerprint,
)
from analysis.models.weights_files import torchvision_weights

POCKET = [name for name, spec in MODELS.items() if spec.source == "pocket"]
FULL_SIZE = [name for name, spec in MODELS.items() if spec.source == "torchvision"]


def test_the_models_by_name() -> None:
    assert POCKET == ["pocket-resnet20", "pocket-vgg", "pocket-mobilenetv2", "pocket-vit"]
    assert FULL_SIZE == ["resnet50", "vgg16", "mobilenet_v2", "vit_b_16"]
    assert list_models() == POCKET + FULL_SIZE
    assert all(spec.name == name for name, spec in MODELS.items())


def test_listing_and_fingerprints_need_no_torch() -> None:
    program = (
        "import sys, analysis.models as m; m.list_models(); list(m.MODELS.values());"
        "m.weights_fingerprint('resnet50', 'pretrained', 0);"
        "m.weights_fingerprint('pocket-resnet20', 'pretrained', 0);"
        "print([name for name in ('torch', 'torchvision') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_weights_are_torchvision_s_default(name: str) -> None:
    spec, weights = MODELS[name], torchvision_weights(MODELS[name])
    assert weights is type(weights).DEFAULT
    assert weights.url.endswith(f"/{spec.weights_file}")
    assert len(weights.meta["categories"]) == spec.classes
    assert weights.transforms().crop_size == [spec.input_side]
    assert f"{weights.meta['num_params'] / 1e6:.1f} million" in spec.description


@pytest.mark.parametrize("name", POCKET)
def test_pocket_weights_are_the_manifest_s(name: str) -> None:
    assert asset_entry(name).path.name == MODELS[name].weights_file
    assert weights_fingerprint(name, "pretrained", 0) == asset_entry(name).sha256


def test_fingerprints_tell_weights_apart() -> None:
    assert weights_fingerprint("resnet50", "pretrained", 0) == "IMAGENET1K_V2-11ad3fa6"
    assert weights_fingerprint("resnet50", "pretrained", 1) == "IMAGENET1K_V2-11ad3fa6"
    assert weights_fingerprint("resnet50", "random", 7) == "random:7"
    assert weights_fingerprint("pocket-vit", "random", 8) == "random:8"


def test_unknown_names_list_the_known_ones() -> None:
    known = "`model` must be one of pocket-resnet20, .*vit_b_16; got 'resnet51'"
    with pytest.raises(OptionError, match=known):
        weights_fingerprint("resnet51", "pretrained", 0)
    with pytest.raises(OptionError, match=known):
        prepare_images("resnet51", np.zeros((1, 1, 28, 28), np.float32))
    with pytest.raises(
        OptionError,
        match=known + "; `weights` must be one of pretrained, random; got 'best'; "
        "`num_classes` must be at least 1, got 0",
    ):
        load_model("resnet51", weights="best", num_classes=0)  # type: ignore[arg-type]
