"""The queue of fine-tunes: workers and servers really stopped, killed and started again.

The training in the workers is `stand_in/training.py`, except in one test.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import analysis.runs.queue
from analysis.errors import StoreError
from analysis.instruments.memory_use import MemoryUse
from analysis.jobs.jobs import Jobs
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.runs.queue import RunQueue
from analysis.runs.recorder import Unsaved
from analysis.runs.records import Ending, Lease, Run
from analysis.runs.store import RunStore
from analysis.system.processes import ProcessId, Worker, WorkerPool
from analysis.training.followed import load_followed
from analysis.training.metrics import MemorySample
from tests.analysis.run_faults import (
    ROOT,
    STAND_IN,
    fill,
    lock_file,
    mount,
    run_of_kind,
    unmount,
    wait_until,
)

LATE = 0.5  # seconds that a busy machine may add to a bound


@pytest.fixture(autouse=True)
def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The run of each check that the queue has made of its workers."""
    made, check = [], RunQueue._watch

    def count(queue: RunQueue, training: Any) -> None:
        check(queue, training)
        made.append(training.run_id)

    monkeypatch.setattr(RunQueue, "_watch", count)
    return made


@pytest.fixture
def queue(home: Path) -> Iterator[RunQueue]:
    with closing_queue() as queue:
        yield queue


@contextmanager
def closing_queue(
    store: RunStore | None = None, pool: WorkerPool | None = None, limit: int = 1
) -> Iterator[RunQueue]:
    queue = RunQueue(store, pool=pool, limit=limit)
    try:
        yield queue
    finally:
        queue.close()


def run_of(queue: RunQueue, run_id: str) -> Run:
    run = queue.store.run(run_id)
    assert run is not None
    return run


def has_steps(queue: RunQueue, run_id: str) -> Callable[[], bool]:
    return lambda: len(queue.store.metrics(run_id).steps) > 0


def has_ended(queue: RunQueue, run_id: str) -> Callable[[], bool]:
    return lambda: not run_of(queue, run_id).active


def worker_of(queue: RunQueue, run_id: str) -> ProcessId:
    lease = queue.store.lease_of(run_id)
    assert lease is not None
    assert lease.worker is not None
    return lease.worker


def workers() -> list[psutil.Process]:
    """Every worker process below this one, idle workers included."""
    workers = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "analysis.worker" in process.cmdline():
                workers.append(process)
        except psutil.NoSuchProcess:
            pass
    return workers


def idles(process: psutil.Process) -> bool:
    """Whether it does nothing for a while, so that it is waiting for a request."""
    before = process.cpu_times()
    for _ in range(10):
        time.sleep(0.03)
        if process.status() != psutil.STATUS_SLEEPING:
            return False
    return bool(process.cpu_times() == before and before.user > 0)


def alive(processes: list[psutil.Process]) -> bool:
    return any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_a_run_is_trained_and_stored(queue: RunQueue) -> None:
    (run_id,) = queue.start([run_of_kind("quick")])
    wait_until(has_ended(queue, run_id))
    run = run_of(queue, run_id)
    assert (run.state, run.error) == ("done", "")
    assert run.selection is not None
    assert run.selection.layers == ("fc", "conv")
    assert run.result is not None
    assert run.result.test_accuracy == 0.625
    assert run.fingerprints == {"model": "m", "data": "d"}
    assert set(run.versions) == {"bettiscope", "python", "torch", "torchvision", "device"}
    assert run.versions["device"] == "a device"
    metrics = queue.store.metrics(run_id)
    assert [step.step for step in metrics.steps] == list(range(1, 11))
    assert [epoch.epoch for epoch in metrics.epochs] == [1, 2]
    assert len(metrics.memory) == 1
    wait_until(queue.store.weights_path(run_id).exists)
    assert load_followed(queue.store.topology_path(run_id)).loops("conv") == (1, 0)
    assert run.started is not None
    assert run.ended is not None
    assert run.created <= run.started < run.ended
    assert queue.problems() == []


def test_a_warm_worker_has_its_first_step_in_the_store_at_once(queue: RunQueue) -> None:
    queue.warm()
    wait_until(workers)  # it has no command line until it has become another program
    (spare,) = workers()
    wait_until(lambda: idles(spare))
    (run_id,) = queue.start([run_of_kind("quick")])
    assert wait_until(has_steps(queue, run_id)) < 2
    assert worker_of(queue, run_id).pid == spare.pid


def test_the_next_worker_starts_only_after_the_first_epoch(
    checks: list[str], queue: RunQueue
) -> None:
    (run_id,) = queue.start([run_of_kind("waits", epochs=1000)])
    wait_until(has_steps(queue, run_id))
    before = len(checks)
    wait_until(lambda: len(checks) >= before + 2)
    assert [p.pid for p in workers()] == [worker_of(queue, run_id).pid]
    (queue.store.path.parent / "go").touch()
    wait_until(lambda: len(workers()) == 2)
    queue.stop(run_id)
    wait_until(lambda: worker_of(queue, run_id).pid not in [p.pid for p in workers()])
    assert len(workers()) == 1


def test_no_worker_starts_beside_a_short_run_nor_while_its_end_is_drawn(
    checks: list[str], queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis.runs.queue, "_SHORT", 3600.0)
    monkeypatch.setattr(analysis.runs.queue, "_DRAWN", 3600.0)
    (run_id,) = queue.start([run_of_kind("long")])
    wait_until(lambda: queue.store.epochs_done(run_id) > 0)
    before = len(checks)
    wait_until(lambda: len(checks) >= before + 2)
    assert [process.pid for process in workers()] == [worker_of(queue, run_id).pid]
    queue.stop(run_id)
    wait_until(lambda: not workers())
    wait_until(lambda: queue._pool.warms_later)


def test_a_worker_whose_run_went_well_trains_the_next_one(
    checks: list[str], queue: RunQueue, home: Path
) -> None:
    kinds = ("slow to save", "quick", "training error", "quick", "quick")
    runs = queue.start([run_of_kind(kind, seed=seed) for seed, kind in enumerate(kinds)])
    wait_until(has_ended(queue, runs[0]))
    before = len(checks)
    wait_until(lambda: len(checks) >= before + 2)
    assert run_of(queue, runs[1]).state == "queued"  # until the weights are saved
    (home / "go").touch()
    wait_until(has_ended(queue, runs[-1]))
    log = [line.split() for line in (home / "log").read_text().splitlines()]
    first, second, failing, fourth, fifth = (pid for _, _, what, pid in log if what == "begins")
    assert first == second == failing
    assert failing != fourth == fifth
    states = [run_of(queue, run_id).state for run_id in runs]
    assert states == ["done", "done", "failed", "done", "done"]
    wait_until(lambda: fifth not in [str(process.pid) for process in workers()])


def test_a_worker_that_is_free_right_after_a_look_trains_the_next_run(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, missed = RunQueue._watch, []

    def miss(queue: RunQueue, training: Any) -> None:
        if training.waits_for_request and training.run_id not in missed:
            missed.append(training.run_id)  # as if that came a moment later
        else:
            watch(queue, training)

    monkeypatch.setattr(RunQueue, "_watch", miss)
    first, second = queue.start([run_of_kind("quick"), run_of_kind("quick")])
    wait_until(has_ended(queue, second))
    assert first in missed
    assert worker_of(queue, first) == worker_of(queue, second)


def test_a_failure_is_a_sentence_and_the_queue_goes_on(queue: RunQueue) -> None:
    with queue.store._database.write() as db:
        db.execute(
            'INSERT INTO runs (id, "group", created, options, state) '
            "VALUES ('odd', 'odd', 0, '{\"new\": 1}', 'queued')"
        )
    sentences = {
        "training error": "`train_samples` must be at most 7.",
        "unexpected error": "The run failed unexpectedly (ZeroDivisionError: a bug).",
        "out of memory": "Memory ran out during this run. Try a smaller batch, fewer layers",
    }
    *failing, after = queue.start([run_of_kind(kind) for kind in (*sentences, "quick")])
    wait_until(has_ended(queue, after))
    for run_id, sentence in zip(failing, sentences.values(), strict=True):
        run = run_of(queue, run_id)
        assert run.state == "failed"
        assert sentence in run.error
        assert "Traceback" not in run.error
    lease = queue.store.lease_of("odd")
    assert lease is not None
    assert lease.state == "failed"
    assert run_of(queue, after).state == "done"


@pytest.mark.parametrize(
    ("kind", "why"), [("cannot save", "No room."), ("no memory to save", "Memory ran out.")]
)
def test_a_run_is_done_even_if_its_weights_cannot_be_saved(
    queue: RunQueue, kind: str, why: str
) -> None:
    (run_id,) = queue.start([run_of_kind(kind)])
    wait_until(lambda: run_of(queue, run_id).error)
    run = run_of(queue, run_id)
    assert (run.state, run.error) == ("done", f"The trained weights were not saved. {why}")
    assert run.result is not None
    assert run.result.test_accuracy == 0.625


def test_weights_are_kept_until_the_disk_has_space(
    queue: RunQueue, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis.runs.queue, "_SAVE_GRACE", 1.0)
    (run_id,) = queue.start([run_of_kind("no space to save")])
    wait_until(lambda: run_of(queue, run_id).error)
    run = run_of(queue, run_id)
    assert run.state == "done"
    assert "not saved yet: the disk is full. Free some space within 10 minutes" in run.error
    ended = time.monotonic()
    wait_until(lambda: time.monotonic() > ended + 1.5)  # longer than any other worker may take
    assert worker_of(queue, run_id).alive
    (home / "go").touch()
    wait_until(queue.store.weights_path(run_id).exists)
    wait_until(lambda: not run_of(queue, run_id).error)
    assert run_of(queue, run_id).state == "done"


def test_a_zeroed_page_of_the_store_is_noticed_at_the_start(home: Path) -> None:
    store = RunStore()
    store.add([run_of_kind("quick")] * 30)
    store.close()
    content = bytearray(store.path.read_bytes())
    content[-4096:] = bytes(4096)
    store.path.write_bytes(content)
    with closing_queue(store) as queue:
        (sentence,) = queue.problems()
        assert "The run store was damaged. It was set aside as" in sentence
        assert store.runs() == []


def test_a_run_is_done_before_its_weights_are_saved_and_stop_comes_too_late(
    checks: list[str], queue: RunQueue, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis.runs.queue, "_STOP_GRACE", 0.0)
    (run_id,) = queue.start([run_of_kind("slow to save")])
    wait_until(has_ended(queue, run_id))
    done, revision = run_of(queue, run_id), queue.store.revision()
    assert done.state == "done"
    assert done.result is not None
    queue.stop(run_id)
    before = len(checks)
    wait_until(lambda: len(checks) >= before + 2)
    assert worker_of(queue, run_id).alive
    (home / "go").touch()
    wait_until(queue.store.weights_path(run_id).exists)
    wait_until(lambda: queue.store.revision() > revision)  # so that a page reads it again
    run = run_of(queue, run_id)
    assert (run.state, run.error, run.result) == ("done", "", done.result)


# Stop.


def test_stop_keeps_the_metrics_and_the_next_run_starts(queue: RunQueue) -> None:
    stopped, after = queue.start([run_of_kind("long"), run_of_kind("quick")])
    wait_until(lambda: queue.store.epochs_done(stopped) > 0)
    queue.stop(stopped)
    assert wait_until(has_ended(queue, stopped)) < 1  # by itself, not by force
    run = run_of(queue, stopped)
    assert (run.state, run.error) == ("stopped", "")
    metrics = queue.store.metrics(stopped)
    assert metrics.epochs
    assert [step.step for step in metrics.steps] == list(range(1, len(metrics.steps) + 1))
    wait_until(has_ended(queue, after))
    assert run_of(queue, after).state == "done"
    wait_until(queue.store.weights_path(stopped).exists)
    assert queue.store.metrics(stopped) == metrics


def test_stop_ends_a_training_that_does_not_react(queue: RunQueue) -> None:
    (run_id,) = queue.start([run_of_kind("ignores stop")])
    wait_until(has_steps(queue, run_id))
    process = psutil.Process(worker_of(queue, run_id).pid)
    queue.stop(run_id)
    assert wait_until(has_ended(queue, run_id)) < 2 + LATE
    assert run_of(queue, run_id).state == "stopped"
    assert "without saving the trained weights" in run_of(queue, run_id).error
    assert not alive([process])
    assert len(queue.store.metrics(run_id).steps) == 1
    wait_until(lambda: len(workers()) == 1)  # the next one is ready, even without an epoch


def test_a_queued_run_is_stopped_at_once_and_never_runs(queue: RunQueue, home: Path) -> None:
    running, queued = queue.start([run_of_kind("waits", seed=1), run_of_kind("quick", seed=2)])
    wait_until(has_steps(queue, running))
    queue.stop(queued)
    assert run_of(queue, queued).state == "stopped"
    (home / "go").touch()
    wait_until(has_ended(queue, running))
    (after,) = queue.start([run_of_kind("quick", seed=3)])
    wait_until(has_ended(queue, after))
    assert seeds_in_order(home) == [1, 3]


def test_another_server_can_stop_a_run(queue: RunQueue) -> None:
    (run_id,) = queue.start([run_of_kind("ignores stop")])
    wait_until(has_steps(queue, run_id))
    with closing_queue() as other:
        other.stop(run_id)
        assert wait_until(has_ended(queue, run_id)) < 2 + LATE
    assert run_of(queue, run_id).state == "stopped"


def test_stop_works_while_the_store_is_locked(queue: RunQueue) -> None:
    (run_id,) = queue.start([run_of_kind("ignores stop")])
    wait_until(has_steps(queue, run_id))
    process = psutil.Process(worker_of(queue, run_id).pid)
    with lock_file(queue.store.path):
        queue.stop(run_id)
        wait_until(lambda: not alive([process]))
        wait_until(queue.problems)
        assert "locked" in queue.problems()[0]
    wait_until(has_ended(queue, run_id))
    assert run_of(queue, run_id).state == "stopped"
    wait_until(lambda: queue.problems() == [])


# Workers and servers that die.


def test_a_killed_worker_is_a_failed_run_with_a_clear_error(queue: RunQueue) -> None:
    killed, after = queue.start([run_of_kind("long"), run_of_kind("quick")])
    wait_until(lambda: queue.store.epochs_done(killed) > 0)
    os.kill(worker_of(queue, killed).pid, signal.SIGKILL)
    assert wait_until(has_ended(queue, killed)) < 5
    run = run_of(queue, killed)
    assert run.state == "failed"
    assert "the system ended it, most often because memory ran out" in run.error
    assert queue.store.metrics(killed).epochs
    wait_until(has_ended(queue, after))
    assert run_of(queue, after).state == "done"


def test_a_warm_worker_that_died_is_not_used(queue: RunQueue) -> None:
    queue.warm()
    wait_until(workers)  # it has no command line until it has become another program
    (spare,) = workers()
    spare.kill()
    (run_id,) = queue.start([run_of_kind("quick")])
    wait_until(has_ended(queue, run_id))
    assert run_of(queue, run_id).state == "done"


OWNER = """
import sys, time
from analysis.runs.queue import RunQueue
from tests.analysis.run_faults import run_of_kind
queue = RunQueue()
kind, count, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seeds = range(first, first + count)
queue.start([run_of_kind(kind, seed=s, epochs=1) for s in seeds])
print("there", flush=True)
sys.stdin.read()
queue.close()
"""


def server(kind: str, count: int = 1, first: int = 0) -> subprocess.Popen[bytes]:
    """Another process that has started runs in a queue on the same store."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, kind, str(count), str(first)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


@pytest.mark.parametrize("kind", ["long", "ignores stop"])
def test_a_killed_server_leaves_no_process_and_its_run_is_interrupted(
    home: Path, kind: str
) -> None:
    process, store = server(kind), RunStore()
    wait_until(lambda: store.runs() and store.metrics(store.runs()[0].id).steps)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.kill()
    wait_until(lambda: not alive(family))
    end(process)
    (run,) = store.runs()
    assert run.state == "interrupted"
    assert run.error == "The dashboard was closed during the run."
    with closing_queue() as queue:
        (after,) = queue.start([run_of_kind("quick")])
        wait_until(has_ended(queue, after))
        assert run_of(queue, after).state == "done"


def test_the_next_server_interrupts_a_run_without_server_and_worker(home: Path) -> None:
    process, store = server("long"), RunStore()
    wait_until(lambda: store.runs() and store.metrics(store.runs()[0].id).steps)
    (lease,) = store.leases()
    assert lease.worker is not None
    process.send_signal(signal.SIGSTOP)  # so that it sees nothing of what follows
    os.kill(lease.worker.pid, signal.SIGKILL)
    end(process)
    assert store.runs()[0].state == "running"
    with closing_queue() as queue:
        (after,) = queue.start([run_of_kind("quick")])
        wait_until(has_ended(queue, lease.run_id))
        run = run_of(queue, lease.run_id)
        assert (run.state, run.error) == ("interrupted", analysis.runs.queue._INTERRUPTED)
        wait_until(has_ended(queue, after))
        assert run_of(queue, after).state == "done"


def test_a_worker_that_hangs_without_a_server_is_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis.runs.queue, "_SILENCE", 0.5)
    monkeypatch.setattr(analysis.runs.queue, "_HUNG", 1.0)
    process, store = server("long"), RunStore()
    wait_until(lambda: store.runs() and store.metrics(store.runs()[0].id).steps)
    (lease,) = store.leases()
    assert lease.worker is not None
    os.kill(lease.worker.pid, signal.SIGSTOP)
    end(process)
    assert lease.worker.alive
    with closing_queue() as queue:
        wait_until(has_ended(queue, lease.run_id))
        assert run_of(queue, lease.run_id).state == "interrupted"
    wait_until(lambda: not lease.worker.alive)


HERE = ProcessId.of(os.getpid())
GONE = ProcessId(os.getpid(), 1.0)


@pytest.mark.parametrize(
    ("owner", "worker", "silence", "abandoned"),
    [
        (GONE, GONE, 2, False),  # its clock or process numbers may differ from ours
        (GONE, GONE, 4, True),
        (GONE, GONE, -3600, True),  # the clock was set back
        (None, None, 4, True),
        (HERE, GONE, 4, False),  # its server will say why it died
        (HERE, GONE, 40, True),
        (GONE, HERE, 4, False),  # it is about to end by itself
        (GONE, HERE, 40, True),
        (HERE, HERE, 40, False),  # the disk may be full, the computer may have slept
    ],
)
def test_which_runs_are_abandoned(
    queue: RunQueue, owner: ProcessId, worker: ProcessId, silence: float, abandoned: bool
) -> None:
    lease = Lease("run", "running", owner, worker, time.time() - silence, False)
    assert queue._is_abandoned(lease) == abandoned


def test_a_run_of_another_server_is_left_alone(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis.runs.queue, "_SILENCE", -1.0)
    (run_id,) = queue.start([run_of_kind("waits")])
    wait_until(has_steps(queue, run_id))
    with closing_queue() as other:
        other.recover()
        other.recover()
        assert run_of(queue, run_id).state == "running"
    assert run_of(queue, run_id).state == "running"


def test_a_process_number_in_use_again_does_not_count_as_alive(queue: RunQueue) -> None:
    (run_id,) = queue.store.add([run_of_kind("quick")])
    gone = ProcessId(os.getpid(), 1.0)
    assert not gone.alive
    with queue.store._database.write() as db:
        db.execute(
            "UPDATE runs SET state = 'running', heartbeat = ?, owner_pid = ?, owner_created = 1, "
            "worker_pid = ?, worker_created = 1",
            (time.time() - 60, gone.pid, gone.pid),
        )
    wait_until(has_ended(queue, run_id))
    assert run_of(queue, run_id).state == "interrupted"


def test_closing_interrupts_the_run_and_the_next_queue_goes_on(home: Path) -> None:
    with closing_queue() as queue:
        running, queued = queue.start([run_of_kind("long"), run_of_kind("quick")])
        wait_until(has_steps(queue, running))
        queue.warm()
        family = workers()
        assert len(family) == 2
    assert not alive(family)
    run = run_of(queue, running)
    assert (run.state, run.error) == ("interrupted", "The dashboard was closed during the run.")
    assert run_of(queue, queued).state == "queued"
    with closing_queue() as again:
        wait_until(has_ended(again, queued))
        assert run_of(again, queued).state == "done"


# Our own bugs, which must not affect other runs.


def raising(step: Callable[..., object], guilty: str, error: Exception) -> Callable[..., object]:
    """A step of the queue that always fails for one run."""

    def fails(training: Any) -> object:
        if training.run_id == guilty:
            raise error
        return step(training)

    return fails


def test_a_run_that_cannot_be_watched_does_not_hold_up_others(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing_queue(limit=2) as queue:
        (guilty,) = queue.start([run_of_kind("waits")])
        wait_until(has_steps(queue, guilty))
        failing_step = raising(queue._watch, guilty, sqlite3.ProgrammingError("a bug"))
        with monkeypatch.context() as patch:
            patch.setattr(queue, "_watch", failing_step)
            stopped, after = queue.start([run_of_kind("ignores stop"), run_of_kind("quick")])
            wait_until(has_steps(queue, stopped), 20)
            queue.stop(stopped)
            wait_until(has_ended(queue, after), 20)
            assert run_of(queue, stopped).state == "stopped"
            assert run_of(queue, after).state == "done"
            (problem,) = queue.problems()
            assert "unexpected" in problem
            assert "a bug" in problem
        (home / "go").touch()
        wait_until(has_ended(queue, guilty))
        wait_until(lambda: queue.problems() == [])
    assert capfd.readouterr().err.count("sqlite3.ProgrammingError: a bug") == 1


def test_stop_works_although_the_store_cannot_be_read(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_step(_: str) -> Lease:
        raise sqlite3.ProgrammingError("a bug")

    (run_id,) = queue.start([run_of_kind("ignores stop")])
    wait_until(has_steps(queue, run_id))
    monkeypatch.setattr(queue._own_store, "lease_of", failing_step)
    queue.stop(run_id)
    wait_until(has_ended(queue, run_id), 20)
    assert run_of(queue, run_id).state == "stopped"


def test_a_run_that_cannot_be_recovered_does_not_hold_up_others(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing_queue(limit=3) as queue:
        failing_step = raising(queue._is_abandoned, "guilty", psutil.AccessDenied())
        monkeypatch.setattr(queue, "_is_abandoned", failing_step)
        with queue.store._database.write() as db:
            for run_id in ("guilty", "other"):
                db.execute(
                    'INSERT INTO runs (id, "group", created, options, state) '
                    "VALUES (?, 'group', 0, '{}', 'running')",
                    (run_id,),
                )
        (after,) = queue.start([run_of_kind("quick")])
        wait_until(has_ended(queue, "other"), 20)
        wait_until(has_ended(queue, after), 20)
        assert run_of(queue, "other").state == "interrupted"
        assert run_of(queue, after).state == "done"
        assert run_of(queue, "guilty").state == "running"
        assert "AccessDenied" in queue.problems()[0]
        with queue.store._database.write() as db:
            db.execute("DELETE FROM runs WHERE id = 'guilty'")
        wait_until(lambda: queue.problems() == [])


def test_a_run_ends_without_the_metrics_that_cannot_be_written(queue: RunQueue) -> None:
    (odd,) = queue.store.add([run_of_kind("quick")])
    with queue.store._database.write() as db:
        db.execute(
            "UPDATE runs SET state = 'running', heartbeat = ?, worker_pid = ?, worker_created = ?",
            (time.time(), HERE.pid, HERE.created),
        )
    news = [MemorySample(1, 1, MemoryUse(), [], None)]  # type: ignore[arg-type]
    queue._unwritten[odd] = HERE, Unsaved(news, Ending("done"), "")
    wait_until(has_ended(queue, odd), 20)
    assert run_of(queue, odd).state == "done"
    (after,) = queue.start([run_of_kind("quick")])
    wait_until(has_ended(queue, after))


def test_old_deleted_runs_are_purged_while_the_server_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis.runs.queue, "_PURGE_POLL", 0.1)
    store = RunStore()
    with closing_queue() as queue:
        old, new = queue.store.add([run_of_kind("quick"), run_of_kind("quick")])
        remaining = queue.start([run_of_kind("quick")])
        queue.store.delete([old, new])
        with queue.store._database.write() as db:
            db.execute("UPDATE runs SET deleted = deleted - 8 * 86400 WHERE id = ?", (old,))
        wait_until(lambda: [run.id for run in store.runs(deleted=True)] == [new], 20)
        assert [run.id for run in store.runs()] == remaining


# Several servers.


def seeds_in_order(home: Path) -> list[int]:
    """The seeds of the runs in order; checks that each began after the one before had ended."""
    entries = [line.split() for line in (home / "log").read_text().splitlines()]
    entries.sort(key=lambda entry: float(entry[0]))
    assert [entry[2] for entry in entries] == ["begins", "ends"] * (len(entries) // 2)
    starts, ends = entries[::2], entries[1::2]
    assert [entry[1] for entry in starts] == [entry[1] for entry in ends]
    return [int(entry[1]) for entry in starts]


def test_two_servers_run_each_run_once_and_one_at_a_time(home: Path) -> None:
    servers = [server("quick", 2, first=0), server("quick", 2, first=10)]
    store = RunStore()
    try:
        wait_until(lambda: [run.state for run in store.runs()] == ["done"] * 4)
    finally:
        for process in servers:
            end(process)
    assert sorted(seeds_in_order(home)) == [0, 1, 10, 11]
    for run in store.runs():
        assert [step.step for step in store.metrics(run.id).steps] == [1, 2, 3, 4, 5]


def test_a_run_that_another_process_queued_is_seen(queue: RunQueue) -> None:
    (run_id,) = RunStore().add([run_of_kind("quick")])
    wait_until(has_ended(queue, run_id))
    assert run_of(queue, run_id).state == "done"


# The store.


def test_metrics_from_while_the_store_is_locked_are_written_afterwards(
    queue: RunQueue, home: Path
) -> None:
    (run_id,) = queue.start([run_of_kind("waits", epochs=20)])
    wait_until(has_steps(queue, run_id))
    with lock_file(queue.store.path):
        (home / "go").touch()
        wait_until(lambda: "ends" in (home / "log").read_text())
        assert len(queue.store.metrics(run_id).steps) <= 2
        with pytest.raises(StoreError, match="Another program has locked the run store"):
            queue.start([run_of_kind("quick")])
    wait_until(has_ended(queue, run_id))
    assert run_of(queue, run_id).state == "done"
    assert [step.step for step in queue.store.metrics(run_id).steps] == list(range(1, 101))


def test_a_disk_that_is_full_at_the_end_of_a_run_loses_nothing(home: Path) -> None:
    """The server keeps what its worker could not write, says so, and writes it later."""
    disk = home / "disk"
    if not mount(disk, "size=3m"):
        pytest.skip("this system lets nobody mount a disk here")
    try:
        with closing_queue(RunStore(disk / "runs.sqlite")) as queue:
            earlier, late = queue.start([run_of_kind("quick"), run_of_kind("waits", epochs=3)])
            wait_until(has_steps(queue, late))
            before = run_of(queue, earlier), queue.store.metrics(earlier)
            filler = fill(disk)
            with pytest.raises(StoreError, match="no space left"):
                queue.start([run_of_kind("quick")] * 500)
            filler = fill(disk)
            (home / "go").touch()
            wait_until(queue.problems)
            (problem,) = queue.problems()
            assert "The ending of a run is not saved yet" in problem
            assert "no space left on the disk" in problem
            assert (run_of(queue, earlier), queue.store.metrics(earlier)) == before
            filler.unlink()
            wait_until(has_ended(queue, late))
            assert run_of(queue, late).state == "done"
            assert [step.step for step in queue.store.metrics(late).steps] == list(range(1, 16))
            wait_until(lambda: queue.problems() == [])
    finally:
        unmount(disk)


def test_a_damaged_store_is_reported_and_the_queue_goes_on(home: Path) -> None:
    (home / "runs.sqlite").write_bytes(b"rubbish" * 1000)
    with closing_queue() as queue:
        assert "set aside" in queue.problems()[0]
        (run_id,) = queue.start([run_of_kind("quick")])
        wait_until(has_ended(queue, run_id))
        assert run_of(queue, run_id).state == "done"
        assert len(queue.problems()) == 1  # so that later pages show it too


def test_a_process_that_cannot_start_is_reported_and_tried_again(
    queue: RunQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: WorkerPool) -> Worker:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(WorkerPool, "take", fail)
        (run_id,) = queue.start([run_of_kind("quick")])
        wait_until(queue.problems)
        assert queue.problems() == [
            "A process could not be started (Cannot allocate memory). It is tried again."
        ]
        assert run_of(queue, run_id).state == "queued"
    wait_until(has_ended(queue, run_id))
    assert (run_of(queue, run_id).state, queue.problems()) == ("done", [])


# With the real training.


def test_a_real_training_in_the_worker_that_made_an_analysis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    pool = WorkerPool()
    jobs = Jobs(pool)
    options = AnalysisOptions(model="pocket-vgg", samples=8)
    short = Recipe(epochs=1)
    try:
        with closing_queue(pool=pool) as queue:
            job = jobs.start(options)
            wait_until(lambda: job.state != "running")
            run = RunOptions(analysis=options, train_samples=64, recipe=short)
            first, again, second = queue.start([run, run, replace(run, train_samples=10**6)])
            wait_until(has_steps(queue, first))
            assert worker_of(queue, first).pid == job.worker.process.pid
            wait_until(has_ended(queue, second))
            run = run_of(queue, first)
            assert (run.state, run.error) == ("done", "")
            assert run.selection is not None
            assert run.result is not None
            metrics = queue.store.metrics(first)
            assert len(metrics.steps) == 2
            assert metrics.epochs[-1].val_accuracy == run.result.last_val_accuracy
            assert metrics.memory[0].peak.total > 0
            wait_until(queue.store.weights_path(first).exists)
            assert run.versions["device"] in ("cpu", "cuda")
            assert run_of(queue, second).state == "failed"
            assert "`train_samples` must be at most" in run_of(queue, second).error
            assert worker_of(queue, second) == worker_of(queue, again) == worker_of(queue, first)
            repeated = queue.store.metrics(again)
            assert [s.loss for s in repeated.steps] == [s.loss for s in metrics.steps]
            assert [e.val_loss for e in repeated.epochs] == [e.val_loss for e in metrics.epochs]
    finally:
        jobs.close()
        pool.close()
