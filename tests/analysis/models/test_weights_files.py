"""torchvision's weights: from torch hub's cache, or one clear sentence when out of reach."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from analysis.errors import AssetError
from analysis.models import MODELS, load_model, weights_files
from analysis.models.weights_files import torchvision_weights

UNREACHABLE = (
    r"The pre-trained weights of mobilenet_v2 could not be fetched from {host} \(no network\?\)\. "
    "Use weights = random, or a pocket model, which ships with BettiScope"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch hub's cache folder, empty and ours, with every proxy out of the way."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for scheme in ("http", "https", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Real weights of mobilenet_v2, behind an address that a test may move."""
    real = torchvision_weights(MODELS["mobilenet_v2"])

    def get_state_dict(**options: Any) -> Any:
        return torch.hub.load_state_dict_from_url(moved.url, **options)

    moved = SimpleNamespace(url=real.url, get_state_dict=get_state_dict)
    monkeypatch.setattr(weights_files, "torchvision_weights", lambda spec: moved)
    return moved


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose server takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def save_state(cache: Path) -> dict[str, torch.Tensor]:
    state = load_model("mobilenet_v2", weights="random", seed=11).state_dict()
    cache.mkdir(parents=True)
    torch.save(state, cache / "mobilenet_v2-7ebf99e0.pth")
    return state


def test_cached_weights_need_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(weights_files, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    state = save_state(cache)
    model = load_model("mobilenet_v2")
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert load_model("mobilenet_v2", num_classes=3).get_parameter("classifier.1.bias").shape == (
        3,
    )


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another network's"])
def test_damaged_cached_weights_are_named(cache: Path, damage: str) -> None:
    save_state(cache)
    file = cache / "mobilenet_v2-7ebf99e0.pth"
    if damage == "another network's":
        torch.save({"weight": torch.zeros(3)}, file)
    else:
        whole = file.read_bytes()
        file.write_bytes(
            {"truncated": whole[:-5000], "empty": b"", "text": b"<html>Sign in</html>"}[damage]
        )
    with pytest.raises(
        AssetError, match=r"weights of mobilenet_v2 are damaged\. Delete .*mobilenet_v2-7ebf99e0"
    ):
        load_model("mobilenet_v2")


def test_a_refused_connection_is_one_clear_sentence(cache: Path, url: SimpleNamespace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url.url = f"http://127.0.0.1:{port}/mobilenet_v2-7ebf99e0.pth"
    started = time.monotonic()
    with pytest.raises(AssetError, match=UNREACHABLE.format(host=r"127\.0\.0\.1")) as told:
        load_model("mobilenet_v2")
    assert time.monotonic() - started < 5
    assert "\n" not in str(told.value)
    assert not list(cache.glob("*"))


def test_a_server_that_never_answers_is_given_up(
    cache: Path, url: SimpleNamespace, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_files.ANSWER_SECONDS <= 10
    monkeypatch.setattr(weights_files, "ANSWER_SECONDS", 0.3)
    url.url = f"http://127.0.0.1:{silent_port}/mobilenet_v2-7ebf99e0.pth"
    with pytest.raises(AssetError, match=UNREACHABLE.format(host=r"127\.0\.0\.1")):
        load_model("mobilenet_v2")


def test_a_name_look_up_that_hangs_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_files, "ANSWER_SECONDS", 0.3)
    # No timeout of a socket covers the resolver.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3) or [])
    started = time.monotonic()
    with pytest.raises(AssetError, match=UNREACHABLE.format(host=r"download\.pytorch\.org")):
        load_model("mobilenet_v2")
    assert time.monotonic() - started < 2


def test_a_download_that_breaks_off_leaves_nothing_behind(
    cache: Path,
    url: SimpleNamespace,
    silent_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(weights_files, "_require_answer", lambda spec, url: None)
    monkeypatch.setattr(weights_files, "STALL_SECONDS", 0.3)
    url.url = f"http://127.0.0.1:{silent_port}/mobilenet_v2-7ebf99e0.pth"
    with pytest.raises(
        AssetError,
        match=r"mobilenet_v2 could not be fetched into .*timed out.*Use weights = random",
    ):
        load_model("mobilenet_v2")
    assert not list(cache.glob("*"))
    assert socket.getdefaulttimeout() is None
    assert capsys.readouterr().out == ""  # stdout may be carrying JSON


def test_a_download_with_another_checksum_is_refused(
    cache: Path, url: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = cache.parent.parent / "mobilenet_v2-7ebf99e0.pth"
    answer.write_bytes(b"not what was asked for")
    url.url = answer.as_uri()
    with pytest.raises(AssetError, match="weights of mobilenet_v2 are damaged"):
        load_model("mobilenet_v2")
    assert not list(cache.glob("*"))


def test_random_weights_never_ask_the_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_files, "_require_answer", pytest.fail)
    assert load_model("mobilenet_v2", weights="random") is not None
