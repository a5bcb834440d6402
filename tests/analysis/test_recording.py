"""The worker's recorder, where a real process would hardly ever show the moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import StoreError
from analysis.metrics import StepMetrics
from analysis.options import RunOptions
from analysis.processes import ProcessId
from analysis.recording import Recorder, TrainingRequest
from analysis.run_records import Ending, Recorded
from analysis.runs import RunStore

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
    return [each.step for each in recorder.store.metrics(run.id).steps]


def test_what_is_measured_during_a_write_is_written_next(
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


def test_what_could_not_be_written_is_kept_and_given_back(
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
    assert (unsaved.ending.state, unsaved.trouble) == ("stopped", "no space left")
    assert unsaved.ending.at > 0


def test_a_run_that_was_ended_elsewhere_is_given_up(recorder: Recorder) -> None:
    (run,) = recorder.store.runs()
    recorder.store.record(run.id, ME, ending=Ending("interrupted", "by another"))
    recorder._look()
    assert recorder.lost.is_set()
    recorder.put(step(1))
    assert recorder.end(Ending("done"), patience=0) is None
    assert steps(recorder) == []
    assert recorder.store.runs()[0].state == "interrupted"
