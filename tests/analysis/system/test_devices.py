"""Devices on a machine that may have only its CPU, and widths."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

import analysis.system.devices
import analysis.system.memory
from analysis.errors import OptionError
from analysis.system.devices import (
    activations_in,
    available_devices,
    device_problem,
    full_float32,
    pick_device,
)
from analysis.system.memory import free_bytes, free_cache

CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "preferred"),
    [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda"), (True, True, "cuda")],
)
def test_auto_prefers_cuda_then_mps(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, preferred: str
) -> None:
    pretend(monkeypatch, cuda=cuda, mps=mps)
    assert pick_device("auto").type == preferred
    assert pick_device("cpu") == CPU
    assert available_devices()[0] == preferred
    assert available_devices()[-1] == "cpu"


def test_a_missing_device_is_reported_with_those_that_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, cuda=False, mps=True)
    with pytest.raises(
        OptionError, match=r"`device` must be auto or mps or cpu on this machine, got 'cuda'"
    ):
        pick_device("cuda")
    with pytest.raises(OptionError, match="must be one of auto, cpu, cuda, mps; got 'tpu'"):
        pick_device("tpu")
    assert device_problem("mps") == []


def test_some_of_the_free_memory_is_left_to_others() -> None:
    free = psutil.virtual_memory().available
    assert 0.3 * free < free_bytes(CPU) < 0.8 * free


@pytest.mark.parametrize(
    ("limit", "expected"), [("1000000", 360_000), ("400000", 0), ("max", None), (None, None)]
)
def test_a_containers_limit_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str | None, expected: int | None
) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("500000\n")
        (tmp_path / "memory.stat").write_text("anon 400000\ninactive_file 100000\n")
    monkeypatch.setattr(analysis.system.memory, "_CGROUP", tmp_path)
    if expected is None:
        assert free_bytes(CPU) > 10_000_000
    else:
        assert free_bytes(CPU) == expected


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_up_the_tree_of_control_groups_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int
) -> None:
    base = tmp_path / "memory" if version == 1 else tmp_path
    limit, used, cache = [
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ("memory.max", "memory.current", "inactive_file"),
    ][version - 1]
    (base / "user" / "job" / "step").mkdir(parents=True)
    (base / "user" / "job" / limit).write_text("1000000\n")
    (base / "user" / "job" / used).write_text("500000\n")
    (base / "user" / "job" / "memory.stat").write_text(f"{cache} 100000\n")
    own = tmp_path / "own"
    own.write_text(("4:memory:" if version == 1 else "0::") + "/user/job/step\n")
    monkeypatch.setattr(analysis.system.memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(analysis.system.memory, "_OWN_GROUPS", own)
    assert free_bytes(CPU) == 360_000


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_widths_are_autocasts(precision: str) -> None:
    layer, seen = nn.Linear(4, 4), torch.randn(2, 4)
    with activations_in(precision, CPU):  # type: ignore[arg-type]
        assert layer(seen).dtype == getattr(torch, precision)
    assert layer(seen).dtype == torch.float32
    with activations_in("float32", CPU):
        assert layer(seen).dtype == torch.float32


@pytest.mark.parametrize("failing", ["silently", "loudly"])
def test_an_unsupported_precision_is_reported(
    monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def refuse(*_: object) -> torch.autocast:
        if failing == "loudly":
            raise RuntimeError("Current device does not support bfloat16")
        return torch.autocast("cpu", enabled=False)

    monkeypatch.setattr(analysis.system.devices, "_autocast", refuse)
    with (
        pytest.raises(OptionError, match="`precision` must be float32 on this CPU"),
        activations_in("bfloat16", CPU),
    ):
        pass


def test_an_error_inside_a_width_is_passed_on() -> None:
    with pytest.raises(RuntimeError, match="the model's own"), activations_in("bfloat16", CPU):
        raise RuntimeError("the model's own")


def widths() -> list[str]:
    """What torch's newer switches say."""
    backends = torch.backends
    parts = (
        backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul, backends.mkldnn.matmul
    )  # fmt: skip
    return [part.fp32_precision for part in parts]


@pytest.mark.parametrize("precision", ["nothing", "less in all", "full in convolutions"])
def test_full_precision_is_set_everywhere_and_restored(precision: str) -> None:
    untouched = widths()

    def inside() -> None:
        with full_float32():
            assert "tf32" not in widths()
            # As a network may in its forward pass: torch raises if old and new switches differ.
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
            assert torch.get_float32_matmul_precision() == "highest"
            with torch.backends.cudnn.flags(enabled=True):
                pass
            raise KeyError

    try:
        if precision == "less in all":
            torch.backends.cudnn.allow_tf32 = True
            torch.set_float32_matmul_precision("medium")
        if precision == "full in convolutions":
            torch.backends.cudnn.conv.fp32_precision = "ieee"
        before = widths()
        with pytest.raises(KeyError):
            inside()
        assert widths() == before
        if precision == "less in all":
            assert torch.backends.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.fp32_precision = untouched[2]
        torch.backends.mkldnn.matmul.fp32_precision = untouched[3]
    assert widths() == untouched


@pytest.mark.parametrize(("kind", "freed"), [("cpu", []), ("cuda", ["cuda"]), ("mps", ["mps"])])
def test_the_cache_that_is_freed_is_the_devices(
    kind: str, freed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append("cuda"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append("mps"))
    free_cache(torch.device(kind))
    assert emptied == freed
