"""What the models are called and what tells their weights apart, all without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import OptionError
from analysis.models import (
    MODELS,
    list_models,
    load_model,
    model_problem,
    model_spec,
    prepare_images,
    side_of_input,
    weights_choices,
    weights_fingerprint,
    weights_problem,
)
from analysis.system.assets import asset_entry
from tests.factories import POCKET

PAPERS = ["resnet50", "vgg16", "mobilenet_v2", "vit_b_16"]


def test_the_pocket_zoo_comes_first_and_then_the_paper_s() -> None:
    assert [name for name, spec in MODELS.items() if spec.source == "pocket"] == POCKET
    assert list_models()[:8] == POCKET + PAPERS
    assert all(spec.name == name for name, spec in MODELS.items())


def test_listing_and_fingerprints_need_no_torch(tmp_path: Path) -> None:
    checkpoint = tmp_path / "mine.safetensors"
    checkpoint.write_bytes(b"content")
    program = (
        "import sys, analysis.models as m; m.list_models(); list(m.MODELS.values());"
        "m.weights_fingerprint('resnet50', 'pretrained', 0);"
        "m.weights_fingerprint('pocket-resnet20', 'pretrained', 0);"
        "m.weights_fingerprint('vit_b_16', 'file:' + sys.argv[1], 0);"
        "m.side_of_input('vit_b_16', weights='file:' + sys.argv[1]);"
        "m.weights_choices('vgg16'); m.own_checkpoints('vgg16'); m.model_problem('timm/x');"
        "print([name for name in ('torch', 'torchvision', 'timm') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(checkpoint)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", POCKET)
def test_pocket_weights_are_the_manifest_s(name: str) -> None:
    assert asset_entry(name).path.name == f"{name}.safetensors"
    assert weights_fingerprint(name, "pretrained", 0) == asset_entry(name).sha256


def test_different_weights_have_different_fingerprints() -> None:
    assert weights_fingerprint("resnet50", "pretrained", 0) == "IMAGENET1K_V2-11ad3fa6"
    assert weights_fingerprint("resnet50", "pretrained", 1) == "IMAGENET1K_V2-11ad3fa6"
    assert weights_fingerprint("resnet50", "IMAGENET1K_V2", 1) == "IMAGENET1K_V2-11ad3fa6"
    assert weights_fingerprint("resnet50", "IMAGENET1K_V1", 1) == "IMAGENET1K_V1-0676ba61"
    assert weights_fingerprint("resnet50", "random", 7) == "random:7"
    assert weights_fingerprint("pocket-vit", "random", 8) == "random:8"


def test_the_fingerprint_of_a_checkpoint_is_of_its_content(tmp_path: Path) -> None:
    one, copy = tmp_path / "one.pt", tmp_path / "copy.pt"
    one.write_bytes(b"content")
    copy.write_bytes(b"content")
    prints = [weights_fingerprint("resnet50", f"file:{path}", 3) for path in (one, copy)]
    # sha256 of "content"
    assert prints == ["file:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"] * 2
    copy.write_bytes(b"others!")
    assert weights_fingerprint("resnet50", f"file:{copy}", 3) != prints[0]


def test_unknown_names_are_reported_with_similar_ones() -> None:
    unknown = (
        r"`model` must be one of the 84 that `python -m analysis models` lists, such as .*"
        r"\bresnet50\b.*; got 'resnet51'"
    )
    with pytest.raises(OptionError, match=unknown):
        weights_fingerprint("resnet51", "pretrained", 0)
    with pytest.raises(OptionError, match=unknown):
        prepare_images("resnet51", np.zeros((1, 1, 28, 28), np.float32))
    with pytest.raises(OptionError, match=unknown):
        model_spec("resnet51")
    with pytest.raises(OptionError, match=unknown + "; `num_classes` must be at least 1, got 0"):
        load_model("resnet51", weights="best", num_classes=0)
    assert "resnet50" not in model_problem("")[0].partition(";")[2]


@pytest.mark.parametrize("name", ["", "timm/", "model.py:", "model.py:1st", ":build"])
def test_a_malformed_name_is_unknown(name: str) -> None:
    assert "must be one of the 84" in model_problem(name)[0]


def test_capitals_and_dashes_suggest_the_model_itself() -> None:
    for typed, name in (
        ("RESNET50", "resnet50"),
        ("ResNet-50", "resnet50"),
        ("ViT_B16", "vit_b_16"),
    ):
        assert f"such as {name}" in model_problem(typed)[0]


def test_a_file_without_a_function_is_refused_with_its_functions() -> None:
    assert model_problem("net.py") == ["`model` must name the function as well, net.py:FUNCTION"]


def test_weights_are_the_model_s_own() -> None:
    sets = ["IMAGENET1K_V2", "IMAGENET1K_V1"]  # the default first
    assert weights_choices("resnet50") == ["pretrained", "random", *sets]
    assert weights_choices("pocket-vit") == ["pretrained", "random"]
    assert weights_problem("vit_b_16", "IMAGENET1K_SWAG_E2E_V1") == []
    with pytest.raises(
        OptionError,
        match="`weights` must be one of pretrained, random, IMAGENET1K_V2, IMAGENET1K_V1, or file: "
        "followed by the path of a checkpoint; got 'IMAGENET1K_SWAG_E2E_V1'",
    ):
        load_model("resnet50", weights="IMAGENET1K_SWAG_E2E_V1")


def test_checkpoints_must_be_there(tmp_path: Path) -> None:
    missing = f"file:{tmp_path / 'no.pt'}"
    assert weights_problem("resnet50", missing) == [
        f"`weights` must name an existing file, got {missing!r}"
    ]
    assert weights_problem("resnet50", "file:/etc/hosts") == []  # its content is seen on loading


@pytest.mark.parametrize(
    ("name", "weights", "requested", "side"),
    [
        ("resnet50", "pretrained", 0, 224),
        ("resnet50", "random", 96, 96),
        ("inception_v3", "random", 0, 299),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 0, 384),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 384, 384),
        ("vit_h_14", "IMAGENET1K_SWAG_LINEAR_V1", 224, 224),
        ("regnet_y_16gf", "IMAGENET1K_SWAG_E2E_V1", 0, 384),
        ("swin_t", "pretrained", 64, 64),
        ("pocket-resnet20", "pretrained", 64, 64),
        ("pocket-vit", "pretrained", 0, 32),
    ],
)
def test_the_side_of_the_input(name: str, weights: str, requested: int, side: int) -> None:
    assert side_of_input(name, weights=weights, input_side=requested) == side


@pytest.mark.parametrize(
    ("name", "weights", "requested", "sentence"),
    [
        ("vit_b_16", "random", 96, "must be 224 for vit_b_16 with these weights, got 96"),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", 224, "must be 384 for vit_b_16 with these"),
        ("maxvit_t", "random", 256, "must be 224 for maxvit_t"),
        ("pocket-vgg", "random", 64, "must be 32 for pocket-vgg"),
        ("inception_v3", "random", 74, "must be at least 75 for inception_v3, got 74"),
        ("resnet50", "random", -1, "must be at least 0, got -1"),
    ],
)
def test_sides_that_a_network_cannot_take(
    name: str, weights: str, requested: int, sentence: str
) -> None:
    with pytest.raises(OptionError, match=f"^`input_side` {sentence}"):
        prepare_images(
            name, np.zeros((1, 1, 28, 28), np.float32), weights=weights, input_side=requested
        )
