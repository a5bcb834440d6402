"""torchvision's weights: from torch hub's cache, or one clear sentence when out of reach."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analysis.__main__ import main
from analysis.errors import AssetError
from analysis.models import MODELS, load_model
from analysis.models.catalogue import WeightSet
from analysis.models.fetching import cached_file
from analysis.models.loading import Bare, empty_network, torchvision_network
from analysis.models.weights_files import _convert_state
from analysis.progress import Progress
from analysis.system import downloads
from analysis.system.torchvision_guard import torchvision
from tests.analysis.datasets.small_originals import served
from tests.analysis.models.checkpoint_makers import State, same

NAME, FILE = "squeezenet1_1", "squeezenet1_1-b8a52dc0.pth"
UNREACHABLE = (
    r"^The pre-trained weights of squeezenet1_1 could not be downloaded from {host} "
    r"\(no network\?\)\. Use weights = random, a checkpoint of your own, or a "
    r"pocket model, which ships with BettiScope\.$"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch hub's cache folder, empty and ours, with no network and every proxy out of the way."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("analysis.models.catalogue.WEIGHTS_ADDRESS", "http://127.0.0.1:9/")
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def online(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a server gives files from, in the place of torchvision's."""
    folder = tmp_path / "online"
    folder.mkdir()
    with served(folder) as (address, _):
        monkeypatch.setattr("analysis.models.catalogue.WEIGHTS_ADDRESS", f"{address}/")
        yield folder


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, object], State]:
    """Save something as the weights that torchvision offers, with their checksum."""

    def save(folder: Path, content: object = None) -> State:
        state: State = load_model(NAME, weights="random", seed=11).state_dict()  # type: ignore[assignment]
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state if content is None else content, folder / FILE)
        digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
        chosen = replace(MODELS[NAME].weight_sets[0], sha256=digest[:8])
        monkeypatch.setitem(MODELS, NAME, replace(MODELS[NAME], weight_sets=(chosen,)))
        return state

    return save


def test_cached_weights_need_no_network(cache: Path, publish: Callable[..., State]) -> None:
    state = publish(cache)
    model = load_model(NAME)
    assert same(model, state)
    assert not model.training
    assert same(load_model(NAME, weights="IMAGENET1K_V1"), state)


def test_weights_are_downloaded_into_torch_hubs_cache(
    cache: Path, online: Path, publish: Callable[..., State]
) -> None:
    state = publish(online)
    reports: list[Progress] = []
    assert same(load_model(NAME, progress=reports.append), state)
    assert [path.name for path in cache.iterdir()] == [FILE]
    size = (online / FILE).stat().st_size
    assert reports[-1] == Progress("Download", FILE, size, size)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_cached_file_is_downloaded_again(
    cache: Path, online: Path, publish: Callable[..., State], damage: str
) -> None:
    state = publish(online)
    cache.mkdir(parents=True)
    whole = (online / FILE).read_bytes()
    (cache / FILE).write_bytes(
        {"truncated": whole[:-5000], "empty": b"", "text": b"<html>Sign in</html>"}[damage]
    )
    assert same(load_model(NAME), state)
    assert (cache / FILE).read_bytes() == whole


@pytest.mark.parametrize("content", [{"weight": torch.zeros(3)}, [1, 2], "text"])
def test_a_file_that_holds_something_else_is_named(
    cache: Path, publish: Callable[..., State], content: object
) -> None:
    publish(cache, content)
    with pytest.raises(
        AssetError, match=rf"weights of {NAME} are damaged\. Delete {cache / FILE} to download"
    ):
        load_model(NAME)


def test_no_network_is_one_clear_sentence(cache: Path) -> None:
    started = time.monotonic()
    with pytest.raises(AssetError, match=UNREACHABLE.format(host=r"127\.0\.0\.1")):
        load_model(NAME)
    assert time.monotonic() - started < 5
    assert not list(cache.glob("*"))


def test_a_name_look_up_that_hangs_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.models.catalogue.WEIGHTS_ADDRESS", "https://nowhere.example/")
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.3)
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    with pytest.raises(AssetError, match=UNREACHABLE.format(host=r"nowhere\.example")):
        load_model(NAME)
    assert not released.is_set()
    released.set()


def test_random_weights_never_ask_the_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "urlopen", pytest.fail)
    assert load_model(NAME, weights="random") is not None


def test_half_precision_files_become_float32(cache: Path, publish: Callable[..., State]) -> None:
    state = publish(cache)
    publish(cache, {key: tensor.half() for key, tensor in state.items()})
    model = load_model(NAME)
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    assert same(model, {key: tensor.half().float() for key, tensor in state.items()})


def test_a_new_head_of_a_network_that_ends_in_a_convolution(
    cache: Path, publish: Callable[..., State]
) -> None:
    state = publish(cache)
    model = load_model(NAME, num_classes=5)
    head = model.get_submodule("classifier.1")
    assert isinstance(head, torch.nn.Conv2d)
    assert head.weight.shape == (5, *state["classifier.1.weight"].shape[1:])
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    assert torch.equal(model.state_dict()["features.0.weight"], state["features.0.weight"])


def some_set(name: str, weights: str = "pretrained") -> WeightSet:
    chosen = MODELS[name].weight_set(weights)
    assert chosen is not None
    return chosen


def test_old_densenet_files_are_renamed_as_torchvision_does() -> None:
    state: State = dict(empty_network("densenet121", 1000).state_dict())
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v for key, v in state.items()
    }
    assert old.keys() != state.keys()
    assert _convert_state(old, some_set("densenet121")).keys() == state.keys()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_are_dropped(name: str) -> None:
    with Bare():
        whole = torchvision.models.get_model(
            name, weights=None, aux_logits=True, init_weights=False
        )
    ours = empty_network(name, 1000).state_dict()
    assert whole.state_dict().keys() > ours.keys()
    assert _convert_state(dict(whole.state_dict()), some_set(name)).keys() == ours.keys()


def test_the_input_of_googlenet_is_transformed_as_with_torchvision_s_weights() -> None:
    assert load_model("googlenet", weights="random").transform_input is True
    assert torchvision_network("inception_v3", 2, 299, initialize=False).transform_input is True


def test_a_set_for_larger_images_makes_a_larger_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with Bare():
        large = torchvision_network("vit_b_32", 1000, 384).state_dict()
    wanted = replace(some_set("vit_b_32"), name="LARGE", input_side=384)
    spec = replace(MODELS["vit_b_32"], weight_sets=(some_set("vit_b_32"), wanted))
    monkeypatch.setitem(MODELS, "vit_b_32", spec)
    monkeypatch.setattr("analysis.models.loading.torchvision_state", lambda *_: large)
    model = load_model("vit_b_32", weights="LARGE")
    assert model.get_parameter("encoder.pos_embedding").shape[1] == (384 // 32) ** 2 + 1
    assert model.image_size == 384


def test_a_set_without_a_classifier_always_gets_the_same_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        MODELS,
        NAME,
        replace(MODELS[NAME], weight_sets=(replace(some_set(NAME), accuracy=None),)),
    )
    state: State = dict(load_model(NAME, weights="random", seed=4).state_dict())
    for key in ("classifier.1.weight", "classifier.1.bias"):
        state[key] = torch.full_like(state[key], torch.nan)
    present = _convert_state(dict(state), some_set(NAME))
    assert present.keys() == {key for key in state if not key.startswith("classifier")}
    monkeypatch.setattr("analysis.models.loading.torchvision_state", lambda *_: present)
    one, other = load_model(NAME, seed=1).state_dict(), load_model(NAME, seed=2).state_dict()
    assert one["classifier.1.weight"].isfinite().all()
    assert torch.equal(one["classifier.1.weight"], other["classifier.1.weight"])
    assert torch.equal(one["features.0.weight"], state["features.0.weight"])


def test_the_cache_is_torch_hub_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for changes in ({}, {"XDG_CACHE_HOME": str(tmp_path)}, {"TORCH_HOME": str(tmp_path / "x")}):
        monkeypatch.delenv("TORCH_HOME", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        for name, value in changes.items():
            monkeypatch.setenv(name, value)
        assert str(cached_file(some_set(NAME)).parent) == f"{torch.hub.get_dir()}/checkpoints"


def test_an_unreachable_server_is_reported_before_torch_is_imported(cache: Path) -> None:
    program = (
        "import sys, analysis.models.catalogue as c; from analysis.__main__ import main;"
        "c.WEIGHTS_ADDRESS = 'http://127.0.0.1:1/';"
        f"code = main(['analyze', '--model', {NAME!r}, '--samples', '4']);"
        "print(code, 'torch' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.stdout.split() == ["2", "False"], process.stderr
    assert "could not be downloaded from 127.0.0.1 (no network?). Use weights" in process.stderr


def test_a_saved_analysis_needs_no_weights(
    cache: Path, publish: Callable[..., State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    publish(cache)
    command = ["analyze", "--model", NAME, "--samples", "4", "--input-side", "64"]
    assert main(command) == 0
    (cache / FILE).unlink()
    assert main(command) == 0
    assert main([*command, "--seed", "1"]) == 2
