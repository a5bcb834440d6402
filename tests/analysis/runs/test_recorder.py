"""The worker's recorder, at moments that a real process rarely hits."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import analysis.runs.recorder
from analysis.errors import StoreError
from analysis.instruments.memory_use import MemoryUse
from analysis.options import RunOptions
from analysis.runs.recorder import Recorder, TrainingRequest, Unsaved, WaitingForSpace, train
from analysis.runs.records import Ending, Recorded
from analysis.runs.store import RunStore
from analysis.system.processes import ProcessId
from analysis.training.metrics import FinetuneResult, MemorySample, StepMetrics
from tests.analysis.run_faults import wait_until

ME = ProcessId.of(os.getpid())


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    store = RunStore(tmp_path / "runs.sqlite")
    (run_id,) = store.add([RunOptions()])
    store.claim_next(ME, ME, limit=1)
    return Recorder(TrainingRequest(run_id, store.path, ME))


def step(number: int) -> StepMetrics:
    return StepMetrics(number, 1, 0.5, 0.5, 0.1, 32, 1.0, False)


def steps(recorder: Recorder) -> list[int]:
    (run,) = recorder.store.runs()
    return [step.step for step in recorder.store.metrics(run.id).steps]


def test_items_that_come_during_a_write_are_written_next(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = recorder.store.record

    def slow(run_id: str, worker: ProcessId, news: Sequence[Recorded], **rest: Any) -> bool:
        recorder.put(step(len(recorder._buffer) + len(steps(recorder)) + 1))
        return record(run_id, worker, news, **rest)

    recorder.put(step(1))
    monkeypatch.setattr(recorder.store, "record", slow)
    recorder._write(None)
    assert steps(recorder) == [1]
    recorder._write(None)
    assert steps(recorder) == [1, 2]


def test_items_that_could_not_be_written_are_returned(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> bool:
        raise StoreError("no space left")

    recorder.put(step(1))
    with monkeypatch.context() as patch:
        patch.setattr(recorder.store, "record", full)
        with pytest.raises(StoreError, match="no space left"):
            recorder._write(None)
        recorder.put(step(2))
        unsaved = recorder.end(Ending("stopped"), patience=0)
    assert unsaved is not None
    assert unsaved.news == (step(1), step(2))
    assert (unsaved.ending.state, unsaved.reason) == ("stopped", "no space left")
    assert unsaved.ending.at > 0


def test_a_run_that_another_process_ended_is_lost(recorder: Recorder) -> None:
    (run,) = recorder.store.runs()
    recorder.store.record(run.id, ME, ending=Ending("interrupted", "by another"))
    recorder._check_lease()
    assert recorder.lost.is_set()
    recorder.put(step(1))
    assert recorder.end(Ending("done"), patience=0) is None
    assert steps(recorder) == []
    assert recorder.store.runs()[0].state == "interrupted"


class Bug:
    """A method of the store with a bug; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object, **__: object) -> Any:
        self.calls += 1
        raise sqlite3.ProgrammingError("a bug")


def heartbeat(recorder: Recorder) -> float:
    return recorder.store.runs()[0].heartbeat or 0.0


def test_a_bug_in_checking_for_stop_does_not_end_the_writing(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bug = Bug()
    with monkeypatch.context() as patch:
        patch.setattr(recorder.store, "lease_of", bug)
        recorder.start({})
        wait_until(lambda: bug.calls >= 2)
        recorder.put(step(1))
        wait_until(lambda: steps(recorder) == [1], 10)
        before = heartbeat(recorder)
        wait_until(lambda: heartbeat(recorder) > before, 10)
    recorder.store.request_stop(recorder.store.runs()[0].id)
    wait_until(recorder.stopped.is_set, 10)
    recorder.end(Ending("stopped"), patience=1)
    assert capsys.readouterr().err.count("ProgrammingError: a bug") == 1


def test_a_bug_in_writing_does_not_end_the_checks_for_stop(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug = Bug()
    monkeypatch.setattr(recorder.store, "record", bug)
    recorder.start({})
    recorder.put(step(1))
    wait_until(lambda: bug.calls >= 2)
    recorder.store.request_stop(recorder.store.runs()[0].id)
    wait_until(recorder.stopped.is_set, 10)
    recorder.end(Ending("stopped"), patience=0)


def test_items_that_can_never_be_written_go_to_the_server(recorder: Recorder) -> None:
    recorder.put(MemorySample(1, 1, MemoryUse(), [], None))  # type: ignore[arg-type]
    unsaved = recorder.end(Ending("done"), patience=0)
    assert unsaved is not None
    assert unsaved.ending.state == "done"


def test_of_several_endings_the_first_counts(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> bool:
        raise StoreError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(recorder.store, "record", full)
        recorder.end(Ending("done"), patience=0)
    assert recorder.end(Ending("interrupted"), patience=0) is None
    assert recorder.store.runs()[0].state == "done"


def test_versions_and_fingerprints_are_written_as_soon_as_possible(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(recorder.store, "record", Bug())
        recorder.start({"model": "m"})
        recorder.set_device("cuda")
    recorder.end(Ending("done"), patience=1)
    (run,) = recorder.store.runs()
    assert run.versions["device"] == "cuda"
    assert run.fingerprints == {"model": "m"}


RESULT = FinetuneResult(0.75, 2, 0.5, 0.625, MemoryUse(), 1.5)


def test_a_finished_run_is_handed_over_before_its_weights_are_saved(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store cannot be written, and saving the weights runs out of memory."""
    handed: list[Any] = []
    before: list[Unsaved] = []

    class OutOfMemory:
        fingerprints: dict[str, str] = {}  # noqa: RUF012

        def __init__(self, _: RunOptions) -> None:
            pass

        def __iter__(self) -> Iterator[FinetuneResult]:
            yield RESULT

        def save_weights(self, _: Path) -> None:
            before.extend(handed)
            raise MemoryError

    def full(*_: object, **__: object) -> bool:
        raise StoreError("no space left")

    monkeypatch.setitem(
        sys.modules, "analysis.training.fine_tune", SimpleNamespace(Training=OutOfMemory)
    )
    monkeypatch.setattr(RunStore, "record", full)
    monkeypatch.setattr(analysis.runs.recorder, "_END_PATIENCE", 0.0)
    (run,) = recorder.store.runs()
    train(TrainingRequest(run.id, recorder.store.path, ME), lambda _: None, handed.append)
    assert [(run.ending.state, run.ending.result) for run in before] == [("done", RESULT)]
    assert handed[-1].ending.result == RESULT
    assert handed[-1].ending.state == "done"
    assert "weights were not saved. Memory ran out" in handed[-1].ending.error


class FullDisk:
    """A training that ends at once, on a disk that has space at the third try to save."""

    fingerprints: dict[str, str] = {}  # noqa: RUF012
    tries = 0

    def __init__(self, _: RunOptions) -> None:
        FullDisk.tries = 0

    def __iter__(self) -> Iterator[FinetuneResult]:
        yield RESULT

    def save_weights(self, _: Path) -> None:
        FullDisk.tries += 1
        if FullDisk.tries < 3:
            raise StoreError("full") from OSError(errno.ENOSPC, "full")


class Short(FullDisk):
    """A training that ends at once and saves nothing."""

    def save_weights(self, _: Path) -> None:
        pass


@pytest.mark.parametrize("source", ["pocket", "code"])
def test_a_process_that_ran_the_users_code_trains_no_other_run(
    source: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(Training=Short)
    monkeypatch.setitem(sys.modules, "analysis.training.fine_tune", fake)
    monkeypatch.setattr(
        analysis.runs.recorder, "model_spec", lambda _: SimpleNamespace(source=source)
    )
    (run,) = recorder.store.runs()
    request = TrainingRequest(run.id, recorder.store.path, ME)
    assert train(request, lambda _: None, lambda _: None) == (source != "code")
    assert recorder.store.runs()[0].state == "done"


@pytest.mark.parametrize("store_too", [False, True])
def test_weights_are_saved_once_there_is_space(
    store_too: bool, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Unsaved | WaitingForSpace] = []
    notes: list[str] = []
    record, note = RunStore.record, RunStore.note

    def limited(*arguments: Any, **options: Any) -> bool:
        if FullDisk.tries < 2 and store_too:
            raise StoreError("no space left")
        return record(*arguments, **options)

    def noted(store: RunStore, run_id: str, worker: ProcessId, words: str) -> bool:
        notes.append(words)
        return note(store, run_id, worker, words)

    fake = SimpleNamespace(Training=FullDisk)
    monkeypatch.setitem(sys.modules, "analysis.training.fine_tune", fake)
    monkeypatch.setattr(RunStore, "record", limited)
    monkeypatch.setattr(RunStore, "note", noted)
    monkeypatch.setattr(analysis.runs.recorder, "_SPACE_POLL", 0.0)
    monkeypatch.setattr(analysis.runs.recorder, "_END_PATIENCE", 0.1)
    (run,) = recorder.store.runs()
    train(TrainingRequest(run.id, recorder.store.path, ME), lambda _: None, handed.append)
    assert WaitingForSpace() in handed
    assert FullDisk.tries == 3
    assert ["not saved yet" in words for words in notes] == [True, False]
    (run,) = recorder.store.runs()
    assert (run.state, run.error, run.result) == ("done", "", RESULT)


def test_weights_for_which_there_is_never_space_are_given_up(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(Training=FullDisk)
    monkeypatch.setitem(sys.modules, "analysis.training.fine_tune", fake)
    monkeypatch.setattr(analysis.runs.recorder, "SPACE_PATIENCE", 0.0)
    (run,) = recorder.store.runs()
    train(TrainingRequest(run.id, recorder.store.path, ME), lambda _: None, lambda _: None)
    (run,) = recorder.store.runs()
    assert (run.state, run.error) == ("done", "The trained weights were not saved. full")
