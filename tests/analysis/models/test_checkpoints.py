"""Checkpoints of one's own: what fits loads, what does not is refused with a reason, unrun."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from analysis.errors import AssetError, OptionError
from analysis.models import MODELS, load_model, prepare_images, side_of_input
from analysis.models.loading import empty_network, fit_checkpoint
from analysis.models.names import most_bytes, weights_problem
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.training.fine_tune import Training
from tests.analysis.models.checkpoint_makers import (
    Harm,
    State,
    claimed,
    recompressed,
    safetensors_bytes,
    same,
)

NAME = "pocket-resnet20"


@pytest.fixture(scope="module")
def state() -> State:
    """Of a pocket ResNet with seven classes."""
    return dict(load_model(NAME, weights="random", seed=5, num_classes=7).state_dict())


def loads(path: Path, name: str = NAME, **options: Any) -> torch.nn.Module:
    return load_model(name, weights=f"file:{path}", **options)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def old(state: State) -> State:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


GOOD: dict[str, Callable[[State], object]] = {
    "plain": lambda state: state,
    "under state_dict": lambda state: {"epoch": 3, "state_dict": state, "args": {"lr": 0.1}},
    "under model": lambda state: {"model": state, "optimizer": {"steps": [1, 2]}},
    "under model_state_dict": lambda state: {"model_state_dict": state},
    "of DataParallel": lambda state: prefixed(state, "module."),
    "of torch.compile in DataParallel": lambda state: prefixed(state, "module._orig_mod."),
    "of DataParallel in torch.compile": lambda state: prefixed(state, "_orig_mod.module."),
    "of torch.compile in Lightning": lambda state: prefixed(state, "model._orig_mod."),
    "of all three": lambda state: prefixed(state, "model._orig_mod.module."),
    "of Lightning": lambda state: {"state_dict": prefixed(state, "model.")},
    "without counts of batches": old,
}


@pytest.mark.parametrize("ending", ["pt", "pth"])
@pytest.mark.parametrize("kind", GOOD)
def test_weights_load_however_they_were_saved(
    tmp_path: Path, state: State, kind: str, ending: str
) -> None:
    path = tmp_path / f"mine.{ending}"
    torch.save(GOOD[kind](state), path)
    model = loads(path)
    assert same(model, state)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    path.write_bytes(b"")  # nothing of it is used any more
    assert same(model, state)


def test_safetensors_and_old_torch_files_load(tmp_path: Path, state: State) -> None:
    safetensors.torch.save_file(state, tmp_path / "mine.safetensors")
    torch.save(state, tmp_path / "mine.pt", _use_new_zipfile_serialization=False)
    for name in ("mine.safetensors", "mine.pt"):
        assert same(loads(tmp_path / name), state)


def test_the_head_gives_the_classes_and_may_be_replaced(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "mine.pt")
    assert loads(tmp_path / "mine.pt").get_submodule("fc").out_features == 7
    changed = loads(tmp_path / "mine.pt", num_classes=3, seed=1)
    assert changed.get_submodule("fc").out_features == 3
    assert torch.equal(changed.get_parameter("conv1.weight"), state["conv1.weight"])
    other = loads(tmp_path / "mine.pt", num_classes=3, seed=2)
    assert not torch.equal(changed.get_parameter("fc.weight"), other.get_parameter("fc.weight"))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_widths_become_float32_and_it_is_said(
    tmp_path: Path, state: State, kind: torch.dtype
) -> None:
    other = {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(other, tmp_path / "mine.pt")
    weights = fit_checkpoint(MODELS[NAME], tmp_path / "mine.pt").weights
    word = str(kind).removeprefix("torch.")
    assert weights.notes == (f"The weights of mine.pt were {word}; they are float32 now.",)
    assert weights.state["fc.weight"].dtype == torch.float32
    assert torch.equal(weights.state["fc.weight"], other["fc.weight"].float())


def test_numbers_that_are_none_are_noted(tmp_path: Path, state: State) -> None:
    broken = {**state, "fc.bias": torch.full_like(state["fc.bias"], torch.nan)}
    torch.save(broken, tmp_path / "mine.pt")
    weights = fit_checkpoint(MODELS[NAME], tmp_path / "mine.pt").weights
    assert weights.notes == ("These tensors of mine.pt contain NaN or infinite numbers: fc.bias.",)
    torch.save(state, tmp_path / "whole.pt")
    assert fit_checkpoint(MODELS[NAME], tmp_path / "whole.pt").weights.notes == ()


def test_misfits_are_listed(tmp_path: Path, state: State) -> None:
    wrong = dict(state)
    del wrong["layer1.0.conv1.weight"]
    wrong["extra.weight"] = torch.zeros(2)
    wrong["conv1.weight"] = torch.zeros(16, 3, 7, 7)
    wrong["bn1.weight"] = torch.ones(16, dtype=torch.int64)
    torch.save(wrong, tmp_path / "mine.pt")
    with pytest.raises(AssetError) as error:
        loads(tmp_path / "mine.pt")
    assert str(error.value) == (
        "mine.pt does not contain the weights of pocket-resnet20: "
        "1 missing: layer1.0.conv1.weight; "
        "1 unknown to it: extra.weight; "
        "1 of another shape: conv1.weight (16, 3, 7, 7) instead of (16, 3, 3, 3); "
        "1 not of dense floating-point numbers: bn1.weight. "
        "Choose the model that it belongs to, or rename the keys and save them again."
    )


def test_long_lists_are_cut_and_the_right_model_is_named(tmp_path: Path) -> None:
    with torch.no_grad():
        other = load_model("squeezenet1_1", weights="random", num_classes=3).state_dict()
    torch.save(other, tmp_path / "mine.pt")
    with pytest.raises(AssetError) as error:
        loads(tmp_path / "mine.pt", "mnasnet0_5")
    sentence = str(error.value)
    assert "50 unknown to it: features.0.weight, " in sentence
    assert sentence.count("features.") == 5
    assert " and 45 more." in sentence
    assert sentence.startswith("mine.pt contains the weights of squeezenet1_1, not of mnasnet0_5: ")
    assert sentence.endswith(". Choose squeezenet1_1.")


def test_keys_that_fit_are_not_to_be_renamed(tmp_path: Path, state: State) -> None:
    torch.save({**state, "conv1.weight": torch.zeros(16, 3, 7, 7)}, tmp_path / "mine.pt")
    with pytest.raises(AssetError) as error:
        loads(tmp_path / "mine.pt")
    assert str(error.value) == (
        "mine.pt does not contain the weights of pocket-resnet20: 1 of another shape: "
        "conv1.weight (16, 3, 7, 7) instead of (16, 3, 3, 3). Choose the model that it belongs to."
    )


def test_a_head_without_classes_or_dimensions_is_replaced(tmp_path: Path, state: State) -> None:
    for weight in (torch.zeros(()), torch.zeros(0, 64)):
        torch.save({**state, "fc.weight": weight}, tmp_path / "mine.pt")
        fitted = fit_checkpoint(MODELS[NAME], tmp_path / "mine.pt")
        assert fitted.weights.notes == (
            "mine.pt has another head (fc.weight, fc.bias): fc is new, with random weights.",
        )
        assert fitted.load().get_submodule("fc").out_features == 10


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor.to("meta"),
        lambda tensor: (100 * tensor).to(torch.int8),
    ],
)
def test_tensors_of_other_kinds_are_refused(
    tmp_path: Path, state: State, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    torch.save({**state, "fc.weight": change(state["fc.weight"])}, tmp_path / "mine.pt")
    with pytest.raises(AssetError, match=r": 1 not of dense floating-point numbers: fc\.weight"):
        loads(tmp_path / "mine.pt")


def save_harm(path: Path, harm: Harm, kind: str) -> None:
    if kind == "pickle":
        path.write_bytes(pickle.dumps(harm))
    elif kind == "old pickle":
        path.write_bytes(pickle.dumps(harm, protocol=2))
    elif kind == "old torch file":
        torch.save({"weights": harm}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save({"state_dict": {"fc.weight": torch.zeros(2)}, "more": harm}, path)


@pytest.mark.parametrize("kind", ["pickle", "old pickle"])
def test_a_plain_pickle_is_refused_unrun(tmp_path: Path, kind: str) -> None:
    harmed = tmp_path / "harmed"
    save_harm(tmp_path / "mine.pt", Harm(harmed), kind)
    with pytest.raises(
        AssetError, match=r"^mine\.pt is a plain pickle, which runs code when it is"
    ):
        loads(tmp_path / "mine.pt")
    assert not harmed.exists()


@pytest.mark.parametrize("kind", ["old torch file", "torch file"])
def test_a_file_that_would_run_code_is_refused_unrun(tmp_path: Path, kind: str) -> None:
    harmed = tmp_path / "harmed"
    save_harm(tmp_path / "mine.pt", Harm(harmed), kind)
    with pytest.raises(
        AssetError,
        match=r"^mine\.pt was refused because reading it could run code: it asks for \w+\.system\.",
    ):
        loads(tmp_path / "mine.pt")
    assert not harmed.exists()


def test_the_harm_is_real(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Harm(tmp_path / "harmed")))
    assert (tmp_path / "harmed").exists()


def test_a_whole_model_is_refused_with_a_way_to_save_weights(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "mine.pt")
    with pytest.raises(
        AssetError,
        match=r"^mine\.pt is a whole model \(torch\.nn\.modules\.linear\.Linear\), which only",
    ):
        loads(tmp_path / "mine.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    script = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(script, tmp_path / "mine.pt")
    with pytest.raises(AssetError, match=r"mine\.pt is a TorchScript archive, which contains code"):
        loads(tmp_path / "mine.pt")


def test_a_compressed_archive_is_refused_unread(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(state, tmp_path / "plain.pt")
    recompressed(tmp_path / "plain.pt", tmp_path / "mine.pt")
    monkeypatch.setattr(torch, "load", pytest.fail)
    with pytest.raises(AssetError, match=r"mine\.pt is a compressed archive"):
        loads(tmp_path / "mine.pt")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "contains a list, not weights by name"),
        (torch.zeros(3), "contains a Tensor, not weights by name"),
        ({}, "contains no weights"),
        ({"epoch": 3, "lr": 0.1}, "contains no weights, only epoch, lr"),
        ({3: torch.zeros(1)}, "does not contain .*; 1 unknown to it: 3"),
        ({"state_dict": {"a": "text"}}, "contains no weights, only state_dict"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object, sentence: str) -> None:
    torch.save(content, tmp_path / "mine.pt")
    with pytest.raises(AssetError, match=rf"^mine\.pt {sentence}"):
        loads(tmp_path / "mine.pt")


@pytest.mark.parametrize("damage", ["truncated", "zeros"])
def test_damaged_torch_files_are_refused(tmp_path: Path, state: State, damage: str) -> None:
    path = tmp_path / "mine.pt"
    torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[:-3000], "zeros": bytes(5000)}[damage])
    with pytest.raises(
        AssetError,
        match=r"^mine\.pt is damaged, or torch\.save did not write it\. Download or save ",
    ):
        loads(path)


LYING = {
    "header longer than the file": (2**60).to_bytes(8, "little") + b"{}",
    "header of no JSON": (4).to_bytes(8, "little") + b"{{{{",
    "shape larger than its data": safetensors_bytes({"a": claimed([10**9], 0, 4)}, bytes(4)),
    "data beyond the end": safetensors_bytes({"a": claimed([1000], 0, 4000)}, bytes(4)),
    "two tensors in one place": safetensors_bytes(
        {"a": claimed([1], 0, 4), "b": claimed([1], 0, 4)}, bytes(4)
    ),
    "a negative place": safetensors_bytes({"a": claimed([1], -4, 0)}, bytes(4)),
    "an unknown type": safetensors_bytes({"a": claimed([1], 0, 4, "F99")}, bytes(4)),
    "a shape of texts": safetensors_bytes(
        {
            "conv_proj.weight": claimed(list("abcd"), 0, 4),
            "encoder.pos_embedding": claimed(list("abc"), 0, 4),
        },
        bytes(4),
    ),
    "a shape without end": safetensors_bytes({"a": claimed([math.inf], 0, 4)}, bytes(4)),
    "lists in lists": (10**5 + 5).to_bytes(8, "little") + b'{"a":' + b"[" * 10**5,
}


@pytest.mark.parametrize("lie", LYING)
def test_lying_safetensors_files_are_refused(tmp_path: Path, lie: str) -> None:
    (tmp_path / "mine.safetensors").write_bytes(LYING[lie])
    with pytest.raises(
        AssetError,
        match=r"^mine\.safetensors is damaged, or not a safetensors file \(.+\)\. Download ",
    ):
        loads(tmp_path / "mine.safetensors")
    assert side_of_input("vit_b_16", weights=f"file:{tmp_path / 'mine.safetensors'}") == 224


def test_endings_in_upper_case_are_endings(tmp_path: Path, state: State) -> None:
    torch.save(state, tmp_path / "MINE.PT")
    safetensors.torch.save_file(state, tmp_path / "MINE.SafeTensors")
    for name in ("MINE.PT", "MINE.SafeTensors"):
        assert weights_problem(NAME, f"file:{tmp_path / name}") == []
        assert same(loads(tmp_path / name), state)


@pytest.mark.parametrize("archive", [True, False])
def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(
    tmp_path: Path, state: State, archive: bool
) -> None:
    many = torch.zeros(1).expand(50_000_000, 64)  # 13 GB of one number
    path = tmp_path / "mine.pt"
    wide = {**state, "fc.weight": many}
    torch.save(wide, path, _use_new_zipfile_serialization=archive)
    assert path.stat().st_size < 2**21
    with pytest.raises(AssetError, match=r"^mine\.pt does not store every number of fc\.weight\."):
        loads(path)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_empty_files_and_folders_are_refused(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"empty.{ending}").touch()
    with pytest.raises(AssetError, match=rf"^empty\.{ending} is empty\.$"):
        loads(tmp_path / f"empty.{ending}")
    (tmp_path / f"folder.{ending}").mkdir()
    with pytest.raises(AssetError, match=rf"^folder\.{ending} is a folder, not a checkpoint"):
        loads(tmp_path / f"folder.{ending}")


def test_huge_files_are_refused_unread(tmp_path: Path) -> None:
    for ending in ("pt", "safetensors"):
        with (tmp_path / f"mine.{ending}").open("wb") as file:
            file.truncate(10**12)  # nothing of it is on the disk
        with pytest.raises(
            OptionError, match=r"must name a file of at most 85 MB .* with 1,000,000 MB"
        ):
            loads(tmp_path / f"mine.{ending}")
        with pytest.raises(AssetError, match="has 1,000,000 MB, far more than the weights of"):
            fit_checkpoint(MODELS[NAME], tmp_path / f"mine.{ending}")
    assert most_bytes(MODELS[NAME].parameters) > 10 * 4 * MODELS[NAME].parameters


def test_a_fine_tune_s_weights_are_a_checkpoint(tmp_path: Path) -> None:
    options = RunOptions(
        analysis=AnalysisOptions(model=NAME, dataset="digits"),
        strategy="head",
        train_samples=8,
        recipe=Recipe(epochs=1, batch_size=8),
    )
    training = Training(options)
    steps = iter(training)
    next(steps)
    training.save_weights(tmp_path / "trained.safetensors")
    model = loads(tmp_path / "trained.safetensors")
    assert training._model is not None
    assert same(model, dict(training._model.state_dict()))
    assert model.get_submodule("fc").out_features == 10


def test_mnasnet_takes_weights_without_a_version(tmp_path: Path) -> None:
    """torchvision's MNASNet refuses a state dict without the version of its layout."""
    model = load_model("mnasnet0_5", weights="random")
    weights = dict(model.state_dict())
    safetensors.torch.save_file(weights, tmp_path / "mine.safetensors")
    assert same(loads(tmp_path / "mine.safetensors", "mnasnet0_5"), weights)


def test_auxiliary_classifiers_of_a_checkpoint_are_dropped(tmp_path: Path) -> None:
    weights = dict(load_model("googlenet", weights="random", num_classes=2).state_dict())
    with_aux = {**weights, "aux1.fc2.weight": torch.zeros(2, 1024)}
    safetensors.torch.save_file(with_aux, tmp_path / "mine.safetensors")
    assert same(loads(tmp_path / "mine.safetensors", "googlenet"), weights)


def zeros_of(shapes: dict[str, tuple[int, ...]]) -> State:
    # One storage for all takes little room, also in the file.
    zeros = torch.zeros(max(map(math.prod, shapes.values())))
    return {key: zeros[: math.prod(shape)].view(shape) for key, shape in shapes.items()}


def test_a_vision_transformer_s_checkpoint_gives_its_side(tmp_path: Path) -> None:
    shapes = {key: tuple(t.shape) for key, t in empty_network("vit_b_32", 2).state_dict().items()}
    shapes["encoder.pos_embedding"] = (1, 3 * 3 + 1, 768)  # 96 pixels in patches of 32
    path = tmp_path / "mine.pt"
    torch.save({"state_dict": prefixed(zeros_of(shapes), "module.")}, path)
    weights = f"file:{path}"
    assert side_of_input("vit_b_32", weights=weights) == 96
    image = np.zeros((1, 1, 28, 28), np.float32)
    assert prepare_images("vit_b_32", image, weights=weights).shape == (1, 3, 96, 96)
    fitted = fit_checkpoint(MODELS["vit_b_32"], path)
    assert fitted.network.image_size == 96
    assert fitted.weights.classes == 2
    header = {key: claimed(list(shape), 0, 0) for key, shape in shapes.items()}
    file = tmp_path / "MINE.SafeTensors"
    file.write_bytes(safetensors_bytes(header, b""))  # the header alone tells the side
    assert json.loads(file.read_bytes()[8:])["conv_proj.weight"]["shape"] == [768, 3, 32, 32]
    assert side_of_input("vit_b_32", weights=f"file:{file}") == 96
    with pytest.raises(OptionError, match="`input_side` must be 96 for vit_b_32 with these"):
        side_of_input("vit_b_32", weights=f"file:{file}", input_side=224)


def test_a_vision_transformer_s_checkpoint_of_other_patches_is_refused(tmp_path: Path) -> None:
    shapes = {key: tuple(t.shape) for key, t in empty_network("vit_b_16", 2).state_dict().items()}
    shapes["encoder.pos_embedding"] = (1, 15 * 15 + 1, 768)  # 240 pixels, no multiple of 32
    torch.save(zeros_of(shapes), tmp_path / "mine.pt")
    with pytest.raises(
        AssetError, match=r"mine\.pt does not .* vit_b_32: 2 of another shape: conv_proj\.weight"
    ):
        loads(tmp_path / "mine.pt", "vit_b_32")


def test_a_checkpoint_is_read_again_when_the_file_changed(tmp_path: Path, state: State) -> None:
    path = tmp_path / "mine.pt"
    torch.save(state, path)
    first = loads(path)
    torch.save({key: tensor + 1 for key, tensor in state.items()}, path)
    assert not same(loads(path), dict(first.state_dict()))
