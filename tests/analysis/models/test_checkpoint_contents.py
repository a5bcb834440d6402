"""What training scripts save: weights in any container, beside anything, under any prefix."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import fractions
import io
import pathlib
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import weight_norm
from torch.nn.utils.parametrizations import weight_norm as new_weight_norm

from analysis.__main__ import main
from analysis.errors import AssetError, OptionError
from analysis.models import CheckpointRequest, checkpoint_notes, keep_checkpoint, load_model
from analysis.models.catalogue import ModelSpec
from analysis.models.checkpoint_files import read_checkpoint
from analysis.models.checkpoint_names import set_prefixes
from analysis.models.checkpoints import FittedWeights, fit_state
from analysis.models.loading import FittedNetwork
from tests.analysis.models.checkpoint_makers import State, same

SPEC = ModelSpec("mine", "mine", "own code", "A small network.", "code")
NAME = "pocket-resnet20"


class Small(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3)
        self.blocks = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
        self.head = nn.Linear(2, classes)


def state_of(seed: int = 0, classes: int = 3) -> State:
    torch.manual_seed(seed)
    return dict(Small(classes).state_dict())


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def fitted(
    content: object, *, key: str = "", network: nn.Module | None = None, legacy: bool = False
) -> FittedWeights:
    """What a network takes of a file with this content."""
    path = Path("mine.ckpt")
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return fit_state(read_checkpoint(path), network or Small(), SPEC, "head", "mine.ckpt", key)


def equal(weights: FittedWeights, state: State) -> bool:
    return weights.state.keys() == state.keys() and all(
        torch.equal(weights.state[key], tensor) for key, tensor in state.items()
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Color(enum.Enum):
    RED = 1


class Attributes(dict[str, Any]):
    """As Lightning and others keep their settings."""


@dataclass
class Config:
    rate: float = 0.1


class Slots:
    __slots__ = ("value",)


BESIDE: dict[str, object] = {
    "a namespace": argparse.Namespace(lr=0.1, data=Path("data")),
    "a number of NumPy": np.float64(71.5),
    "an array of NumPy": np.arange(3, dtype=np.int16),
    "an array of objects": np.array([{"a": 1}], dtype=object),
    "a time": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "a path": pathlib.PurePosixPath("a/b"),
    "an ordered dictionary": collections.OrderedDict(a=1),
    "a dictionary with a default": collections.defaultdict(list, a=[1]),
    "a queue": collections.deque([1, 2], maxlen=3),
    "an enumeration": Color.RED,
    "a dictionary of its own class": Attributes(lr=Attributes(start=0.1)),
    "a dataclass": Config(),
    "slots": Slots(),
    "a fraction": fractions.Fraction(1, 3),
    "sets": {1, 2},
    "keys of other kinds": {3: 1, ("a", 1): 2, Color.RED: 3, Path("x"): 4},
    "a class": Config,
    "an optimiser": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
    "a history": [0.5, 0.4],
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("kind", BESIDE)
def test_harmless_objects_beside_the_weights_are_passed_over(kind: str, legacy: bool) -> None:
    weights = fitted({"net": state_of(), "extra": BESIDE[kind]}, legacy=legacy)
    assert equal(weights, state_of())
    assert weights.notes == ("Passed over in mine.ckpt: extra.",)


class Loud:
    """Leaves a file when its module's code runs."""

    def __init__(self) -> None:
        self.value = 1

    def __setstate__(self, state: object) -> None:
        Path("loud").touch()


def test_no_code_of_a_class_runs() -> None:
    content = {"net": state_of(), "loud": Loud()}
    assert equal(fitted(content), state_of())
    assert not Path("loud").exists()
    pickle.loads(pickle.dumps(Loud()))
    assert Path("loud").exists()


LAYOUTS: dict[str, tuple[object, str]] = {
    "a loss": (prefixed("model.", state_of()) | {"criterion.weight": torch.ones(3)}, "criterion"),
    "an average's count": (prefixed("module.", state_of()) | {"n_averaged": torch.ones(1)},
                           "n_averaged"),
    "a metric": ({"state_dict": prefixed("net.", state_of()) | {"acc.tp": torch.zeros(1)}},
                 "state_dict.acc"),
    "a queue": (prefixed("module.backbone.", state_of()) | {"module.queue": torch.zeros(2)},
                "queue"),
    "a profile": (state_of() | {"stem.total_ops": torch.zeros(1)}, "stem.total_ops"),
    "more than five": ({"w": state_of()} | dict.fromkeys("abcdefg", 1), "a, b, c, d, e and 2 more"),
    "a list": ([state_of(), {"step": 1}], "1"),
    "wrappers within": ({k.replace("blocks.", "blocks.module."): v for k, v in state_of().items()},
                        ""),
    "of torch.compile within": ({k.replace("blocks.", "blocks._orig_mod."): v
                                 for k, v in state_of().items()}, ""),
    "deep": ({"a": {"b": {"c": prefixed("x.y.z.", state_of())}}}, ""),
    "arrays": ({"state_dict": {k: v.numpy() for k, v in state_of().items()}}, ""),
    "parameters": ({k: nn.Parameter(v) if v.is_floating_point() else v
                    for k, v in state_of().items()}, ""),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_and_the_rest_is_named(layout: str) -> None:
    content, rest = LAYOUTS[layout]
    weights = fitted(content)
    assert equal(weights, state_of())
    assert weights.notes == ((f"Passed over in mine.ckpt: {rest}.",) if rest else ())


SETS: dict[str, tuple[object, tuple[str, str]]] = {
    "averaged": ({"model": state_of(), "model_ema": prefixed("module.", state_of(1))},
                 ("model", "model_ema")),
    "the average first": ({"ema": state_of(1), "net": state_of()}, ("net", "ema")),
    "teacher and student": ({"teacher": prefixed("backbone.", state_of(1)),
                             "student": prefixed("backbone.", state_of())},
                            ("student.backbone", "teacher.backbone")),
    "two encoders": ({"state_dict": prefixed("module.encoder_q.", state_of())
                      | prefixed("module.encoder_k.", state_of(1))},
                     ("state_dict.encoder_q", "state_dict.encoder_k")),
    "in Lightning": ({"state_dict": prefixed("model.", state_of())
                      | prefixed("ema_model.module.", state_of(1))},
                     ("state_dict.model", "state_dict.ema_model")),
    "of timm": ({"state_dict_ema": state_of(1), "state_dict": state_of()},
                ("state_dict", "state_dict_ema")),
}  # fmt: skip


@pytest.mark.parametrize("layout", SETS)
def test_of_several_sets_the_trained_one_is_used_and_another_can_be_chosen(layout: str) -> None:
    content, names = SETS[layout]
    weights = fitted(content)
    assert equal(weights, state_of())
    assert weights.keys == names
    assert weights.notes == (
        f"mine.ckpt contains 2 sets of weights: {names[0]}, {names[1]}. {names[0]} is used; choose "
        "another one with --weights-key, or on the page.",
    )
    other = fitted(content, key=names[1])
    assert equal(other, state_of(1))
    assert other.keys == names
    with pytest.raises(
        OptionError,
        match=rf"^`weights_key` must be one of {names[0]}, {names[1]} for mine\.ckpt, got 'none'",
    ):
        fitted(content, key="none")


def test_one_network_under_two_names_is_one_set() -> None:
    network = Small()
    network.load_state_dict(state_of())
    weights = fitted(nn.ModuleDict({"net": network, "same": network}).state_dict())
    assert equal(weights, state_of())
    assert weights.keys == ("net",)


def test_another_head_or_none_gives_a_new_one_with_a_note() -> None:
    body = {key: tensor for key, tensor in state_of().items() if not key.startswith("head.")}
    none = fitted(body)
    assert none.notes == ("mine.ckpt has no head: head is new, with random weights.",)
    assert equal(none, body)
    assert none.missing == ("head.weight", "head.bias")
    other = fitted(body | {"head.0.weight": torch.ones(4, 2), "head.0.bias": torch.ones(4)})
    assert other.notes == (
        "mine.ckpt has another head (head.0.weight, head.0.bias): head is new, with random "
        "weights.",
    )
    elsewhere = fitted(body | {"fc.weight": torch.ones(4, 2)})
    assert elsewhere.missing
    assert "Passed over in mine.ckpt: fc." in elsewhere.notes
    assert fitted(state_of(classes=7)).classes == 7


def test_a_classifier_of_several_layers_may_be_another(tmp_path: Path) -> None:
    """In VGG the head is the last of several linear layers, which people replace together."""
    state = dict(load_model("pocket-vgg", weights="random", seed=3).state_dict())
    body = {key: tensor for key, tensor in state.items() if not key.startswith("classifier.")}
    torch.save(body | {"classifier.weight": torch.ones(5, 256)}, tmp_path / "mine.pth.tar")
    weights = f"file:{tmp_path / 'mine.pth.tar'}"
    assert checkpoint_notes("pocket-vgg", weights) == (
        "mine.pth.tar has another head (classifier.weight): classifier.0, classifier.3 are new, "
        "with random weights.",
    )
    model = load_model("pocket-vgg", weights=weights, seed=1, num_classes=5)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in body.items())
    again = load_model("pocket-vgg", weights=weights, seed=1, num_classes=5)
    assert same(again, dict(model.state_dict()))  # the seed decides the new layers


@pytest.mark.parametrize(
    ("change", "odd"),
    [
        ({"blocks.2.weight": torch.ones(2)}, "1 unknown to it: blocks.2.weight"),
        ({"blocks.0.se.weight": torch.ones(2)}, "1 unknown to it: blocks.0.se.weight"),
        ({"stem.weight": torch.ones(2, 3, 3, 3)},
         r"1 of another shape: stem.weight \(2, 3, 3, 3\) instead of \(2, 1, 3, 3\)"),
        ({"stem.weight": None}, "1 missing: stem.weight"),
        ({"stem.weight": None, "first.weight": torch.ones(2, 1, 3, 3)},
         "1 missing: stem.weight; 1 unknown to it: first.weight"),
    ],
)  # fmt: skip
def test_a_network_that_only_looks_alike_is_refused(
    change: dict[str, Tensor | None], odd: str
) -> None:
    content = {k: v for k, v in (state_of() | change).items() if v is not None}
    end = r"\." if "another shape" in odd else ", or rename"  # no name would help another shape
    with pytest.raises(AssetError, match=f": {odd}. Choose the model that it belongs to{end}"):
        fitted({"state_dict": prefixed("model.", content)})


def test_a_deeper_network_of_numbered_layers_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2, 2))
    deeper = nn.Sequential(*network, nn.Linear(2, 3))
    torch.save(deeper.state_dict(), "mine.ckpt")
    with pytest.raises(AssetError, match=r"unknown to it: 2\.weight, 2\.bias"):
        fit_state(read_checkpoint(Path("mine.ckpt")), network, SPEC, "1", "mine.ckpt")


def test_a_head_alone_is_not_a_network() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    torch.save({"other": torch.ones(3)}, "mine.ckpt")
    with pytest.raises(AssetError, match=r"2 missing: 1\.weight, 1\.bias; 1 unknown to it: other"):
        fit_state(read_checkpoint(Path("mine.ckpt")), network, SPEC, "1", "mine.ckpt")


def test_names_of_the_older_weight_norm_load_as_in_torch() -> None:
    def network(norm: Any) -> nn.Module:
        torch.manual_seed(0)
        small = Small()
        small.stem = norm(nn.Conv2d(1, 2, 3))
        return small

    old, new = network(weight_norm).eval(), network(new_weight_norm).eval()
    with torch.no_grad():
        old.get_parameter("stem.weight_g").mul_(3)
    weights = fitted(prefixed("module.", dict(old.state_dict())), network=new)
    assert weights.notes == ()
    new.load_state_dict(weights.state)
    images = torch.ones(1, 1, 5, 5)
    assert torch.equal(new.stem(images), old.stem(images))  # type: ignore[operator]


def test_names_of_the_older_weight_norm_show_the_prefix() -> None:
    new = {f"stem.parametrizations.weight.original{part}" for part in (0, 1)}
    old = ["net.stem.weight_g", "net.stem.weight_v", "epoch"]
    assert set_prefixes(old, new) == ["net."]


TIED = """import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.second(self.first(self.stem(x).mean((2, 3)))))

def build():
    net = Tied()
    net.input_size = 8
    return net
"""


def test_ties_survive_a_checkpoint(folder: Path) -> None:
    (folder / "net.py").write_text(TIED)
    name = f"{folder / 'net.py'}:build"
    state = dict(load_model(name, weights="random", seed=4).state_dict())
    without = {key: tensor.clone() for key, tensor in state.items() if key != "second.weight"}
    safetensors.torch.save_file(without, "mine.bin")  # as safetensors' own save_model
    torch.save(state, "mine")
    for file in ("mine", "mine.bin"):
        model = load_model(name, weights=f"file:{folder / file}")
        assert same(model, state)
        assert model.get_parameter("first.weight") is model.get_parameter("second.weight")
    torch.save(state | {"second.weight": torch.zeros(4, 4)}, "other")
    assert (
        "first.weight and second.weight are one tensor"
        in checkpoint_notes(name, f"file:{folder / 'other'}")[0]
    )


@pytest.mark.parametrize("name", ["last.ckpt", "best.pth.tar", "pytorch_model.bin", "m.th", "m"])
def test_the_content_decides_and_not_the_ending(name: str, folder: Path, home: Path) -> None:
    state = dict(load_model(NAME, weights="random", num_classes=7).state_dict())
    torch.save({"state_dict": state}, folder / name)
    safetensors.torch.save_file(state, folder / "mine.pt")
    for file in (name, "mine.pt"):
        assert same(load_model(NAME, weights=f"file:{folder / file}"), state)
        kept = keep_checkpoint(CheckpointRequest(folder / file, file, NAME))
        assert same(load_model(NAME, weights=kept.weights), state)


def test_the_upload_keeps_the_chosen_set(folder: Path, home: Path) -> None:
    states = [dict(load_model(NAME, weights="random", seed=seed).state_dict()) for seed in (0, 1)]
    torch.save({"model": states[0], "model_ema": states[1]}, folder / "mine.ckpt")
    for state, key in zip(states, ("", "model_ema"), strict=True):
        kept = keep_checkpoint(CheckpointRequest(folder / "mine.ckpt", "mine.ckpt", NAME, key))
        assert kept.keys == ("model", "model_ema")
        assert same(load_model(NAME, weights=kept.weights), state)


def onnx() -> bytes:
    return b"\x08\x07\x12\x07pytorch\x1a\x052.0.0:\x80\x01" + bytes(64)


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"), io.BytesIO())
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight=np.ones(3))
    return file.getvalue()


FOREIGN = {
    "gguf": (b"GGUF\x03" + bytes(40), "is a GGUF file"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "is an HDF5 file, such as Keras writes"),
    "onnx": (onnx(), "is an ONNX model"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "is a TensorFlow Lite model"),
    "gz": (b"\x1f\x8b" + bytes(40), "is a packed file: unpack it"),
    "tar": (tar(), "is a packed file: unpack it"),
    "npz": (npz(), "is an archive of NumPy arrays"),
    "html": (b"<html>Sign in</html>", "is a web page, not a checkpoint"),
    "text": (b"Not found", "is a text file, not a checkpoint"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "is only Git LFS's pointer"),
    "pickle": (pickle.dumps({"a": 1}), "is a plain pickle, which runs code"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_files_of_other_programs_are_named(kind: str, ending: str, folder: Path) -> None:
    content, sentence = FOREIGN[kind]
    (folder / f"mine.{ending}").write_bytes(content)
    with pytest.raises(AssetError, match=rf"^mine\.{ending} {sentence}") as error:
        read_checkpoint(folder / f"mine.{ending}")
    assert "damaged" not in str(error.value)
    assert str(error.value).count(". ") <= 2


def test_a_whole_model_beside_other_things_is_named(folder: Path) -> None:
    torch.save({"model": nn.Linear(2, 2), "epoch": 3}, folder / "mine.pt")
    with pytest.raises(
        AssetError, match=r"^mine\.pt is a whole model \(torch\.nn\.mod.*Linear\), "
    ):
        read_checkpoint(folder / "mine.pt")


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_other_pickle_protocols_are_read_where_torch_reads_them_safely(
    protocol: int, archive: bool, folder: Path
) -> None:
    path = folder / "mine.pt"
    torch.save(state_of(), path, pickle_protocol=protocol, _use_new_zipfile_serialization=archive)
    try:
        torch.load(path, weights_only=True)
    except UnpicklingError:
        assert protocol not in (2, 3)
        shown = f"={protocol}" if protocol > 1 else " 0 or 1"
        with pytest.raises(
            AssetError, match=rf"^mine\.pt was saved with pickle_protocol{shown}, which cannot be "
        ):
            read_checkpoint(path)
    else:
        assert read_checkpoint(path).tensors.keys() == state_of().keys()


def test_an_older_file_that_is_cut_off_is_damaged(folder: Path) -> None:
    path = folder / "mine.pt"
    torch.save(state_of(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(AssetError, match=r"^mine\.pt is damaged, or "):
        read_checkpoint(path)


def test_weights_of_another_kind_say_how_to_convert_them() -> None:
    stem = torch.quantize_per_tensor(state_of()["stem.weight"], 0.1, 0, torch.qint8)
    with pytest.raises(
        AssetError,
        match=r"^mine\.ckpt has weights of mine that cannot be used as they are: 1 not of dense "
        r"floating-point numbers: stem\.weight\. Convert them with dequantize\(\), ",
    ):
        fitted(state_of() | {"stem.weight": stem})


class Stateful(Small):
    """Stores a number beside its tensors."""

    scale: object = 1.0

    def get_extra_state(self) -> object:
        return {"scale": self.scale}

    def set_extra_state(self, state: Any) -> None:
        self.scale = state["scale"]


@pytest.mark.parametrize(
    ("scale", "kept", "note"),
    [
        (2.5, 2.5, ""),
        (
            fractions.Fraction(1, 3),
            1.0,
            "_extra_state cannot be taken from mine.ckpt: the network's own",
        ),
        (None, 1.0, "_extra_state cannot be taken from mine.ckpt: the network's own is used."),
    ],
)
def test_what_a_module_stores_beside_its_tensors_is_taken_or_named(
    scale: object, kept: object, note: str
) -> None:
    saved, network = Stateful(), Stateful()
    saved.load_state_dict(state_of() | {"_extra_state": {"scale": scale}})
    state = dict(saved.state_dict())
    if scale is None:
        del state["_extra_state"]
    weights = fitted({"state_dict": prefixed("module.", state)}, network=network)
    assert [text[: len(note)] for text in weights.notes] == ([note] if note else [])
    assert equal(weights, state_of())
    FittedNetwork(weights, network, "head", SPEC, 0).load()
    assert network.scale == kept
    assert torch.equal(network.stem.weight, state_of()["stem.weight"])
    beside = fitted(state_of() | {"_extra_state": {"scale": 3.0}})  # of a network without one
    assert beside.notes == ("Passed over in mine.ckpt: _extra_state.",)


def test_a_misfit_is_refused_before_the_cost_is_measured(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(state_of(), folder / "mine.ckpt")
    monkeypatch.setattr("analysis.commands.analyze._print_cost", pytest.fail)
    monkeypatch.setattr("analysis.commands.analyze.is_quick", lambda _: False)
    assert main(["analyze", "--model", NAME, "--weights", "mine.ckpt"]) != 0
    assert "mine.ckpt does not contain the weights of pocket-resnet20" in capsys.readouterr().err


NAMES = st.text("abcxyz_01", min_size=1, max_size=6)
PREFIXES = st.lists(st.sampled_from(["module", "model", "net", "_orig_mod", "a", "7"]), max_size=4)
LEAVES = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([*BESIDE.values()]),
    st.just(torch.ones(2)),
)
CONTAINERS = st.recursive(
    LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3)
)


@settings(max_examples=60, deadline=None)
@given(
    path=st.lists(NAMES, max_size=3),
    prefix=PREFIXES,
    sides=st.lists(st.dictionaries(NAMES, CONTAINERS, max_size=3), min_size=4, max_size=4),
    legacy=st.booleans(),
    lost=st.sampled_from([*state_of(), None, None]),
)
def test_whatever_is_around_the_weights_they_load_or_are_refused(
    path: list[str],
    prefix: list[str],
    sides: list[dict[str, object]],
    legacy: bool,
    lost: str | None,
) -> None:
    state = {key: tensor for key, tensor in state_of().items() if key != lost}
    before = "".join(f"{part}." for part in prefix)
    content: dict[str, Any] = sides[0] | prefixed(before, state)
    for name, side in zip(reversed(path), sides[1:], strict=False):
        content = side | {name: content}
    try:
        weights = fitted(content, legacy=legacy)
    except AssetError:
        assert lost or sides[0]  # what is beside a tensor may be a part of a larger network
        return
    expected = state_of()
    for key in expected:
        if key in weights.state and key != lost:
            assert torch.equal(weights.state[key], expected[key])
    assert set(expected) - set(weights.state) <= {"head.weight", "head.bias"}
    assert lost is None or lost.startswith("head.") or lost.endswith("num_batches_tracked")
