"""What is kept of frozen layers: as it was put, on full disks, and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from analysis.options import Recipe
from analysis.training import feature_store
from analysis.training.cut import Row
from analysis.training.feature_store import FeatureStore, NoRoomError, open_stores
from analysis.training.freezing import freeze
from analysis.training.loop import finetune
from analysis.training.metrics import EpochMetrics, FrozenPart
from tests.analysis.run_faults import ROOT, fill, mount, unmount
from tests.factories import two_classes

CPU = torch.device("cpu")
ROWS = (
    Row((3, 4, 5), torch.float32, (0, 2, 3, 1)),  # channels last
    Row((7,), torch.bfloat16, (0, 1)),
    Row((), torch.int64, (0,)),
)
_KILLED = """
import sys, time
import torch
from torch import nn
from analysis.options import Recipe
from analysis.training import feature_store
from analysis.training.freezing import freeze
from analysis.training.loop import finetune
from analysis.training.metrics import EpochMetrics
from tests.factories import two_classes

feature_store.MOST_IN_MEMORY = 0
model = nn.Sequential(nn.Linear(6, 500), nn.Linear(500, 2))
freeze(model, ["1.weight"])
for item in finetune(model, *[two_classes(64)] * 3, recipe=Recipe(epochs=1000)):
    if isinstance(item, EpochMetrics) and item.epoch == 2:
        print("trains", flush=True)
        time.sleep(600)
"""


def tensors(images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(images)
    wide = torch.randn(images, 4, 5, 3, generator=generator).permute(0, 3, 1, 2)
    return [
        wide,
        torch.randn(images, 7, generator=generator).bfloat16(),
        torch.randint(9, (images,), generator=generator),
    ]


@pytest.mark.parametrize("on_disk", [False, True])
def test_rows_come_back_as_they_were_put(on_disk: bool, tmp_path: Path) -> None:
    store = FeatureStore(10, ROWS, folder=tmp_path if on_disk else None)
    put = tensors(10)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    for part in order.split(4):
        assert not store.known[part].any()
        store.put(part, [tensor[part] for tensor in put])
    assert store.known.all()
    assert store.bytes == 10 * (60 * 4 + 7 * 2 + 8)
    some = torch.tensor([7, 0, 3])
    for tensor, copy in zip(put, store.get(some), strict=True):
        assert torch.equal(copy, tensor[some])
        assert copy.stride() == tensor.stride()
    copies = store.get(some)
    copies[0].zero_()  # a network may work in place
    assert torch.equal(store.get(some)[0], put[0][some])
    assert list(tmp_path.iterdir()) == []  # the file has no name
    store.close()


def test_what_is_too_large_for_memory_goes_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [(10, ROWS), (5, ROWS)]
    monkeypatch.setattr(feature_store, "MOST_IN_MEMORY", 15 * 262)
    assert not any(s.on_disk for s in open_stores(sets, device=CPU, folder=tmp_path))
    monkeypatch.setattr(feature_store, "MOST_IN_MEMORY", 15 * 262 - 1)
    stores = open_stores(sets, device=CPU, folder=tmp_path)
    assert all(store.on_disk for store in stores)
    for store in stores:
        store.close()
    monkeypatch.undo()
    monkeypatch.setattr(feature_store, "host_bytes", lambda: 4 * 15 * 262 - 1)
    assert all(s.on_disk for s in open_stores(sets, device=CPU, folder=tmp_path))


def test_a_disk_without_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not mount(disk := tmp_path / "disk", "size=1m"):
        pytest.skip("this system mounts nothing")
    try:
        with pytest.raises(NoRoomError, match="too little space"):
            FeatureStore(10_000, ROWS, folder=disk)
        monkeypatch.setattr(feature_store, "DISK_SHARE", 100.0)
        with pytest.raises(NoRoomError, match="No space left"):
            FeatureStore(10_000, ROWS, folder=disk)
        assert list(disk.iterdir()) == []
    finally:
        unmount(disk)


def test_a_disk_that_fills_up_ends_the_reuse_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not mount(disk := tmp_path / "disk", "size=1m"):
        pytest.skip("this system mounts nothing")
    monkeypatch.setenv("BETTISCOPE_HOME", str(disk))
    monkeypatch.setattr(feature_store, "MOST_IN_MEMORY", 0)
    # As on file systems that copy on write, where reserved space may be gone.
    monkeypatch.setattr(
        feature_store, "_reserve", lambda file, size: os.truncate(file.fileno(), size)
    )
    model = nn.Sequential(nn.Linear(6, 500), nn.Linear(500, 2))
    freeze(model, ["1.weight"])
    said, epochs = [], 0
    try:
        for item in finetune(model, *[two_classes(64)] * 3, recipe=Recipe(epochs=3)):
            if isinstance(item, FrozenPart):
                said.append(item)
                fill(disk)
            epochs += isinstance(item, EpochMetrics)
        assert epochs == 3
        assert [part.once for part in said] == [True, False]
        assert "No space left" in said[-1].text
    finally:
        unmount(disk)


def test_a_killed_training_leaves_nothing_on_disk(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"BETTISCOPE_HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"trains\n"
        assert _open_files(tmp_path, str(process.pid)), "no scratch file was open"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_stopped_training_frees_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    monkeypatch.setattr(feature_store, "MOST_IN_MEMORY", 0)
    model = nn.Sequential(nn.Linear(6, 500), nn.Linear(500, 2))
    freeze(model, ["1.weight"])
    training = finetune(model, *[two_classes(64)] * 3, recipe=Recipe(epochs=3))
    while not isinstance(next(training), EpochMetrics):
        pass
    assert _open_files(tmp_path)
    training.close()
    assert not _open_files(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def _open_files(folder: Path, process: str = "self") -> list[Path]:
    files = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed in the meantime
            files.append(link.readlink())
    return [file for file in files if str(folder) in str(file)]
