"""Checkpoints as people bring them, from public reports: loaded as PyTorch would, or explained."""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from analysis.errors import AssetError
from analysis.models.catalogue import ModelSpec
from analysis.models.checkpoint_files import read_checkpoint
from analysis.models.checkpoints import FittedWeights, fit_state
from tests.analysis.models.checkpoint_makers import State

SPEC = ModelSpec("mine", "mine", "own code", "A small network.", "code")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 2, 3)
        self.layer1 = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
        self.fc = nn.Linear(2, 3)


def state(seed: int = 1) -> State:
    torch.manual_seed(seed)
    return dict(Small().state_dict())


def prefixed(prefix: str, weights: State) -> State:
    return {prefix + name: tensor for name, tensor in weights.items()}


def body(weights: State) -> State:
    return {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}


def projection(weights: State) -> State:
    """With two linear layers for the head, as self-supervised training has."""
    return body(weights) | {"fc.0.weight": torch.ones(2, 2), "fc.2.weight": torch.ones(8, 2)}


def half(weights: State, dtype: torch.dtype) -> State:
    return {k: t.to(dtype) if t.is_floating_point() else t for k, t in weights.items()}


class Model(nn.Linear):
    """Stands for the class of a whole model."""


class AttributeDict(dict[str, float]):
    """Stands for Lightning's, and its module for one that cannot be imported here."""

    __module__ = "not_there.parsing"


# By report: what is in the file, whether its head loads too, and words of its notes.
LOADED: dict[str, tuple[Callable[[], object], bool, tuple[str, ...]]] = {
    "queries and keys (open-mmlab/mmselfsup#74, facebookresearch/moco#84)": (
        lambda: {"state_dict": prefixed("module.encoder_q.", projection(state()))
                 | prefixed("module.encoder_k.", projection(state(2)))
                 | {"module.queue": torch.ones(4, 4), "module.queue_ptr": torch.zeros(1)}},
        False,
        ("contains 2 sets of weights: state_dict.encoder_q, state_dict.encoder_k.",
         "has another head (fc.0.weight, fc.2.weight)", "state_dict.queue, state_dict.queue_ptr"),
    ),
    "a backbone (lightly-ai/lightly#1475, open-mmlab/mmpretrain#1411)": (
        lambda: {"meta": {"CLASSES": ("a", "b")},
                 "state_dict": prefixed("backbone.", body(state()))
                 | {"head.fc.weight": torch.ones(3, 2), "head.fc.bias": torch.ones(3)}},
        False,
        ("has no fc: fc is new, with random weights.", "Passed over in mine: state_dict.head"),
    ),
    "a tower of two (mlfoundations/open_clip#343)": (
        lambda: {"state_dict": prefixed("module.visual.trunk.", body(state()))
                 | {"module.logit_scale": torch.tensor(1.0)}},
        False, ("has no fc", "Passed over in mine: state_dict.logit_scale"),
    ),
    "in parallel (nayeemrizve/OpenLDN#5)": (
        lambda: {"state_dict": prefixed("module.", state()), "best_acc": torch.tensor(71.0),
                 "ema_state_dict": prefixed("module.", state(2)), "optimizer": {}},
        True, ("contains 2 sets of weights: state_dict, ema_state_dict.", "best_acc, optimizer"),
    ),
    "compiled (karpathy/nanoGPT#325)": (
        lambda: {"model": prefixed("_orig_mod.", state()), "iter_num": 3, "config": {}}, True,
        ("Passed over in mine: iter_num, config.",)
    ),
    "compiled in parallel (huggingface/pytorch-image-models#2003)": (
        lambda: prefixed("_orig_mod.module.", state()), True, ()
    ),
    "a number of NumPy (MIC-DKFZ/nnUNet#2681)": (
        lambda: {"network_weights": state(), "best": np.float64(0.9), "epoch": np.int64(3)}, True,
        ("Passed over in mine: best, epoch.",)
    ),
    "a namespace (mlcommons/mlperf-automations#465)": (
        lambda: {"model": state(), "args": argparse.Namespace(lr=0.1)}, True,
        ("Passed over in mine: args.",)
    ),
    "bfloat16": (lambda: half(state(), torch.bfloat16), True, ("were bfloat16; they are float32",)),
    "names in bytes, from Python 2": (
        lambda: {name.encode(): tensor for name, tensor in state().items()}, True, ()
    ),
    "two sets by BasicSR (XPixelGroup/BasicSR#253, TencentARC/AnimeSR#10)": (
        lambda: {"params": state(), "params_ema": state(2)}, True,
        ("contains 2 sets of weights: params, params_ema. params is used;",),
    ),
    "classes of a library that is not there (Lightning-AI/pytorch-lightning#2653)": (
        lambda: {"state_dict": prefixed("model.", state()), "epoch": 3,
                 "hyper_parameters": AttributeDict(lr=0.1)},
        True, ("Passed over in mine: epoch, hyper_parameters.",),
    ),
    "a quantised head (huggingface/transformers#7329)": (
        lambda: torch.ao.quantization.quantize_dynamic(loaded(state()), {nn.Linear}).state_dict(),
        False, ("has a quantised head (fc.scale, fc.zero_point", "fc._packed_params.dtype"),
    ),
}  # fmt: skip


def loaded(weights: State) -> Small:
    network = Small()
    network.load_state_dict(weights)
    return network


def fitted(path: Path) -> FittedWeights:
    return fit_state(read_checkpoint(path), Small(), SPEC, "fc", path.name)


@pytest.mark.parametrize("legacy", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("report", LOADED)
def test_a_reported_checkpoint_loads(
    report: str, legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, with_head, notes = LOADED[report]
    module = ModuleType("not_there.parsing")
    module.__dict__["AttributeDict"] = AttributeDict
    with monkeypatch.context() as there:
        there.setitem(sys.modules, "not_there", ModuleType("not_there"))
        there.setitem(sys.modules, "not_there.parsing", module)
        torch.save(make(), tmp_path / "mine", _use_new_zipfile_serialization=not legacy)
    weights = fitted(tmp_path / "mine")
    right = half(half(state(), torch.bfloat16), torch.float32) if report == "bfloat16" else state()
    assert weights.missing == (() if with_head else ("fc.weight", "fc.bias"))
    assert all(
        torch.equal(weights.state[name], tensor)
        for name, tensor in (right if with_head else body(right)).items()
    )
    assert len(weights.notes) == len(notes)
    for note, words in zip(weights.notes, notes, strict=True):
        assert words in note


def saved(content: object) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        torch.save(content, folder / "mine.pth")
        return folder / "mine.pth"

    return save


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def truncated(folder: Path) -> Path:
    path = saved(state())(folder)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def exported(folder: Path) -> Path:
    program = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, folder / "mine.pt2")
    return folder / "mine.pt2"


def scripted(folder: Path) -> Path:
    torch.jit.script(nn.Linear(2, 2)).save(str(folder / "mine.pt"))
    return folder / "mine.pt"


def distributed(folder: Path) -> Path:
    (folder / "step-9").mkdir()
    for name in (".metadata", "__0_0.distcp"):
        (folder / "step-9" / name).write_bytes(b"PK\x03\x04")
    return folder / "step-9"


def of_a_library(folder: Path) -> Path:
    safetensors.torch.save_file(state(), folder / "model.safetensors")
    return folder


ADDED = {"base_model.model.fc.lora_A.weight": torch.ones(2, 2)}
FLAT = {"_fsdp_wrapped_module.conv1._flat_param": torch.ones(9)}
ZERO = {"optimizer_state_dict": {"fp32_flat_groups": [torch.ones(9)]}, "ds_version": "0.9"}
PAGE = "<!DOCTYPE html>\n<title>Google Drive – Quota exceeded</title>".encode()
OPTIMISER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
PART = dict(list(state().items())[:3])
# By report: a maker of the file, how the refusal begins, and what it says to do.
REFUSED: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "a web page (ConstantinSeibold/ChestXRayAnatomySegmentation#17, pytorch/pytorch#16203)": (
        written("mine.pth", PAGE), "mine.pth is a web page, not", "Download it in a browser."
    ),
    "an answer of a server": (
        written("mine.pth", b'{"error": "no such file"}'), "mine.pth is a text file",
        "Download or save it again.",
    ),
    "truncated (THU-MIG/yolov10#154, CompVis/stable-diffusion#93)": (
        truncated, "mine.pth is damaged, or", "Download or save it again."
    ),
    "packed (zijunwei/ViewEvaluationNet#5)": (
        written("mine.tar.gz", b"\x1f\x8b\x08" + bytes(9)), "mine.tar.gz is a packed file", "unpack"
    ),
    "a distributed folder (Nicolas-BZRD/EuroBERT#9, candle-org/candle#129)": (
        distributed, "step-9 is a distributed checkpoint", "dcp_to_torch step-9 FILE"
    ),
    "a part of one (Nicolas-BZRD/EuroBERT#9)": (
        lambda folder: distributed(folder) / "__0_0.distcp", "__0_0.distcp is a part of", "FOLDER"
    ),
    "a folder of a library (shootthesound/Fizgig#57)": (
        of_a_library, "", "Give the file with the weights, such as model.safetensors."
    ),
    "a list of shards (FluxML/SafeTensors.jl#6, raven-ml/raven#136)": (
        written("model.safetensors.index.json", b'{"metadata": {}, "weight_map": {}}'),
        "model.safetensors.index.json lists files of weights", "save only the weights"
    ),
    "one of several shards (Neph0s/CoSER#3)": (
        written("model-00001-of-00030.safetensors", safetensors.torch.save(PART)),
        "model-00001-of-00030.safetensors does not contain", "It is one of 30 files: load them all"
    ),
    "flattened (facebookresearch/dinov2#544)": (
        saved(FLAT), "mine.pth does not contain", "FSDP flattened: save a full state dict"
    ),
    "ZeRO (deepspeedai/DeepSpeed#1181)": (
        saved(ZERO), "mine.pth does not contain", "zero_to_fp32.py"
    ),
    "an adapter (huggingface/peft#1453)": (
        saved(ADDED), "mine.pth does not contain", "merge_and_unload()"
    ),
    "of grey images (RameenAbdal/Labels4Free#6, tobefans/LSSED#4)": (
        lambda folder: saved(state() | {"conv1.weight": torch.ones(2, 1, 3, 3)})(folder),
        "mine.pth does not contain the weights of mine: 1 of another shape: conv1.weight "
        "(2, 1, 3, 3) instead of (2, 3, 3, 3).", "Choose the model that it belongs to.",
    ),
    "the optimiser alone (pytorch/pytorch#86479)": (
        saved(OPTIMISER), "mine.pth does not contain", "state of an optimiser: give the file of the"
    ),
    "a whole model (Comfy-Org/ComfyUI#7425)": (
        saved({"model": Model(2, 2), "train_args": {}}),
        "mine.pth is a whole model (tests.analysis.models.test_brought_checkpoints.Model)",
        "save only the weights",
    ),
    "an exported program": (exported, "mine.pt2 is a program of torch.export", "torch.export.load"),
    "a script": (scripted, "mine.pt is a TorchScript archive", "torch.jit.load"),
    "a pickle of arrays": (
        written("model.pkl", pickle.dumps({"model": {"conv1.weight": np.ones(2)}})),
        "model.pkl is a plain pickle, which runs code", "Open it where it was made",
    ),
    "without values": (
        saved({name: tensor.to("meta") for name, tensor in state().items()}),
        "mine.pth has names of weights without their values", "a network that has its weights.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("report", REFUSED)
def test_a_reported_file_is_refused_with_what_to_do(report: str, tmp_path: Path) -> None:
    make, beginning, remedy = REFUSED[report]
    path = make(tmp_path)
    with pytest.raises(AssetError) as error:
        fitted(path)
    sentence = str(error.value)
    assert sentence.startswith(beginning or tmp_path.name)
    assert remedy in sentence
    assert "\n" not in sentence
    assert "damaged" not in sentence or report.startswith("truncated")


def test_remedies_are_not_given_for_what_only_stands_beside_another_network() -> None:
    content: dict[str, Any] = {"state_dict": {"other.weight": torch.ones(2)}, **OPTIMISER}
    torch.save(content, "mine.pth")
    with pytest.raises(AssetError, match="Choose the model that it belongs to"):
        fitted(Path("mine.pth"))
    extra = copy.deepcopy(content) | {"state_dict": state()}
    torch.save(extra, "mine.pth")
    assert fitted(Path("mine.pth")).notes == ("Passed over in mine.pth: state, param_groups.",)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
