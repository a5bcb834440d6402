"""Analyses in processes of their own, which are really stopped and killed.

Where the analysis itself does not matter, it is `stand_in/pipeline.py`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import analysis.jobs.jobs
from analysis.errors import NOT_ENOUGH_MEMORY
from analysis.jobs.jobs import Job, Jobs
from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.results import SavedAnalysis, TopologyReport
from analysis.system.processes import WorkerPool
from analysis.topology.store import fingerprint, load_analysis
from tests.analysis.run_faults import PATIENCE, ROOT, STAND_IN, wait_until

QUICK = AnalysisOptions(model="pocket-vgg", samples=8)
TOO_MANY = 4000  # images, for the stand-in
LONG = AnalysisOptions(model="vgg16", weights="random", samples=40)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    jobs = Jobs()
    yield jobs
    jobs.close()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that import no torch."""
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))


def ended(job: Job) -> Callable[[], bool]:
    return lambda: job.state != "running"


def workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [p for p in children if p.is_running() and "analysis.worker" in p.cmdline()]


def test_an_analysis_is_computed_and_saved_and_its_key_returned(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.start(QUICK)
    wait_until(ended(job))
    assert (job.state, job.error) == ("done", "")
    assert isinstance(job.analysis, SavedAnalysis)  # the key, and no pickle of the report
    assert job.analysis == SavedAnalysis(fingerprint(QUICK))
    report = load_analysis(job.analysis.key)
    assert report is not None
    assert len(report.layers) == 10
    assert job.progress is not None
    assert job.progress.total == 20
    assert len(list((tmp_path / "analyses").iterdir())) == 1
    assert len(workers()) == 1  # it stays warm for the next one


@pytest.mark.usefixtures("stand_in")
def test_the_same_analysis_started_twice_is_one_job(jobs: Jobs) -> None:
    first = jobs.start(QUICK)
    assert jobs.start(QUICK) is first
    other = jobs.start(AnalysisOptions(model="pocket-vgg", samples=9))
    assert other is not first
    wait_until(lambda: ended(first)() and ended(other)())
    assert isinstance(first.analysis, TopologyReport)  # nothing saved it
    assert isinstance(other.analysis, TopologyReport)
    assert (first.analysis.samples, other.analysis.samples) == (8, 9)


@pytest.mark.usefixtures("stand_in")
def test_a_job_goes_on_for_another_session_when_one_leaves(jobs: Jobs) -> None:
    job = jobs.start(QUICK, "one")
    assert jobs.start(QUICK, "other") is job
    jobs.leave(job, "one")
    wait_until(ended(job))
    assert job.state == "done"


@pytest.mark.usefixtures("stand_in")
def test_a_closed_tab_does_not_keep_an_analysis_running(jobs: Jobs) -> None:
    job = jobs.start(LONG, "closed")
    assert jobs.start(LONG, "reloaded") is job
    job.watchers["closed"] -= analysis.jobs.jobs._FORGOTTEN  # as if it were silent for so long
    jobs.leave(job, "reloaded")
    assert job.state == "stopped"


def test_the_processes_of_ripser_count_and_end_with_the_worker(jobs: Jobs) -> None:
    job = jobs.start(AnalysisOptions(samples=300, pooling="pooled"))
    worker = psutil.Process(job.worker.process.pid)
    wait_until(lambda: job.progress is not None and job.progress.stage == "Topology")
    wait_until(lambda: len(worker.children(recursive=True)) >= 2)
    assert job.worker.resident_bytes > worker.memory_info().rss + 50e6
    family = worker.children(recursive=True)
    jobs.leave(job)
    wait_until(lambda: not any(p.is_running() for p in family))


@pytest.mark.usefixtures("stand_in")
def test_stop_ends_a_job_at_once_and_the_next_one_runs(jobs: Jobs) -> None:
    job = jobs.start(LONG)
    wait_until(lambda: job.progress is not None)
    before = workers()
    jobs.leave(job)
    assert job.state == "stopped"
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in before)
    after = jobs.start(QUICK)
    wait_until(ended(after))
    assert after.state == "done"
    assert job.state == "stopped"


@pytest.mark.usefixtures("stand_in")
def test_a_killed_worker_is_reported_in_plain_words(jobs: Jobs) -> None:
    job = jobs.start(LONG)
    wait_until(lambda: job.progress is not None)
    for process in workers():
        os.kill(process.pid, signal.SIGKILL)
    wait_until(ended(job))
    assert job.state == "failed"
    assert "the system ended it, most often because memory ran out" in job.error
    after = jobs.start(QUICK)
    wait_until(ended(after))
    assert after.state == "done"


def test_a_users_mistake_is_reported(jobs: Jobs) -> None:
    job = jobs.start(AnalysisOptions(samples=5000))
    wait_until(ended(job))
    assert job.state == "failed"
    assert "the train split of digits has 1078 images" in job.error
    assert "Traceback" not in job.error


@pytest.mark.usefixtures("stand_in")
def test_other_work_is_not_an_analysis(jobs: Jobs) -> None:
    job = jobs.start(("nobody", "answers this"))
    wait_until(ended(job))
    assert job.state == "failed"
    assert "failed unexpectedly (KeyError" in job.error
    assert job.analysis is None
    with pytest.raises(TypeError, match="is not an analysis"):
        _ = job.options


def test_a_worker_that_refused_a_request_is_used_again(jobs: Jobs) -> None:
    first = jobs.start(AnalysisOptions(samples=5000))
    wait_until(ended(first))
    wait_until(lambda: jobs._pool._idle)  # given back
    second = jobs.start(AnalysisOptions(samples=6000))
    wait_until(ended(second))
    assert second.worker.process.pid == first.worker.process.pid


@pytest.mark.usefixtures("stand_in")
def test_running_out_of_memory_is_reported(jobs: Jobs) -> None:
    job = jobs.start(AnalysisOptions(model="vgg16", samples=TOO_MANY))
    wait_until(ended(job))
    assert job.error == NOT_ENOUGH_MEMORY


@pytest.mark.usefixtures("stand_in")
def test_a_worker_whose_job_failed_is_not_used_again(jobs: Jobs) -> None:
    first = jobs.start(QUICK)
    wait_until(ended(first))
    wait_until(lambda: jobs._pool._idle)  # given back
    failed = jobs.start(("nobody", "answers this"))
    wait_until(ended(failed))
    assert failed.worker is first.worker
    wait_until(lambda: not failed.worker.alive)  # what it held, on a GPU perhaps, goes with it


@pytest.mark.usefixtures("stand_in")
def test_a_short_analysis_does_not_wait_for_a_long_one(jobs: Jobs) -> None:
    long = jobs.start(LONG, "one session")
    wait_until(lambda: long.progress is not None)
    short = jobs.start(QUICK, "another")
    wait_until(ended(short))
    assert (short.state, long.state) == ("done", "running")
    jobs.leave(long, "one session")


def test_stop_ends_a_download(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes calls and never answers
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        job = jobs.start(AnalysisOptions(model="mobilenet_v2", samples=8))
        silent.settimeout(PATIENCE)
        call, _ = silent.accept()
        with call:
            assert job.state == "running"
            jobs.leave(job)
            assert job.state == "stopped"
            assert not job.worker.alive
            call.settimeout(PATIENCE)
            while call.recv(4096):  # what it asked for, then its end
                pass


def test_a_worker_that_grew_large_is_replaced(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    first = jobs.start(QUICK)
    wait_until(ended(first))
    wait_until(lambda: jobs._pool._idle == [first.worker])
    resident = first.worker.resident_bytes
    assert 50e6 < resident < analysis.jobs.jobs.LARGEST_KEPT
    monkeypatch.setattr(analysis.jobs.jobs, "LARGEST_KEPT", resident // 2)
    second = jobs.start(AnalysisOptions(model="pocket-vgg", samples=9))
    assert second.worker is first.worker
    wait_until(lambda: ended(second)() and not second.worker.alive)
    assert second.analysis is not None
    assert second.worker.resident_bytes == 0
    wait_until(lambda: len(workers()) == 1)


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(analysis.jobs.jobs.time, "monotonic", lambda: self.now)
        self.job = Job("a request", None)  # type: ignore[arg-type]

    def after(self, seconds: float, progress: Progress) -> float | None:
        self.now += seconds
        self.job.record(progress)
        return self.job.seconds_left


def test_time_left_of_one_pass_and_its_topology(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(stage: str, done: int) -> Progress:
        return Progress(stage, "layer", done, total=40, layers=20)

    clock = Clock(monkeypatch)
    assert clock.after(9, step("Forward pass", 0)) is None
    assert clock.after(1, step("Forward pass", 4)) is None  # the first layers are the largest
    assert clock.after(1, step("Forward pass", 5)) == pytest.approx(15 * 2 / 5)
    assert clock.after(5, step("Topology", 20)) is None
    assert clock.after(20, step("Topology", 30)) == pytest.approx(20)  # at a pace of its own


def test_time_left_of_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def step(done: int) -> Progress:
        return Progress("Forward pass", "layer", done, total=110, layers=10)  # ten passes

    assert clock.after(3, step(0)) is None
    assert clock.after(8, step(9)) is None
    assert clock.after(2, step(10)) == pytest.approx(90)
    assert clock.after(40, step(50)) == pytest.approx(50)


def test_time_left_of_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def step(name: str, done: int, total: int) -> Progress:
        return Progress("Download", name, done, total)

    assert clock.after(0, step("weights", 600, 1000)) is None  # 600 bytes were there already
    assert clock.after(10, step("weights", 700, 1000)) == pytest.approx(30)
    assert clock.after(1, step("data", 0, 500)) is None
    assert clock.after(1, step("data", 250, 500)) == pytest.approx(1)
    assert clock.after(1, step("as large", 0, 500)) is None
    assert clock.after(4, step("as large", 100, 500)) == pytest.approx(16)
    assert clock.after(1, step("unknown", 10, 0)) is None
    assert clock.after(1, step("unknown", 90, 0)) is None


OWNER = """
import sys, time
import psutil
from analysis.jobs.jobs import Jobs
from analysis.options import AnalysisOptions
jobs = Jobs()
if sys.argv[1] == "idle":
    jobs.warm()
    spare = psutil.Process(jobs._pool._idle[0].process.pid)
    while spare.num_threads() < 2:  # the other reads what it is asked
        time.sleep(0.02)
else:
    job = jobs.start(AnalysisOptions(model="vgg16", weights="random", samples=40))
    while job.progress is None:
        time.sleep(0.02)
print("there", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("worker_is", ["idle", "busy"])
def test_no_worker_outlives_a_killed_owner(worker_is: str, tmp_path: Path) -> None:
    environment = os.environ | {"BETTISCOPE_HOME": str(tmp_path), "PYTHONPATH": str(STAND_IN)}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, worker_is],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"there\n"
    orphans = psutil.Process(owner.pid).children(recursive=True)
    assert orphans
    owner.kill()
    owner.wait()
    wait_until(lambda: not any(p.is_running() for p in orphans))


def test_a_worker_starts_in_advance_some_seconds_after_the_last_call(jobs: Jobs) -> None:
    jobs.warm(3600)
    first = jobs._pool._timer
    jobs.warm(3600)
    assert first is not None
    assert first.finished.is_set()
    assert jobs.warms_later
    assert not workers()
    jobs.warm(0.01)
    wait_until(workers)
    assert not jobs.warms_later
    jobs.warm(3600)  # one is there
    assert not jobs.warms_later


def test_calls_do_not_postpone_a_worker_for_ever(jobs: Jobs) -> None:
    jobs.warm(3600)
    jobs._pool._waits_since -= 2 * 3600
    jobs.warm(3600)
    assert jobs.warms_later
    jobs._pool._waits_since -= 3600
    jobs.warm(3600)
    assert not jobs.warms_later
    assert workers()


def test_a_worker_that_is_free_again_makes_another_needless(jobs: Jobs) -> None:
    worker = jobs._pool.take()
    jobs.warm(3600)
    jobs._pool.give_back(worker)
    assert not jobs.warms_later


def test_none_starts_later_beside_a_worker_that_comes_back(jobs: Jobs) -> None:
    worker = jobs._pool.take()
    jobs.warm(0.01)
    wait_until(lambda: not jobs.warms_later)
    jobs.warm(3600)
    assert jobs.warms_later
    jobs._pool._waits_since -= 3 * 3600  # as if pages were turned all that time
    jobs.warm(3600)
    assert not jobs.warms_later
    assert [process.pid for process in workers()] == [worker.process.pid]
    worker.kill()
    jobs.warm(0.01)
    wait_until(workers)


def test_a_closed_pool_starts_no_worker_later() -> None:
    pool = WorkerPool()
    pool.warm(3600)
    pool.close()
    pool.warm(3600)
    assert not pool.warms_later


def test_a_pool_keeps_so_many_idle_workers_and_ends_the_others() -> None:
    pool = WorkerPool(idle=2)
    workers = [pool.take() for _ in range(3)]
    for worker in workers:
        pool.give_back(worker)
    assert [worker.alive for worker in workers] == [True, True, False]
    assert {pool.take() for _ in range(2)} == set(workers[:2])
    pool.give_back(workers[0])
    pool.close()
    assert not workers[0].alive
    workers[1].kill()
