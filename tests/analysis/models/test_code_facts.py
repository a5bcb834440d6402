"""The key of a network of the user's own covers all that decides it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from analysis.models import code_facts, learn_code, load_model, weights_fingerprint
from analysis.models.code_facts import code_digest, weights_digests
from analysis.options import AnalysisOptions
from analysis.topology.store import fingerprint

BUILD = """
def build():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2))
    net.input_size = 2
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))


def network(folder: Path, first: str = "", last: str = "") -> str:
    """A file that imports `first`, and builds a network on which it runs `last`."""
    folder.mkdir(exist_ok=True)
    lines = [*last.splitlines(), "return net"]
    text = f"from pathlib import Path\nimport torch\nfrom torch import nn\n{first}\n{BUILD}"
    (folder / "net.py").write_text(text + "".join(f"    {line}\n" for line in lines))
    return f"{folder / 'net.py'}:build"


def key(name: str, seed: int = 0, weights: str = "pretrained") -> str:
    """The key after a run of the code."""
    learn_code(name, seed)
    return weights_fingerprint(name, weights, seed)


def weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2)).state_dict()


def save_pickled(path: Path, seed: int) -> None:
    torch.save(weights(seed), path)


def save_native(path: Path, seed: int) -> None:
    """Rust reads it, which Python does not see."""
    safetensors.torch.save_file(weights(seed), path)


@pytest.mark.parametrize(
    ("save", "load"),
    [
        (save_pickled, "torch.load(Path(__file__).with_name('w'))"),
        (save_native, "safetensors.torch.load_file(Path(__file__).with_name('w'))"),
    ],
)  # fmt: skip
def test_other_weights_behind_the_code_give_another_key(
    tmp_path: Path, save: Callable[[Path, int], None], load: str
) -> None:
    name = network(
        tmp_path / "one", first="import safetensors.torch", last=f"net.load_state_dict({load})"
    )
    save(tmp_path / "one" / "w", 0)
    first = key(name)
    assert key(name) == first
    save(tmp_path / "one" / "w", 1)
    second = key(name)
    assert second != first
    save(tmp_path / "one" / "w", 0)
    assert key(name) == first


def test_a_file_that_was_opened_counts_without_running_the_code(tmp_path: Path) -> None:
    save_pickled(tmp_path / "w", 0)
    name = network(
        tmp_path / "one", last=f"net.load_state_dict(torch.load({str(tmp_path / 'w')!r}))"
    )
    first = key(name)
    assert weights_fingerprint(name, "pretrained", 0) == first
    save_pickled(tmp_path / "w", 1)
    assert weights_fingerprint(name, "pretrained", 0) != first
    (tmp_path / "w").unlink()
    assert weights_fingerprint(name, "pretrained", 0) != first


@pytest.mark.parametrize("place", ["parts/deep/act.py", "../lib/act.py"])
def test_modules_in_other_folders_count(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "one"
    path = folder / place
    folder.mkdir()
    path.parent.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    module = "act" if "lib" in place else "parts.deep.act"
    name = network(folder, first=f"from {module} import SCALE")
    path.write_text("SCALE = 1.0\n")
    first = key(name)
    # A later build finds a module that is still imported, and counts it all the same.
    assert key(name) == first
    path.write_text("SCALE = 62.0\n")
    assert weights_fingerprint(name, "pretrained", 0) != first
    sys.modules.pop("act", None)
    path.write_text("SCALE = 1.0\n")
    assert key(name) == first


def test_settings_and_tensors_that_are_no_parameters_count() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    weights, first = weights_digests(net)
    settings = [first]
    for name, value in (
        ("slope", (1.0, "relu")),
        ("slope", (2.0, "relu")),
        ("config", {"width": 2}),
        ("config", {"width": 3}),
        ("table", np.zeros(2)),
        ("table", np.ones(2)),
        ("mask", torch.zeros(2)),
        ("mask", torch.ones(2)),
    ):
        setattr(net[0], name, value)
        settings.append(weights_digests(net)[1])
    net.register_buffer("hidden", torch.ones(2), persistent=False)
    settings.append(weights_digests(net)[1])
    assert len(set(settings)) == len(settings)
    assert weights_digests(net)[0] == weights
    with torch.no_grad():
        net[0].weight[0, 0] += 1
    assert weights_digests(net)[0] != weights
    assert weights_digests(net)[1] == settings[-1]
    for odd in (nn.LazyLinear(2), nn.Linear(2, 2, device="meta"), nn.Linear(2, 2).bfloat16()):
        assert all(weights_digests(odd))


def test_the_code_of_a_compiled_network_counts() -> None:
    digests = set()
    for activation in (nn.ReLU(), nn.Tanh()):
        traced = torch.jit.trace(nn.Sequential(nn.Flatten(), activation), torch.ones(1, 2))
        digests.add(weights_digests(traced))
    assert len(digests) == 2


def test_a_file_that_is_run_without_being_imported_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python opens only what it compiled from it before."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    part = tmp_path / "parts" / "act.py"
    part.parent.mkdir()
    part.write_text("SCALE = 1.0\n")
    name = network(
        tmp_path / "one",
        first="import importlib.util",
        last=f"spec = importlib.util.spec_from_file_location('act', {str(part)!r})\n"
        "act = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(act)",
    )
    first = key(name)
    assert list(part.parent.glob("__pycache__/*.pyc"))
    assert key(name) == first
    part.write_text("SCALE = 62.0\n")
    assert weights_fingerprint(name, "pretrained", 0) != first


@pytest.mark.parametrize(
    "last",
    [
        "import random\nnet.gain = random.random()",
        "import numpy\nnet.gain = float(numpy.random.rand())",
        "net[1].weight.data.normal_()",
    ],
)
def test_random_weights_repeat_with_the_seed(tmp_path: Path, last: str) -> None:
    name = network(tmp_path / "one", last=last)
    assert key(name) == key(name)
    learn_code(name, 1)
    assert code_digest(name, 0, with_weights=True) != code_digest(name, 1, with_weights=True)
    assert weights_digests(load_model(name, seed=1)) != weights_digests(load_model(name, seed=0))


def test_a_checkpoint_replaces_the_weights_of_the_code(tmp_path: Path) -> None:
    """What the code draws for them does not matter then; what it draws beside them does."""
    checkpoint = tmp_path / "w.pth"
    save_pickled(checkpoint, 0)
    file = f"file:{checkpoint}"
    entropy = "import os\nseed = int.from_bytes(os.urandom(4), 'big')\n"
    name = network(tmp_path / "one", last=f"{entropy}torch.nn.init.constant_(net[1].weight, seed)")
    assert key(name) != key(name)
    assert key(name, weights=file) == key(name, weights=file)
    name = network(tmp_path / "one", last=f"{entropy}net.gain = seed")
    assert key(name, weights=file) != key(name, weights=file)


def test_written_and_installed_files_do_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    name = network(tmp_path / "one", first="import wave",
                   last=f"open({str(log)!r}, 'a').write('x')")  # fmt: skip
    assert key(name) == key(name)
    assert len(log.read_text()) == 2


@pytest.mark.parametrize("damage", ["[]", "{", '{"files": 3}', '{"files": ["a"]}', "\x00"])
def test_damaged_facts_are_as_none(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = network(tmp_path / "one")
    before = weights_fingerprint(name, "pretrained", 0)
    first = key(name)
    assert first != before
    for file in (tmp_path / "home" / "code").iterdir():
        file.write_text(damage)
    assert weights_fingerprint(name, "pretrained", 0) == first  # this process remembers
    monkeypatch.setattr(code_facts, "_remembered", {})
    assert weights_fingerprint(name, "pretrained", 0) == before
    assert key(name) == first  # learnt again


def test_an_analysis_has_another_key_too(tmp_path: Path) -> None:
    name = network(
        tmp_path / "one", last="net.gain = float(Path(__file__).with_name('c').read_text())"
    )
    (tmp_path / "one" / "c").write_text("1")
    options = AnalysisOptions(model=name)
    learn_code(name, 0)
    first = fingerprint(options)
    (tmp_path / "one" / "c").write_text("2")
    assert fingerprint(options) != first


def test_a_network_that_needs_the_number_of_classes_is_learnt(tmp_path: Path) -> None:
    name = network(tmp_path, last="net.scale = float((Path(__file__).parent / 's').read_text())")
    source = tmp_path / "net.py"
    source.write_text(source.read_text().replace("build()", "build(num_classes)"))
    keys = []
    for scale in ("1", "2"):
        (tmp_path / "s").write_text(scale)
        keys.append(key(name))
    assert keys[0] != keys[1]


def test_bundled_models_need_no_run() -> None:
    learn_code("pocket-resnet20", 0)
    assert weights_fingerprint("pocket-resnet20", "random", 3) == "random:3"
