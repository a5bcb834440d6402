"""Networks: built alike for the same seed, and as good as the manifest says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.datasets import load_dataset
from analysis.errors import AssetError
from analysis.models import MODELS, load_model, prepare_images
from analysis.models.loading import empty_network
from analysis.system import assets
from analysis.system.assets import asset_entry
from tests.analysis.models.checkpoint_makers import same
from tests.factories import POCKET

pocket = pytest.mark.parametrize("name", POCKET)


@pocket
def test_pretrained_networks_are_as_accurate_as_the_manifest_says(name: str) -> None:
    test = load_dataset("fashion", split="test")  # a part of the images it was measured on
    model = load_model(name)
    with torch.inference_mode():
        answers = [model(batch).argmax(1) for batch in prepare_images(name, test.images).split(200)]
    accuracy = (torch.cat(answers).numpy() == test.labels).mean()
    stated = asset_entry(name).test_accuracy
    assert stated is not None
    standard_error = np.sqrt(stated * (1 - stated) / len(test))
    assert abs(accuracy - stated) < 3 * standard_error


@pocket
def test_accuracies_reach_those_of_the_zoo(name: str) -> None:
    promised = {"pocket-mobilenetv2": 0.90, "pocket-vit": 0.87}.get(name, 0.92)
    stated = asset_entry(name).test_accuracy
    assert stated is not None
    assert stated >= promised


@pocket
def test_pocket_files_stay_small(name: str) -> None:
    assert asset_entry(name).path.stat().st_size <= 2.5 * 2**20


@pytest.mark.parametrize("name", [*POCKET, "mobilenet_v2"])
def test_random_weights_follow_the_seed_alone(name: str) -> None:
    torch.manual_seed(0)
    state = load_model(name, weights="random", seed=3).state_dict()
    torch.manual_seed(99)
    assert same(load_model(name, weights="random", seed=3), state)
    assert not same(load_model(name, weights="random", seed=4), state)


def test_the_global_random_state_is_left_alone() -> None:
    for arguments in ({"weights": "random"}, {}, {"num_classes": 3}):
        before = torch.get_rng_state()
        load_model("pocket-resnet20", **arguments)  # type: ignore[arg-type]
        assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", [*POCKET, "mobilenet_v2", "resnet50"])
def test_networks_come_in_eval_mode_on_their_own_with_their_own_head(name: str) -> None:
    spec, model = MODELS[name], load_model(name, weights="random")
    assert not any(module.training for module in model.modules())
    tensors = [*model.parameters(), *model.buffers()]
    assert all(tensor.device.type == "cpu" for tensor in tensors)
    assert all(parameter.requires_grad for parameter in model.parameters())
    with torch.inference_mode():
        logits = model(torch.zeros(2, 3, spec.input_side, spec.input_side))
    assert logits.shape == (2, spec.classes)
    assert model.get_submodule(spec.head).out_features == spec.classes


@pytest.mark.parametrize("name", ["vgg16", "vit_b_16"])
def test_the_largest_networks_know_their_head(name: str) -> None:
    model = empty_network(name, 1000)  # their shape alone: the weights would take 0.9 GB
    assert model.get_submodule(MODELS[name].head).out_features == 1000
    assert all(tensor.is_meta for tensor in model.state_dict().values())


def test_nobody_else_holds_the_network() -> None:
    first = load_model("pocket-resnet20")
    with torch.no_grad():
        first.get_parameter("conv1.weight").zero_()
    assert load_model("pocket-resnet20").get_parameter("conv1.weight").abs().sum() > 0


@pocket
def test_a_new_head_leaves_the_rest_pretrained(name: str) -> None:
    head = MODELS[name].head
    plain, changed = load_model(name).state_dict(), load_model(name, num_classes=37).state_dict()
    assert changed[f"{head}.weight"].shape[0] == 37
    assert changed[f"{head}.weight"].std() > 0
    for key in plain:
        assert key.startswith(head) or torch.equal(plain[key], changed[key])
    again = load_model(name, num_classes=37, seed=0).state_dict()
    other = load_model(name, num_classes=37, seed=1).state_dict()
    assert torch.equal(changed[f"{head}.weight"], again[f"{head}.weight"])
    assert not torch.equal(changed[f"{head}.weight"], other[f"{head}.weight"])


def test_random_networks_take_a_number_of_classes() -> None:
    model = load_model("mobilenet_v2", weights="random", num_classes=5)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_a_truncated_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = assets.ASSETS
    file = "pocket-resnet20.safetensors"
    (tmp_path / "manifest.json").write_bytes((real / "manifest.json").read_bytes())
    (tmp_path / file).write_bytes((real / file).read_bytes()[:-1])
    monkeypatch.setattr(assets, "ASSETS", tmp_path)
    with pytest.raises(AssetError, match=r"pocket-resnet20\.safetensors is damaged"):
        load_model("pocket-resnet20")
    (tmp_path / file).unlink()
    with pytest.raises(AssetError, match=r"pocket-resnet20\.safetensors is missing"):
        load_model("pocket-resnet20")
    assert load_model("pocket-resnet20", weights="random") is not None


def test_another_network_s_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = (assets.ASSETS / "pocket-vgg.safetensors").read_bytes()
    monkeypatch.setattr("analysis.models.weights_files.read_asset", lambda name: other)
    with pytest.raises(
        AssetError, match=r"pocket-resnet20\.safetensors does not contain the weights of pocket-res"
    ):
        load_model("pocket-resnet20")


def test_inputs_and_outputs_of_the_public_pair_fit() -> None:
    images = np.random.default_rng(0).random((2, 3, 40, 30), dtype=np.float32)
    with torch.inference_mode():
        for name in ("pocket-vit", "mobilenet_v2"):
            model = load_model(name, weights="random")
            assert model(prepare_images(name, images)).shape == (2, MODELS[name].classes)
