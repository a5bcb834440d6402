"""timm's networks by name: with a small package that stands in for timm, and with timm itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.errors import AssetError, OptionError
from analysis.models import (
    MODELS,
    load_model,
    model_problem,
    model_spec,
    prepare_images,
    side_of_input,
    weights_fingerprint,
    weights_problem,
)
from analysis.models.loading import empty_network
from analysis.options import AnalysisOptions
from analysis.system import downloads
from analysis.topology.pipeline import analyze_named
from analysis.topology.store import (
    fingerprint,
    is_preparation_unknown,
    load_analysis,
    save_analysis,
)

# What BettiScope calls of timm, over one tiny network.
STAND_IN = """
import sys
import torch
from torch import nn

class Config:
    def to_dict(self):
        return {"input_size": (3, 40, 40)}

def list_models(): return ["tiny_net", "tiny_net_2"]
def is_model(name): return name.split(".")[0] in list_models()
def get_pretrained_cfg(name): return Config()

def create_model(name, pretrained=False, num_classes=10):
    print("timm says something")
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )
    if name == "tiny_net_2":
        raise RuntimeError("No such file on the hub.\\nmore")
    if pretrained:
        nn.init.ones_(model[0].weight)
    return model
"""
STAND_IN_DATA = """
def resolve_data_config(pretrained_cfg):
    return {"crop_pct": 0.8, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1),
            "interpolation": "bicubic", **pretrained_cfg}
"""
METADATA = "Metadata-Version: 2.1\nName: timm\nVersion: 9.8.7\n"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for folder, file, text in (
        ("timm", "__init__.py", STAND_IN),
        ("timm", "data.py", STAND_IN_DATA),
        ("timm-9.8.7.dist-info", "METADATA", METADATA),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / file).write_text(text)
    modules = {name: sys.modules.pop(name) for name in list(sys.modules) if _timm_s(name)}
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if _timm_s(name)]:
        del sys.modules[name]
    sys.modules.update(modules)


def _timm_s(name: str) -> bool:
    return name == "timm" or name.startswith("timm.")


@pytest.mark.usefixtures("stand_in")
def test_a_network_is_built_and_given_classes(capsys: pytest.CaptureFixture[str]) -> None:
    name = "timm/tiny_net"
    assert model_problem(name) == []
    assert model_spec(name).source == "timm"
    one, again = (load_model(name, weights="random", seed=3) for _ in range(2))
    assert torch.equal(one.get_parameter("0.weight"), again.get_parameter("0.weight"))
    other = load_model(name, weights="random", seed=4)
    assert not torch.equal(one.get_parameter("0.weight"), other.get_parameter("0.weight"))
    trained = load_model(name, num_classes=3)
    assert (trained.get_parameter("0.weight") == 1).all()
    assert trained.get_parameter("3.weight").shape == (3, 4)
    assert empty_network(name, 6).get_parameter("3.weight").shape == (6, 4)
    assert empty_network(name, 6).get_parameter("0.weight").is_meta
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("stand_in")
def test_images_are_prepared_as_timm_says() -> None:
    assert side_of_input("timm/tiny_net") == 40
    white = np.ones((1, 1, 9, 9), np.float32)
    prepared = prepare_images("timm/tiny_net", white)
    assert prepared.shape == (1, 3, 40, 40)
    expected = (1 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.2, 0.1])
    assert torch.allclose(prepared[0, :, 7, 7], expected)
    # Resized to 40 / 0.8 = 50 pixels: the cut of 40 leaves out a tenth at each side.
    half = np.zeros((1, 1, 10, 10), np.float32)
    half[..., 0] = 1
    assert prepare_images("timm/tiny_net", half)[0, 0, 20, 2] < 0
    assert prepare_images("timm/tiny_net", white, input_side=64).shape == (1, 3, 64, 64)


@pytest.mark.usefixtures("stand_in")
def test_images_are_squashed_where_timm_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config = importlib.import_module("timm").Config
    facts = {"input_size": (3, 40, 40), "crop_mode": "squash"}
    monkeypatch.setattr(config, "to_dict", lambda _: facts)
    edge = np.zeros((1, 1, 40, 80), np.float32)
    edge[..., :16] = 1  # half of it remains, as a tenth is cut off: 4 of 40 columns
    seen = prepare_images("timm/tiny_net", edge)[0, 0, 20]
    assert (seen > 0).nonzero().max() == 4


@pytest.mark.parametrize("shape", [(30, 40), (90, 64), (28, 28), (200, 60)])
@pytest.mark.parametrize(
    "name",
    [
        "resnet50.a1_in1k",  # bicubic, 95 %
        "volo_d4_448.sail_in1k",  # 115 %: a crop that is larger than the image
        "vit_base_patch16_clip_224.openai",
        "eva02_tiny_patch14_224.mim_in22k",
        "deepseek_vit_412m.deepseek_v4_1_flash",  # border
        "vit_base_patch16_sapiens2.fb",  # squash, not square
    ],
)
def test_images_are_prepared_as_by_timm_itself(name: str, shape: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm")
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    own = timm.data.create_transform(**config, is_training=False)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    waves = [127 + 120 * np.sin(columns / 9 + c) * np.cos(rows / 7 - c) for c in range(3)]
    pixels = np.stack(waves, -1).astype(np.uint8)
    pixels[:, ::17], pixels[5:9] = 0, [255, 0, 10]  # edges, at which bicubic overshoots
    images = (pixels.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    expected = own(Image.fromarray(pixels))
    (prepared,) = prepare_images(f"timm/{name}", images)
    levels = torch.tensor(config["std"])[:, None, None] * 255
    assert prepared.shape == expected.shape
    assert ((prepared - expected) * levels).abs().max() < 1.2  # Pillow rounds twice


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("squash", [True, False])
def test_an_analysis_of_cropped_images_is_computed_again_where_timm_says_squash(
    squash: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = AnalysisOptions(model="timm/tiny_net", weights="random", samples=4)
    key = fingerprint(options)
    config = importlib.import_module("timm").Config
    facts = {"input_size": (3, 40, 40), "interpolation": "bilinear"}
    monkeypatch.setattr(config, "to_dict", lambda _: facts)
    first = analyze_named(options)
    mode = {"crop_mode": "squash"} if squash else {}
    monkeypatch.setattr(config, "to_dict", lambda _: facts | mode)
    for input_format in (None, first.input_format):  # as older versions stored it, and newer ones
        save_analysis(key, replace(first, input_format=input_format))
        saved = load_analysis(key)
        assert saved is not None
        # The page, which must not import timm, asks for a job if a file does not say.
        assert is_preparation_unknown(saved, options) == (input_format is None)
        report = analyze_named(options)
        assert report.stored == (not squash)
        assert report.input_format is not None
        assert report.input_format.stretched == squash
    assert analyze_named(options).stored


@pytest.mark.usefixtures("stand_in")
def test_bicubic_images_of_earlier_versions_are_prepared_again(home: Path) -> None:
    options = AnalysisOptions(model="timm/tiny_net", weights="random", samples=4)
    first = analyze_named(options)
    assert first.input_format is not None
    assert first.input_format.clipped
    assert analyze_named(options).stored
    unclipped = replace(first, input_format=replace(first.input_format, clipped=False))
    save_analysis(fingerprint(options), unclipped)
    assert load_analysis(fingerprint(options)) is None  # so no page shows it either
    assert not analyze_named(options).stored
    assert analyze_named(options).stored


@pytest.mark.usefixtures("stand_in")
def test_a_network_of_one_side_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    config = importlib.import_module("timm").Config
    monkeypatch.setattr(config, "fixed_input_size", True, raising=False)
    assert side_of_input("timm/tiny_net", input_side=40) == 40
    with pytest.raises(
        OptionError, match="must be 40 for timm/tiny_net with these weights, got 64; leave it out"
    ):
        side_of_input("timm/tiny_net", input_side=64)


@pytest.mark.usefixtures("stand_in")
def test_a_checkpoint_of_one_s_own(tmp_path: Path) -> None:
    state = load_model("timm/tiny_net", weights="random", seed=6, num_classes=8).state_dict()
    torch.save(state, tmp_path / "mine.pt")
    loaded = load_model("timm/tiny_net", weights=f"file:{tmp_path / 'mine.pt'}")
    assert torch.equal(loaded.get_parameter("3.weight"), state["3.weight"])


@pytest.mark.usefixtures("stand_in")
def test_a_model_unknown_to_timm_is_one_sentence() -> None:
    with pytest.raises(
        OptionError,
        match="got 'timm/tini_net'; similar names: timm/tiny_net, timm/tiny_ne",
    ):
        load_model("timm/tini_net", weights="random")
    with pytest.raises(
        AssetError,
        match=r"^The pre-trained weights of timm/tiny_net_2 could not be downloaded \(.*\)\. Use",
    ):
        load_model("timm/tiny_net_2")
    assert "must be one of pretrained, random, or" in weights_problem("timm/tiny_net", "V1")[0]


@pytest.mark.parametrize("name", ["timm/hf-hub:somebody/net", "timm/local-dir:/net"])
def test_a_repository_of_anybodys_is_refused(name: str) -> None:
    assert model_problem(name) == [f"`model` must be one of timm's own models, got {name!r}"]


@pytest.mark.usefixtures("stand_in")
def test_fingerprints_name_timm_s_version() -> None:
    assert weights_fingerprint("timm/tiny_net", "pretrained", 0) == "timm-9.8.7"
    assert weights_fingerprint("timm/tiny_net", "random", 4) == "random:4"


@pytest.fixture
def hub(stand_in: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "huggingface_hub").mkdir()
    (tmp_path / "huggingface_hub" / "__init__.py").touch()
    (tmp_path / "huggingface_hub" / "constants.py").write_text(
        "ENDPOINT = 'https://hub.example'\nHF_HUB_OFFLINE = False\n"
    )
    for name in [name for name in sys.modules if name.startswith("huggingface_hub")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield
    for name in ("huggingface_hub.constants", "huggingface_hub"):
        del sys.modules[name]


@pytest.mark.usefixtures("hub")
def test_a_hub_out_of_reach_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_ask", lambda *_: TimeoutError())
    with pytest.raises(
        AssetError, match=r"downloaded \(https://hub\.example does not answer: no network\?\)\. Use"
    ):
        load_model("timm/tiny_net_2")
    assert sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE is True
    assert load_model("timm/tiny_net") is not None  # what is in store still loads


@pytest.mark.usefixtures("hub")
def test_a_hub_that_a_person_turned_off_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(downloads, "_ask", pytest.fail)
    assert load_model("timm/tiny_net") is not None
    assert sys.modules["huggingface_hub.constants"].HF_HUB_OFFLINE is True


def test_without_timm_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.models.names.find_spec", lambda _: None)
    with pytest.raises(OptionError, match="'timm/resnet18', but timm is not installed: pip insta"):
        load_model("timm/resnet18")
    assert not any(name.startswith("timm/") for name in MODELS)


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/vit_tiny_patch16_224.augreg_in21k"])
def test_timm_itself(name: str) -> None:
    model = load_model(name, weights="random", num_classes=5)
    prepared = prepare_images(name, np.zeros((2, 1, 28, 28), np.float32), weights="random")
    with torch.inference_mode():
        assert model(prepared).shape == (2, 5)
    assert empty_network(name, 4) is not None
    with pytest.raises(OptionError, match="similar names: timm/resnet18"):
        load_model("timm/resnet19", weights="random")
