"""Random containers of random networks: they load as plain PyTorch would, or are refused."""

from __future__ import annotations

import argparse
import copy
import io
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from analysis.errors import AnalysisError
from analysis.models.catalogue import ModelSpec
from analysis.models.checkpoint_files import read_checkpoint
from analysis.models.checkpoints import FittedWeights, fit_state
from tests.analysis.models.checkpoint_makers import State

SPEC = ModelSpec("mine", "mine", "own code", "A small network.", "code")


class Odd(nn.Module):
    """Names that wrappers and containers have too."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Conv2d(1, 2, 3)
        self.model = nn.ModuleDict({"net": nn.BatchNorm2d(2), "ema": nn.Linear(2, 2)})
        self.encoder = nn.ModuleDict({"encoder": nn.Linear(2, 2)})
        self.head = nn.Linear(2, 3)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.head = nn.Linear(2, 3)


class Bare(nn.Module):
    """Parameters and buffers of its own, no head."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(2))
        self.register_buffer("mean", torch.rand(2))
        self.body = nn.Linear(2, 2)


def numbered() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))


NETWORKS = [(Odd, "head"), (Tied, "head"), (Bare, ""), (numbered, "3")]

EXTRA = st.text("xyz", min_size=1, max_size=3).map("extra_{}".format)
BESIDE = st.recursive(
    st.one_of(
        st.none(), st.integers(-9, 9), st.floats(), st.text(max_size=3), st.binary(max_size=3),
        st.sampled_from([
            argparse.Namespace(lr=1), np.float32(2), np.arange(3), torch.ones(2), torch.Size([1]),
            torch.float16, torch.device("cpu"), Path("a"), {1, 2}, range(3), 1j, OrderedDict(a=1),
        ]),
    ),
    lambda inner: st.dictionaries(EXTRA | st.integers(0, 3), inner, max_size=2)
    | st.lists(inner, max_size=2),
    max_leaves=3,
)  # fmt: skip
PARTS = st.sampled_from(["module", "_orig_mod", "model", "net", "state_dict", "backbone", "w_0"])


@dataclass(frozen=True)
class Set:
    """How one set of weights lies in a file."""

    prefix: tuple[str, ...]  # in its names
    containers: tuple[str, ...]  # around it
    beside: dict[str, object]
    ordered: bool
    dtype: torch.dtype

    def wrapped(self, state: State) -> Any:
        before = "".join(f"{part}." for part in self.prefix)
        content: Any = {before + k: cast(v, self.dtype) for k, v in state.items()} | self.beside
        if self.ordered:
            content = OrderedDict(content)
        for name in reversed(self.containers):
            content = {name: content, **self.beside}
        return content


def cast(value: Any, dtype: torch.dtype) -> Any:
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if floating else value


SETS = st.builds(
    Set,
    st.lists(PARTS, max_size=3).map(tuple),
    st.lists(PARTS, max_size=2).map(tuple),
    st.dictionaries(EXTRA, BESIDE, max_size=2),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64]),
)


def random_state(network: nn.Module, seed: int) -> State:
    """Other numbers for a network, ties kept."""
    other, generator = copy.deepcopy(network), torch.Generator().manual_seed(seed)
    for tensor in (*other.parameters(), *other.buffers()):
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + seed)
        else:
            tensor.fill_(seed)
    return dict(other.state_dict())


def loads_as(network: nn.Module, weights: FittedWeights, state: State, dtype: torch.dtype) -> bool:
    """Whether these weights give what plain PyTorch gives, apart from a new head."""
    plain, ours = copy.deepcopy(network), copy.deepcopy(network)
    plain.load_state_dict({key: cast(tensor, dtype) for key, tensor in state.items()})
    ours.load_state_dict(weights.state, strict=not weights.missing)
    expected = plain.state_dict()
    return all(
        torch.equal(tensor, expected[key])
        for key, tensor in ours.state_dict().items()
        if key not in weights.missing
    )


def fitted(network: nn.Module, head: str, content: object, path: Path) -> FittedWeights | str:
    """What a network takes of a file, or the refusal."""
    torch.save(content, path)
    try:
        return fit_state(read_checkpoint(path), network, SPEC, head, path.name)
    except AnalysisError as error:
        return str(error)


@settings(max_examples=40, deadline=None)
@given(which=st.sampled_from(NETWORKS), one=SETS)
def test_an_untouched_set_always_loads_as_pytorch_loads_it(
    which: tuple[Any, str], one: Set, tmp_path_factory: Any
) -> None:
    network, state = which[0](), random_state(which[0](), 1)
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    weights = fitted(network, which[1], one.wrapped(state), path)
    assert isinstance(weights, FittedWeights), weights
    assert not weights.missing
    assert loads_as(network, weights, state, one.dtype)
    assert any("float32 now" in note for note in weights.notes) == (one.dtype != torch.float32)
    assert any(note.startswith("Passed over") for note in weights.notes) == bool(one.beside)


@settings(max_examples=40, deadline=None)
@given(
    which=st.sampled_from(NETWORKS),
    one=SETS,
    place=st.integers(0, 99),
    change=st.sampled_from(["lost", "renamed", "grown", "transposed", "whole numbers", "text"]),
)
def test_an_altered_set_is_refused_or_what_is_new_is_said(
    which: tuple[Any, str], one: Set, place: int, change: str, tmp_path_factory: Any
) -> None:
    network, head = which[0](), which[1]
    state = random_state(network, 1)
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    name = names[place % len(names)]
    altered: dict[str, Any] = dict(state)
    tensor = altered.pop(name)
    if change == "renamed":
        altered[f"{name}_old"] = tensor
    elif change == "grown":
        altered[name] = torch.cat([tensor, tensor])
    elif change == "transposed":
        altered[name] = tensor[..., None]
    elif change == "whole numbers":
        altered[name] = tensor.long()
    elif change == "text":
        altered[name] = "gone"
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    weights = fitted(network, head, one.wrapped(altered), path)
    if isinstance(weights, str):
        assert "fuzz.bin" in weights
        assert name in weights
        assert len(weights) < 1200
        assert "damaged" not in weights
        return
    tied = isinstance(network, Tied) and name.endswith("weight") and not name.startswith(head)
    if tied and change in ("lost", "renamed", "text"):  # its other name is still there
        assert loads_as(network, weights, state, one.dtype)
        return
    assert head
    assert name.startswith(f"{head}.")
    if change == "grown" and not weights.missing:  # more classes
        assert weights.classes == len(altered[name])
        return
    assert set(weights.missing) == {f"{head}.weight", f"{head}.bias"}
    assert any("new, with random weights" in note for note in weights.notes)
    assert loads_as(network, weights, state, one.dtype)


@settings(max_examples=25, deadline=None)
@given(which=st.sampled_from(NETWORKS), sets=st.lists(SETS, min_size=2, max_size=3))
def test_of_several_sets_one_is_taken_whole_and_said(
    which: tuple[Any, str], sets: list[Set], tmp_path_factory: Any
) -> None:
    network, head = which[0](), which[1]
    states = [random_state(network, seed) for seed in range(1, len(sets) + 1)]
    content = {f"s{k}": one.wrapped(states[k]) for k, one in enumerate(sets)}
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    weights = fitted(network, head, content, path)
    assert isinstance(weights, FittedWeights), weights
    assert len(weights.keys) == len(sets)
    assert f"contains {len(sets)} sets of weights" in weights.notes[0]
    for key in weights.keys:
        chosen = fit_state(read_checkpoint(path), network, SPEC, head, path.name, key)
        k = int(key[1])
        assert loads_as(network, chosen, states[k], sets[k].dtype)
        if key == weights.keys[0]:
            assert loads_as(network, weights, states[k], sets[k].dtype)


@settings(max_examples=25, deadline=None)
@given(content=BESIDE | st.dictionaries(EXTRA, BESIDE, max_size=4))
def test_what_holds_no_weights_is_refused(content: object, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    refusal = fitted(Odd(), "head", content, path)
    assert isinstance(refusal, str)
    assert refusal.startswith("fuzz.bin ")
    assert "damaged" not in refusal


def saved(kind: str) -> bytes:
    """A checkpoint as torch.save writes it now and wrote it before, or as safetensors."""
    file, state = io.BytesIO(), random_state(Odd(), 1)
    if kind == "safetensors":
        return safetensors.torch.save(state)
    content = {"state_dict": state, "args": argparse.Namespace(lr=1)}
    torch.save(content, file, _use_new_zipfile_serialization=kind == "new")
    return file.getvalue()


FILES = {kind: saved(kind) for kind in ("new", "old", "safetensors")}


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(FILES)),
    places=st.lists(st.floats(0, 1, exclude_max=True), max_size=3),
    byte=st.integers(0, 255),
    end=st.floats(0, 1) | st.just(1.0),
)
def test_a_damaged_file_is_read_or_refused_in_one_sentence(
    kind: str, places: list[float], byte: int, end: float, tmp_path_factory: Any
) -> None:
    content = bytearray(FILES[kind])
    for place in places:
        content[int(place * len(content))] = byte
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    path.write_bytes(content[: round(end * len(content))])
    try:
        fit_state(read_checkpoint(path), Odd(), SPEC, "head", path.name)
    except AnalysisError as error:
        assert re.fullmatch(r"fuzz\.bin [^\n]+\.", str(error)), error  # noqa: PT017
