"""The run store on a really full or read-only disk, damaged, locked, or of a newer version."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from analysis.errors import StoreError
from analysis.options import RunOptions
from analysis.runs.store import RunStore
from analysis.system.processes import ProcessId
from analysis.training.metrics import StepMetrics
from tests.analysis.run_faults import fill, lock_file, mount, unmount

ME = ProcessId.of(os.getpid())


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs.sqlite")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A separate disk of two megabytes."""
    folder = tmp_path / "disk"
    if not mount(folder, "size=2m"):
        pytest.skip("this system lets nobody mount a disk here")
    yield folder
    unmount(folder)


def steps(count: int) -> list[StepMetrics]:
    return [StepMetrics(n, 1, 0.1, 0.2, 0.3, 32, 0.4, False) for n in range(1, count + 1)]


def test_a_full_disk_is_an_error_and_loses_nothing(disk: Path) -> None:
    store = RunStore(disk / "runs.sqlite")
    (run_id,) = store.add([RunOptions()])
    store.claim_next(ME, ME, limit=1)
    store.record(run_id, ME, steps(10))
    before = store.runs(), store.metrics(run_id)
    filler = fill(disk)
    with pytest.raises(StoreError, match=r"no space left on the disk .* earlier runs are safe"):
        store.record(run_id, ME, steps(2000))
    with pytest.raises(StoreError, match="no space left"):
        store.add([RunOptions()] * 2000)
    mine = store.run(run_id)
    assert mine == before[0][0]
    assert store.metrics(run_id) == before[1]
    another = RunStore(store.path)
    assert another.run(run_id) == mine
    filler.unlink()
    assert store.record(run_id, ME, steps(2000))
    assert len(another.metrics(run_id).steps) == 2000


def test_a_store_at_rest_can_be_read_on_a_full_disk(disk: Path) -> None:
    """SQLite would first create the index of its log, for which there is no space."""
    store = RunStore(disk / "runs.sqlite")
    store.add([RunOptions()])
    before = store.runs()
    store.close()
    fill(disk)
    assert RunStore(store.path).runs() == before


def test_the_first_run_on_a_full_disk(disk: Path) -> None:
    filler = fill(disk)
    store = RunStore(disk / "runs.sqlite")
    with pytest.raises(StoreError, match="no space left"):
        store.add([RunOptions()])
    assert store.runs() == []
    filler.unlink()
    store.add([RunOptions()])
    assert len(store.runs()) == 1


def test_a_file_that_cannot_grow(store: RunStore) -> None:
    """The same error from SQLite itself, where no disk can be mounted."""
    (run_id,) = store.add([RunOptions()])
    store.claim_next(ME, ME, limit=1)
    with store._database.write() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="no space left"):
        store.record(run_id, ME, steps(2000))
    assert store.metrics(run_id).steps == ()
    assert store.record(run_id, ME, steps(2000))  # a new connection has no such limit


def test_a_read_only_disk_can_be_read(disk: Path) -> None:
    store = RunStore(disk / "runs.sqlite")
    store.add([RunOptions()])
    before = store.runs()
    store.close()
    assert mount(disk, "remount,ro")
    store = RunStore(store.path)
    assert store.runs() == before
    with pytest.raises(StoreError, match=r"cannot be opened or written.*earlier runs are safe"):
        store.add([RunOptions()])


def test_a_folder_that_cannot_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = RunStore(tmp_path / "file" / "runs.sqlite")
    assert store.runs() == []
    with pytest.raises(StoreError, match="cannot be opened or written"):
        store.add([RunOptions()])


def test_a_locked_store_is_an_error_in_time_and_can_still_be_read(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs.sqlite", patience=0.5)
    store.add([RunOptions()])
    before = store.runs()
    with lock_file(store.path):
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"Another program has locked .*runs\.sqlite"):
            store.add([RunOptions()])
        assert 0.4 < time.monotonic() - started < 5
        assert store.runs() == before
        assert RunStore(store.path).runs() == before
    store.add([RunOptions()])
    assert len(store.runs()) == 2


def test_a_long_write_in_one_thread_is_an_error_in_another(store: RunStore) -> None:
    store = RunStore(store.path, patience=0.2)
    with store._database.write(), pytest.raises(StoreError, match="locked"):
        store.add([RunOptions()])


@pytest.mark.parametrize("log_too", [False, True])
def test_a_file_that_is_not_a_store_is_set_aside_whole(store: RunStore, log_too: bool) -> None:
    rubbish = b"rubbish" * 1000
    store.path.write_bytes(rubbish)
    if log_too:
        store.path.with_name("runs.sqlite-wal").write_bytes(b"log")
    with pytest.raises(StoreError, match=r"damaged\. It was set aside as"):
        store.runs()
    (aside,) = store.path.parent.glob("*.damaged")
    assert aside.read_bytes() == rubbish
    assert store.runs() == []
    store.add([RunOptions()])
    assert len(store.runs()) == 1
    assert aside.read_bytes() == rubbish
    assert len(list(store.path.parent.glob("*.damaged-wal"))) == log_too


def test_a_store_that_a_write_finds_damaged_is_set_aside_too(store: RunStore) -> None:
    store.add([RunOptions()] * 200)
    store.close()
    content = bytearray(store.path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    store.path.write_bytes(content)
    with pytest.raises(StoreError, match="set aside"):
        store.add([RunOptions()])
    (aside,) = store.path.parent.glob("*.damaged")
    assert aside.read_bytes() == bytes(content)
    store.add([RunOptions()])
    assert len(store.runs()) == 1


def test_a_store_that_another_process_set_aside_is_not_written_to(store: RunStore) -> None:
    (lost,) = store.add([RunOptions()])
    for name in ("runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm"):
        store.path.with_name(name).replace(store.path.with_name(f"aside-{name}"))
    assert store.runs() == []
    (run_id,) = store.add([RunOptions()])
    assert [run.id for run in RunStore(store.path).runs()] == [run_id]
    assert [run.id for run in RunStore(store.path.with_name("aside-runs.sqlite")).runs()] == [lost]


def test_a_store_of_a_newer_version_is_left_alone(store: RunStore) -> None:
    store.add([RunOptions()])
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    content = store.path.read_bytes()
    for act in (store.runs, lambda: store.add([RunOptions()])):
        with pytest.raises(StoreError, match=r"newer BettiScope.*the file is unchanged"):
            act()
    store.close()
    assert store.path.read_bytes() == content


def contents(store: RunStore) -> object:
    runs = store.runs()
    return runs, [store.metrics(run.id) for run in runs]


def test_no_zeroed_page_is_read_as_if_it_were_whole(store: RunStore, tmp_path: Path) -> None:
    ids = store.add([RunOptions()] * 5)
    store.claim_next(ME, ME, limit=1)
    store.record(ids[0], ME, steps(200))
    store.close()
    whole, right = store.path.read_bytes(), contents(store)
    store.check()
    found = 0
    for start in range(0, len(whole), 4096):
        folder = tmp_path / str(start)
        folder.mkdir()
        damaged = RunStore(folder / "runs.sqlite")
        damaged.path.write_bytes(whole[:start] + bytes(4096) + whole[start + 4096 :])
        with suppress(StoreError):
            damaged.check()
        found += not damaged.path.exists()
        assert not damaged.path.exists() or contents(damaged) == right
    assert found > 8


def test_a_store_that_does_not_exist_is_whole(store: RunStore) -> None:
    store.check()
    assert not store.path.exists()
