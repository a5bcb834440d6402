"""Saved analyses: whole, found again, and rejected when damaged."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import operator
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import analysis.topology.store
from analysis.errors import StoreError
from analysis.options import AnalysisOptions
from analysis.results import TopologyReport
from analysis.system.home import home
from analysis.topology.saved_checks import NOT_OF_THE_FILE
from analysis.topology.saved_limit import LIMIT_VARIABLE, saved_bytes, saved_limit
from analysis.topology.store import fingerprint, load_analysis, save_analysis
from tests.factories import blobs, circle, layer, report

OPTIONS = AnalysisOptions(model="pocket-vgg")
KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    return tmp_path / "analyses"


@pytest.fixture
def saved() -> TopologyReport:
    first, second = layer("a", circle(20)), layer("b", blobs(10))
    both = dataclasses.replace(first, name="two clouds", diagrams=first.diagrams * 2)
    return dataclasses.replace(
        report(first, layer("gone"), second, both), never_run=("x",), outside=("y",)
    )


def assert_same(one: TopologyReport, other: TopologyReport) -> None:
    assert one.to_frame().equals(other.to_frame())
    for field in dataclasses.fields(TopologyReport):
        if field.name == "notes" or field.name not in NOT_OF_THE_FILE:
            assert getattr(one, field.name) == getattr(other, field.name)
    for a, b in zip(one.layers, other.layers, strict=True):
        np.testing.assert_array_equal(a.distances, b.distances)
        assert len(a.diagrams) == len(b.diagrams)
        for x, y in zip(a.diagrams + a.components, b.diagrams + b.components, strict=True):
            np.testing.assert_array_equal(x, y)
        if a.clustering is not None and b.clustering is not None:
            assert a.clustering.eps == b.clustering.eps
            np.testing.assert_array_equal(a.clustering.labels, b.clustering.labels)


def test_a_stored_analysis_knows_when_it_was_saved(saved: TopologyReport) -> None:
    before = datetime.now().astimezone().replace(microsecond=0)
    path = save_analysis(KEY, saved)
    for _ in range(2):  # reading it changes the time of the file, which is that of its last use
        os.utime(path, (0, 0))
        loaded = load_analysis(KEY)
        assert loaded is not None
        assert loaded.made is not None
        assert before <= loaded.made <= datetime.now().astimezone()
        assert loaded.stored_text == f"Stored analysis, made on {loaded.made:%Y-%m-%d at %H:%M}."
    assert saved.stored_text == ""
    long_ago = before.replace(year=2020)  # it may have been made a moment before it is saved
    save_analysis(KEY, dataclasses.replace(saved, made=long_ago))
    again = load_analysis(KEY)
    assert again is not None
    assert again.made == long_ago
    older = dataclasses.replace(loaded, made=None)
    assert older.stored_text == "Stored analysis, made by an older version."


def test_a_saved_analysis_loads_unchanged(saved: TopologyReport, folder: Path) -> None:
    assert load_analysis(KEY) is None
    save_analysis(KEY, saved)
    loaded = load_analysis(KEY)
    assert loaded is not None
    assert_same(loaded, saved)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"model": "pocket-resnet20"},
        {"dataset": "fashion"},
        {"weights": "random"},
        {"shift": "blur"},
        {"samples": 41},
        {"seed": 1},
        {"pooling": "per-batch"},
        {"split": "test"},
    ],
)
def test_options_that_change_the_numbers_change_the_key(change: dict[str, object]) -> None:
    assert fingerprint(dataclasses.replace(OPTIONS, **change)) != fingerprint(OPTIONS)


def test_options_that_change_no_number_keep_the_key() -> None:
    assert fingerprint(dataclasses.replace(OPTIONS, severity=5)) == fingerprint(OPTIONS)
    pooled = dataclasses.replace(OPTIONS, pooling="pooled")
    assert fingerprint(dataclasses.replace(pooled, batch_size=4)) == fingerprint(pooled)
    shifted = dataclasses.replace(OPTIONS, shift="blur")
    assert fingerprint(dataclasses.replace(shifted, severity=5)) != fingerprint(shifted)
    batches = dataclasses.replace(OPTIONS, pooling="per-batch")
    assert fingerprint(dataclasses.replace(batches, batch_size=4)) != fingerprint(batches)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "98b6f5cd55184a9b752b2b2937d1fa06"),
        (
            {"shift": "noise", "severity": 5, "device": "cuda", "memory": 10**9},
            "b344e501946511d4f7b89367a04b4117",
        ),
        (
            {
                "pooling": "per-batch",
                "batch_size": 16,
                "precision": "bfloat16",
                "device": "cuda",
            },
            "99499447fb4c4f83f2a0e0e614fe9d79",
        ),
    ],
)
def test_saved_analyses_keep_their_keys(
    options: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = analysis.topology.store, SimpleNamespace(fingerprint=lambda: "data")
    monkeypatch.setattr(store, "weights_fingerprint", lambda *_: "weights")
    monkeypatch.setattr(store, "dataset_spec", lambda _: data)
    monkeypatch.setattr(store, "ANALYSIS_VERSION", "version")
    assert fingerprint(AnalysisOptions(**{"samples": 40, "pooling": "pooled"} | options)) == name


def test_another_version_or_other_weights_have_no_saved_analysis(
    saved: TopologyReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_analysis(fingerprint(OPTIONS), saved)
    with monkeypatch.context() as patch:
        patch.setattr(analysis.topology.store, "ANALYSIS_VERSION", 10**6)
        assert load_analysis(fingerprint(OPTIONS)) is None
    with monkeypatch.context() as patch:
        patch.setattr(analysis.topology.store, "weights_fingerprint", lambda *_: "retrained")
        assert load_analysis(fingerprint(OPTIONS)) is None
    assert load_analysis(fingerprint(OPTIONS)) is not None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "another", "no meta"])
def test_a_damaged_file_is_set_aside_and_reported(
    damage: str, saved: TopologyReport, folder: Path
) -> None:
    path = save_analysis(KEY, saved)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not an archive")
    elif damage == "another":
        save_analysis("another", saved).replace(path)
    else:
        np.savez(path, distances=np.zeros(3))
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"damaged\. It was set aside as .*damaged and"):
        load_analysis(KEY)
    assert [p.read_bytes() for p in folder.iterdir()] == [before]  # kept for a look
    assert load_analysis(KEY) is None
    save_analysis(KEY, saved)
    assert load_analysis(KEY) is not None


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Alter a saved analysis: its arrays, and what it says beside them."""
    with np.load(path) as saved:
        arrays = dict(saved)
    meta = json.loads(arrays["meta"].tobytes())
    change(arrays, meta)
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(path, **arrays)


def layer_fact(name: str, value: Any) -> Callable[[Any, Any], None]:
    return lambda _, meta: meta["layers"][0].update({name: value})


def report_fact(name: str, value: Any) -> Callable[[Any, Any], None]:
    return lambda _, meta: meta["report"].update({name: value})


def one_value(name: str, place: Any, value: float) -> Callable[[Any, Any], None]:
    return lambda arrays, _: operator.setitem(arrays[name], place, value)


def whole_array(name: str, change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    return lambda arrays, _: arrays.update({name: change(arrays[name])})


FORMAT = {"channels": 1, "height": 8, "width": 8, "resize": [8, 8], "mean": [0.5], "std": [1.0]}

ALTERATIONS: dict[str, Callable[[Any, Any], None]] = {
    "text for b1": layer_fact("b1", "many"),
    "NaN for b1": layer_fact("b1", float("nan")),
    "a negative b1": layer_fact("b1", -1),
    "a list for parameters": layer_fact("parameters", [1]),
    "half an operation": layer_fact("flops", 0.5),
    "a number for a name": layer_fact("name", 3),
    "the name of another layer": layer_fact("name", "gone"),
    "text in a shape": layer_fact("activation_shape", ["ten"]),
    "text for finite": layer_fact("finite", "yes"),
    "not finite": layer_fact("finite", False),
    "text for samples": report_fact("samples", "20"),
    "other samples": report_fact("samples", 19),
    "no seconds": report_fact("seconds", None),
    "true for the seed": report_fact("seed", True),
    "an unknown pooling": report_fact("pooling", "both"),
    "a number among names": report_fact("never_run", [1]),
    "text for the input": report_fact("input_format", "grey"),
    "text for the mean": report_fact("input_format", FORMAT | {"mean": ["dark"]}),
    "a size of one side": report_fact("input_format", FORMAT | {"resize": [8]}),
    "nothing among names": report_fact("outside", [None]),
    "text for the radius": lambda _, meta: meta["eps"].__setitem__(0, "wide"),
    "no radius": lambda _, meta: meta["eps"].__setitem__(0, None),
    "a NaN distance": one_value("distances", (0, 1, 2), np.nan),
    "an infinite distance": one_value("distances", (0, 1, 2), np.inf),
    "a negative distance": one_value("distances", (0, 1, 2), -1),
    "cut distances": whole_array("distances", lambda values: values[:, :, :-1]),
    "flat distances": whole_array("distances", np.ravel),
    "a layer less": whole_array("distances", lambda values: values[:-1]),
    "texts for distances": whole_array("distances", lambda values: values.astype(str)),
    "a NaN birth": one_value("loops", (0, 0), np.nan),
    "a death before the birth": one_value("loops", (0, 1), 0),
    "a loop without end": one_value("loops", (0, 1), np.inf),
    "loops with three ends": whole_array("loops", lambda values: np.tile(values, 2)),
    "a NaN component": one_value("components", (0, 1), np.nan),
    "labels of real numbers": whole_array("labels", lambda values: values + 0.5),
    "a label beyond": one_value("labels", (0, 0), 999),
    "labels of fewer images": whole_array("labels", lambda values: values[:, :-1]),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_file_is_set_aside_like_a_damaged_one(
    alteration: str, saved: TopologyReport, folder: Path
) -> None:
    path = save_analysis(KEY, saved)
    rewrite(path, ALTERATIONS[alteration])
    with pytest.raises(StoreError, match=r"damaged\. It was set aside"):
        load_analysis(KEY)
    assert [p.suffix for p in folder.iterdir()] == [".damaged"]


def test_a_file_that_is_only_rewritten_still_opens(saved: TopologyReport) -> None:
    path = save_analysis(KEY, saved)
    rewrite(path, lambda arrays, meta: None)
    loaded = load_analysis(KEY)
    assert loaded is not None
    assert_same(loaded, saved)


def test_no_flipped_byte_escapes(saved: TopologyReport, folder: Path) -> None:
    data = save_analysis(KEY, saved).read_bytes()
    path = folder / f"{KEY}.npz"
    for place in range(0, len(data), 41):
        path.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        try:
            loaded = load_analysis(KEY)
        except StoreError:
            continue
        assert loaded is not None  # a byte that nobody reads
        assert_same(loaded, saved)


def test_a_pickle_is_not_opened(folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "x.npy").replace(folder / f"{KEY}.npz")
    with pytest.raises(StoreError, match="damaged"):
        load_analysis(KEY)


def test_a_full_disk_leaves_nothing_half_written(
    saved: TopologyReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_analysis(KEY, saved)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StoreError, match=r"could not be saved in .* \(No space left on device\)"):
        save_analysis(KEY, saved)

    assert [p.suffix for p in folder.iterdir()] == [".npz"]


KILLED = """
import numpy as np, os, signal
from analysis.topology.store import save_analysis
from tests.factories import circle, layer, report
real = np.savez
def half(file, **arrays):
    real(file, **arrays)
    file.truncate(100)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
np.savez = half
save_analysis("0123456789abcdef", report(layer("a", circle(20))))
"""


def test_a_process_killed_while_saving_leaves_no_analysis(folder: Path) -> None:
    root = Path(analysis.topology.store.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=root, check=False)
    assert done.returncode == -9
    assert [p.suffix for p in folder.iterdir()] == [".part"]
    assert load_analysis(KEY) is None


def _save_often(seed: int) -> None:
    for _ in range(20):
        save_analysis(KEY, report(layer("a", circle(20, noise=0.1, seed=seed))))


def test_writers_at_the_same_time_never_leave_a_mixture(folder: Path) -> None:
    _save_often(0)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_save_often, args=(seed,)) for seed in (0, 1)]
    for writer in writers:
        writer.start()
    candidates = [circle(20, noise=0.1, seed=seed) for seed in (0, 1)]
    known = [layer("a", points).distances for points in candidates]
    while any(writer.is_alive() for writer in writers):
        loaded = load_analysis(KEY)
        assert loaded is not None
        assert any((loaded.layers[0].distances == matrix).all() for matrix in known)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(list(folder.iterdir())) == 1


def test_where_analyses_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home() == tmp_path
    monkeypatch.delenv("BETTISCOPE_HOME")
    assert home().name == "bettiscope"
    assert home().is_absolute()


def test_the_device_counts_only_in_half_precision() -> None:
    """Autocast uses other operations on a GPU than on the CPU."""
    there = dataclasses.replace(OPTIONS, device="cpu")
    assert fingerprint(there) == fingerprint(OPTIONS)
    half = dataclasses.replace(OPTIONS, precision="bfloat16")
    assert fingerprint(dataclasses.replace(half, device="cpu")) != fingerprint(half)
    assert fingerprint(dataclasses.replace(half, memory=10**9)) == fingerprint(half)


def test_an_older_file_opens_without_its_loops_of_rounding(saved: TopologyReport) -> None:
    first = saved.layers[0]
    noisy = np.concatenate([first.diagram, np.array([[1, 1 + 1e-6]], np.float32)])
    old = dataclasses.replace(first, diagrams=(noisy,), b1=2.0)
    save_analysis(KEY, dataclasses.replace(saved, layers=(old, *saved.layers[1:])))
    loaded = load_analysis(KEY)
    assert loaded is not None
    assert_same(loaded, saved)


def save_three(saved: TopologyReport) -> list[Path]:
    """Three analyses of one size, each used an hour after the one before."""
    paths = [save_analysis(f"{n}{KEY[1:]}", saved) for n in range(3)]
    for hour, path in enumerate(paths):
        os.utime(path, (3600 * hour, 3600 * hour))
    return paths


def test_the_least_recently_used_analyses_make_room(
    saved: TopologyReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, third = save_three(saved)
    (folder.parent / "runs.sqlite").write_bytes(bytes(10**6))
    (folder.parent / "uploads").mkdir()
    (folder.parent / "uploads" / "old.npz").write_bytes(bytes(10**6))
    monkeypatch.setenv(LIMIT_VARIABLE, str(3.5 * first.stat().st_size / 1e9))
    assert load_analysis(first.stem) is not None  # used now, so the second is the oldest
    fourth = save_analysis(f"3{KEY[1:]}", saved)
    assert sorted(folder.iterdir()) == sorted([first, third, fourth])
    assert saved_bytes(folder) <= saved_limit()
    assert (folder.parent / "runs.sqlite").exists()
    assert (folder.parent / "uploads" / "old.npz").exists()


def test_the_latest_analysis_stays_whatever_the_limit(
    saved: TopologyReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_three(saved)
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    latest = save_analysis(f"3{KEY[1:]}", saved)
    assert list(folder.iterdir()) == [latest]


def test_damaged_files_count_and_go_too(
    saved: TopologyReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest, *_ = save_three(saved)
    damaged = oldest.with_suffix(".damaged")
    oldest.rename(damaged)
    monkeypatch.setenv(LIMIT_VARIABLE, str(3.5 * damaged.stat().st_size / 1e9))
    save_analysis(f"3{KEY[1:]}", saved)
    assert not damaged.exists()
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_named_and_removes_nothing(
    text: str, saved: TopologyReport, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_three(saved)
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(StoreError, match=rf"{LIMIT_VARIABLE} must be .* got '{text}'"):
        save_analysis(f"3{KEY[1:]}", saved)
    assert len(list(folder.iterdir())) == 4


def test_two_gigabytes_are_the_usual_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert saved_limit() == 2_000_000_000
