"""The run store returns what was written, with other readers and writers at work."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import StoreError
from analysis.instruments.memory_use import MemoryUse
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.runs.records import Bet, Ending, Outcome, Recorded, columns
from analysis.runs.store import RunMetrics, RunStore
from analysis.system.processes import ProcessId
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    MemorySample,
    Predictions,
    Selection,
    StepMetrics,
)
from tests.analysis.run_faults import ROOT

ME = ProcessId.of(os.getpid())
OTHER = ProcessId(ME.pid + 1, ME.created)
PEAK = MemoryUse(1, 2, 3, 4, 5)
SELECTION = Selection(("fc", "conv"), 10, 100, 0.5, 1000, True, False, predicted=PEAK)
RESULT = FinetuneResult(0.75, 2, 0.5, 0.625, PEAK, 1.5)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs.sqlite")


def step(number: int, loss: float = 0.1) -> StepMetrics:
    return StepMetrics(number, 1, loss, 1 / 3, 0.05, 32, number / 7, number == 1)


def claimed_run(store: RunStore, options: RunOptions | None = None) -> str:
    """A run that this process works on."""
    (run_id,) = store.add([options or RunOptions()])
    assert store.claim_next(ME, ME, limit=9) == run_id
    return run_id


def test_a_store_that_does_not_exist_holds_no_runs_and_is_not_created(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "none" / "runs.sqlite")
    assert store.runs() == store.runs(deleted=True) == store.leases() == store.unreadable() == []
    assert store.run("nobody") is None
    assert store.metrics("nobody") == RunMetrics()
    assert store.revision() == 0
    assert not store.has_queued()
    assert store.purge() == 0
    assert list(tmp_path.iterdir()) == []


def test_it_is_beside_the_analyses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    (run_id,) = RunStore().add([RunOptions()])
    assert (tmp_path / "home" / "runs.sqlite").is_file()
    assert RunStore().weights_path(run_id) == tmp_path / "home" / "runs" / f"{run_id}.safetensors"
    with pytest.raises(StoreError, match="There is no run"):
        RunStore().weights_path("../../etc/passwd")


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(),
        RunOptions(
            analysis=AnalysisOptions(model="vgg16", weights="random", shift="blur", severity=5),
            strategy="fisher",
            rho=0.1 + 0.2,
            preset="paper",
            recipe=Recipe(epochs=3, learning_rate=1e-3 / 3, optimizer="adamw", seed=2**32 - 1),
        ),
    ],
)
def test_options_come_back_as_they_were(store: RunStore, options: RunOptions) -> None:
    (run_id,) = store.add([options])
    run = store.run(run_id)
    assert run is not None
    assert run.options == options
    assert (run.state, run.started, run.selection, run.result) == ("queued", None, None, None)


def test_runs_started_together_are_a_group_and_the_newest_comes_first(store: RunStore) -> None:
    first, second = store.add([RunOptions(), RunOptions(strategy="head")])
    (third,) = store.add([RunOptions()])
    runs = store.runs()
    assert [run.id for run in runs] == [third, second, first]
    assert runs[1].group == runs[2].group != runs[0].group


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("options", '{"rho": 7.5}'),
        ("options", '{"a setting of tomorrow": 1}'),
        ("options", "not JSON"),
        ("options", b"\xff\xfe"),
        ("state", "dreaming"),
        ("selection", '{"layers": ["conv"]}'),
    ],
)
def test_a_row_that_cannot_be_read_leaves_the_others(
    store: RunStore, column: str, value: str | bytes
) -> None:
    bad, good = store.add([RunOptions(), RunOptions(strategy="head")])
    with sqlite3.connect(store.path) as db:
        db.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, bad))
    db.close()
    assert [run.id for run in store.runs()] == [good]
    assert store.unreadable() == [bad]
    assert store.run(bad) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "no such"},
        {"normalization": "no such"},
        {"preset": "no such"},
        {"summary": "no such"},
        {"summary": ["b1"]},
        {"analysis": {"model": "no such"}},
        {"analysis": {"dataset": "no such"}},
        {"analysis": {"shift": "no such"}},
    ],
)
def test_a_run_with_a_name_that_no_registry_has_cannot_be_read_and_is_kept(
    store: RunStore, settings: dict[str, object]
) -> None:
    bad, good = store.add([RunOptions(), RunOptions(strategy="head")])
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE runs SET options = ? WHERE id = ?", (json.dumps(settings), bad))
    db.close()
    assert [run.id for run in store.runs()] == [good]
    assert store.unreadable() == [bad]


@pytest.mark.parametrize("model", ["timm/tiny_net", "/gone.py:build"])
def test_a_run_is_readable_without_its_model(
    store: RunStore, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.models.names.find_spec", lambda _: None)  # as without timm
    (run_id,) = store.add([RunOptions(AnalysisOptions(model=model))])
    assert [run.id for run in store.runs()] == [run_id]


def test_reading_runs_does_not_import_torch() -> None:
    code = "import sys, analysis.runs.queue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_newer_options_have_their_default(store: RunStore) -> None:
    (run_id,) = store.add([RunOptions(strategy="head")])
    with sqlite3.connect(store.path) as db:
        db.execute("""UPDATE runs SET options = '{"strategy": "last", "recipe": {"epochs": 2}}'""")
    db.close()
    run = store.run(run_id)
    assert run is not None
    before = AnalysisOptions(samples=40, batch_size=8, pooling="pooled")
    assert run.options == RunOptions(before, strategy="last", recipe=Recipe(epochs=2))


def test_metrics_come_back_as_they_were(store: RunStore) -> None:
    run_id = claimed_run(store)
    epoch = EpochMetrics(1, 0.1, 0.2, 0.3, 0.4, 0.5)
    samples = [MemorySample(1, 1, PEAK, 2**40, None), MemorySample(2, 1, PEAK, 5, 6)]
    assert store.record(run_id, ME, [SELECTION, step(2), step(1), *samples, epoch])
    assert store.metrics(run_id) == RunMetrics((step(1), step(2)), (epoch,), tuple(samples))
    assert isinstance(store.metrics(run_id).steps[0].tracked, bool)
    run = store.run(run_id)
    assert run is not None
    assert run.selection == SELECTION


def test_a_loss_that_is_not_finite_is_stored(store: RunStore) -> None:
    run_id = claimed_run(store)
    store.record(run_id, ME, [step(1, math.nan), step(2, math.inf)])
    losses = [step.loss for step in store.metrics(run_id).steps]
    assert math.isnan(losses[0])
    assert losses[1] == math.inf


def test_numpy_numbers_are_stored_as_numbers(store: RunStore) -> None:
    run_id = claimed_run(store)
    store.record(run_id, ME, [replace(step(1), loss=np.float32(0.5), images=np.int64(3))])
    (stored,) = store.metrics(run_id).steps
    assert stored == replace(step(1), loss=0.5, images=3)


def test_a_page_reads_only_what_is_new(store: RunStore) -> None:
    run_id = claimed_run(store)
    store.record(run_id, ME, [step(1)])
    known = store.metrics(run_id)
    store.record(run_id, ME, [step(2), EpochMetrics(1, 0.1, 0.2, 0.3, 0.4, 0.5)])
    with sqlite3.connect(store.path) as db:  # known steps must not be read again
        db.execute("UPDATE steps SET loss = 99 WHERE step = 1")
    db.close()
    new = store.metrics(run_id, known=known)
    assert [step.loss for step in new.steps] == [0.1, 0.1]
    assert len(new.epochs) == 1
    assert store.metrics(run_id, known=new) == new


def test_the_revision_counts_changes_but_not_heartbeats(store: RunStore) -> None:
    run_id, other = claimed_run(store), store.add([RunOptions()])[0]
    seen = store.revision()
    store.record(run_id, ME)
    assert store.revision() == seen
    before = {run.id: run for run in store.runs()}
    store.record(run_id, ME, [step(1)])
    after = {run.id: run for run in store.runs()}
    assert store.revision() > seen
    assert after[run_id].revision > before[run_id].revision
    assert after[other] == before[other]


def test_only_the_worker_of_a_run_writes_to_it_and_only_until_it_ends(store: RunStore) -> None:
    run_id = claimed_run(store)
    assert not store.record(run_id, OTHER, [step(1)], ending=Ending("failed", "no"))
    assert not store.record("nobody", ME, [step(1)])
    assert store.record(run_id, ME, [step(1)], ending=Ending("done", "", RESULT))
    assert not store.record(run_id, ME, [step(2)], ending=Ending("interrupted"))
    run = store.run(run_id)
    assert run is not None
    assert (run.state, run.result, run.error) == ("done", RESULT, "")
    assert run.ended is not None
    assert store.metrics(run_id).steps == (step(1),)


def test_only_the_worker_of_a_done_run_writes_a_note_to_it(store: RunStore) -> None:
    run_id, failed = claimed_run(store), claimed_run(store, RunOptions(strategy="head"))
    assert not store.note(run_id, ME, "too early")
    store.record(run_id, ME, ending=Ending("done", "", RESULT))
    store.record(failed, ME, ending=Ending("failed", "It broke."))
    before = {run.id: run for run in store.runs()}
    assert not store.note(run_id, OTHER, "by another")
    assert not store.note(failed, ME, "hides why")
    assert not store.note("nobody", ME, "")
    assert {run.id: run for run in store.runs()} == before
    assert store.note(run_id, ME, "No weights.")
    run = store.run(run_id)
    assert run is not None
    assert run.revision > before[run_id].revision
    assert run == replace(before[run_id], error="No weights.", revision=run.revision)


def test_no_two_workers_get_one_run(store: RunStore) -> None:
    ids = store.add([RunOptions()] * 12)
    stores = [RunStore(store.path) for _ in range(4)]

    def take(number: int) -> list[str | None]:
        worker = ProcessId(number, 1.0)
        return [stores[number % 4].claim_next(ME, worker, limit=10) for _ in range(3)]

    with ThreadPoolExecutor(8) as threads:
        leased = [run for runs in threads.map(take, range(8)) for run in runs if run is not None]
    assert sorted(leased) == sorted(ids[:10])  # the limit holds, and the longest wait comes first
    assert len(store.leases()) == 10


def test_stop_ends_a_queued_run_and_asks_a_running_one(store: RunStore) -> None:
    running, queued = claimed_run(store), store.add([RunOptions()])[0]
    store.request_stop(running)
    store.request_stop(queued)
    states = {run.id: (run.state, run.stop_requested) for run in store.runs()}
    assert states == {running: ("running", True), queued: ("stopped", True)}
    lease = store.lease_of(running)
    assert lease is not None
    assert lease.stop_requested
    assert not store.has_queued()
    assert store.claim_next(ME, ME, limit=9) is None


def test_predictions_are_stored_apart_and_purged_with_their_run(store: RunStore) -> None:
    predictions = Predictions((0, 1, 2), (0, 2, 2))
    assert predictions.correct == (True, False, True)
    ending = Ending("done", result=replace(RESULT, predictions=predictions))
    recorded = claimed_run(store)
    assert store.predictions(recorded) is None
    assert store.record(recorded, ME, [SELECTION], ending=ending)
    kept = store.keep(RunOptions(), Outcome(ending, time.time()), group="grid:test")
    for run_id in (recorded, kept):
        assert store.predictions(run_id) == predictions
        run = store.run(run_id)
        assert run is not None
        assert run.result == RESULT  # which lists of runs read quickly
    with sqlite3.connect(store.path) as db:
        (text,) = db.execute("SELECT result FROM runs WHERE id = ?", (recorded,)).fetchone()
    assert "predictions" not in json.loads(text)  # which earlier versions could not read
    store.delete([recorded])
    assert store.purge(older_than=0) == 1
    assert store.predictions(recorded) is None
    assert store.predictions(kept) == predictions


def test_delete_can_be_undone_until_it_is_purged(store: RunStore) -> None:
    run_id, other = claimed_run(store), store.add([RunOptions()])[0]
    store.record(run_id, ME, [step(1)], ending=Ending("done", "", RESULT))
    weights = store.weights_path(run_id)
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    topology = store.topology_path(run_id)
    topology.write_bytes(b"loops")
    before = store.metrics(run_id)
    store.delete([run_id])
    assert [run.id for run in store.runs()] == [other]
    assert [run.id for run in store.runs(deleted=True)] == [run_id]
    assert store.purge() == 0
    store.restore([run_id])
    assert {run.id for run in store.runs()} == {run_id, other}
    assert store.metrics(run_id) == before
    assert weights.exists()
    assert topology.exists()
    store.delete([run_id])
    assert store.purge(older_than=0) == 1
    assert store.runs(deleted=True) == []
    assert store.metrics(run_id) == RunMetrics()
    assert not weights.exists()
    assert not topology.exists()
    assert [run.id for run in store.runs()] == [other]


def test_abandoned_half_written_weights_are_removed(store: RunStore) -> None:
    folder = store.weights_path("x").parent
    folder.mkdir()
    old, new, whole = (folder / name for name in ("old.part", "new.part", "x.safetensors"))
    for file in (old, new, whole):
        file.write_bytes(b"weights")
    for file in (old, whole):
        os.utime(file, (0, 0))
    store.purge()
    assert set(folder.iterdir()) == {new, whole}


def test_a_metric_that_cannot_be_written_changes_nothing(store: RunStore) -> None:
    run_id = claimed_run(store)
    with pytest.raises(sqlite3.ProgrammingError):
        store.record(run_id, ME, [step(1), MemorySample(1, 1, PEAK, [], None)])  # type: ignore[arg-type]
    assert store.metrics(run_id).steps == ()
    assert store.record(run_id, ME, [step(1)])


def test_a_running_run_is_not_deleted_and_a_queued_run_is_stopped(store: RunStore) -> None:
    running, queued = claimed_run(store), store.add([RunOptions()])[0]
    with pytest.raises(StoreError, match="Stop it first"):
        store.delete([queued, running])
    assert len(store.runs()) == 2
    store.delete([queued])
    assert not store.has_queued()
    store.restore([queued])
    run = store.run(queued)
    assert run is not None
    assert run.state == "stopped"


@pytest.mark.parametrize("kind", [StepMetrics, MemorySample, EpochMetrics])
def test_the_tables_have_the_columns_of_the_metrics(store: RunStore, kind: type[Recorded]) -> None:
    table = {StepMetrics: "steps", MemorySample: "memory", EpochMetrics: "epochs"}[kind]
    store.add([RunOptions()])
    with sqlite3.connect(store.path) as db:
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    db.close()
    assert names == ["run", *columns(kind)]
    assert set(columns(kind)) >= {f.name for f in fields(kind)} - {"peak"}


def test_readers_see_whole_writes_and_do_not_wait(store: RunStore) -> None:
    run_id = claimed_run(store)
    ended = threading.Event()

    def write() -> None:
        for start in range(1, 300, 3):
            store.record(run_id, ME, [step(start), step(start + 1), step(start + 2)])
            time.sleep(0.001)
        ended.set()

    def read() -> int:
        mine, reads, known = RunStore(store.path), 0, RunMetrics()
        while not ended.is_set():
            known = mine.metrics(run_id, known=known)
            assert [step.step for step in known.steps] == list(range(1, len(known.steps) + 1))
            assert len(known.steps) % 3 == 0
            reads += 1
        return reads

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        threads.submit(write).result()
        assert all(reader.result() > 5 for reader in readers)


def test_the_first_bet_of_a_name_counts_for_each_share_until_all_are_forgotten(
    store: RunStore,
) -> None:
    assert store.bets() == []
    ann, ben = Bet("Ann", "size", 0.1), Bet("Bén \N{SLOTH}", "adabet", 0.1)
    assert [store.add_bet(bet) for bet in (ann, ben)] == [True, True]
    assert not store.add_bet(Bet("Ann", "random", 0.1))
    assert store.add_bet(Bet("Ann", "random", 0.2))
    assert RunStore(store.path).bets() == [Bet("Ann", "random", 0.2), ben, ann]
    store.forget_bets()
    assert store.bets() == []
