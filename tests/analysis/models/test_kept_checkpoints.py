"""Uploaded checkpoints: checked, then kept; listed newest first; and only ours are deleted."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import safetensors
import torch

from analysis.errors import AssetError, OptionError, StoreError
from analysis.models import (
    Checkpoint,
    CheckpointRequest,
    keep_checkpoint,
    load_model,
    own_checkpoints,
    remove_checkpoint,
    weights_fingerprint,
    weights_problem,
)
from analysis.progress import Progress
from analysis.worker import ANSWERS

pytestmark = pytest.mark.usefixtures("home")

NAME = "pocket-mobilenetv2"


def upload(folder: Path, seed: int = 0, name: str = "My model (best).pt") -> CheckpointRequest:
    """An upload as the page has it: a file of no telling name, and what the person calls it."""
    model = load_model(NAME, weights="random", seed=seed, num_classes=4)
    torch.save(model.state_dict(), folder / "upload")
    return CheckpointRequest(folder / "upload", name, NAME)


def kept(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


def test_a_checkpoint_is_kept_and_loads(tmp_path: Path, home: Path) -> None:
    request = upload(tmp_path)
    reports: list[Progress] = []
    checkpoint = keep_checkpoint(request, reports.append)
    expected = torch.load(request.path, weights_only=True)
    request.path.unlink()
    assert checkpoint.classes == 4
    assert checkpoint.notes == ()
    path = Path(checkpoint.weights.removeprefix("file:"))
    assert path.is_absolute()
    assert path.parent == home / "checkpoints" / NAME
    assert path.name.startswith("My-model-best-")
    assert path.suffix == ".safetensors"
    state = load_model(NAME, weights=checkpoint.weights).state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert [step.stage for step in reports] == ["Reading", "Keeping"]
    assert own_checkpoints(NAME) == [checkpoint.weights]
    assert own_checkpoints("resnet50") == []
    assert weights_problem(NAME, checkpoint.weights) == []


def test_the_same_weights_are_kept_once_and_the_newest_comes_first(tmp_path: Path) -> None:
    first = keep_checkpoint(upload(tmp_path))
    again = keep_checkpoint(upload(tmp_path))
    assert first == again
    other = keep_checkpoint(upload(tmp_path, seed=1))
    path = Path(first.weights.removeprefix("file:"))
    os.utime(path, ns=(0, 0))
    assert own_checkpoints(NAME) == [other.weights, first.weights]
    os.utime(path)
    assert own_checkpoints(NAME) == [first.weights, other.weights]
    prints = {weights_fingerprint(NAME, checkpoint.weights, 0) for checkpoint in (first, other)}
    assert len(prints) == 2


def test_a_refused_file_is_not_kept(tmp_path: Path, home: Path) -> None:
    request = upload(tmp_path)
    with pytest.raises(
        AssetError, match=r"My model \(best\)\.pt does not contain the weights of pock"
    ):
        keep_checkpoint(CheckpointRequest(request.path, request.name, "pocket-vgg"))
    request.path.write_bytes(b"")
    with pytest.raises(AssetError, match=r"My model \(best\)\.pt is empty"):
        keep_checkpoint(request)
    assert kept(home) == []


@pytest.mark.parametrize("name", ["../../escape.pt", "..pt", "/etc/passwd.pt", "\n.pt", "é/ü.pt"])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, home: Path, name: str) -> None:
    checkpoint = keep_checkpoint(upload(tmp_path, name=name))
    path = Path(checkpoint.weights.removeprefix("file:"))
    assert kept(home) == [path]
    assert path.parent == home / "checkpoints" / NAME


def test_only_kept_checkpoints_are_deleted(tmp_path: Path, home: Path) -> None:
    checkpoint = keep_checkpoint(upload(tmp_path))
    precious = tmp_path / "precious.pt"
    precious.write_bytes(b"mine")
    inside = Path(checkpoint.weights.removeprefix("file:")).parent
    for weights in (
        f"file:{precious}",
        f"file:{inside}/../../../../precious.pt",
        f"file:{home}/checkpoints/x",
        checkpoint.weights.removeprefix("file:"),
        "pretrained",
    ):
        with pytest.raises(OptionError, match="`weights` must be a checkpoint in"):
            remove_checkpoint(weights)
    assert precious.exists()
    remove_checkpoint(checkpoint.weights)
    remove_checkpoint(checkpoint.weights)
    assert own_checkpoints(NAME) == []
    assert "an existing file" in weights_problem(NAME, checkpoint.weights)[0]


def test_a_home_that_cannot_be_written_to_is_reported(tmp_path: Path, home: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=rf"could not be saved in {home}/checkpoints/{NAME} \("):
        keep_checkpoint(upload(tmp_path))


def test_a_full_disk_is_reported(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StoreError, match=r"be saved in .* \(I/O error: No space left on device"):
        keep_checkpoint(upload(tmp_path))
    assert kept(home) == []


def test_a_worker_answers_the_request(tmp_path: Path) -> None:
    reports: list[Progress] = []
    checkpoint = ANSWERS[CheckpointRequest](upload(tmp_path), reports.append)
    assert pickle.loads(pickle.dumps(checkpoint)) == checkpoint
    assert isinstance(checkpoint, Checkpoint)
    assert own_checkpoints(NAME) == [checkpoint.weights]
    assert reports
