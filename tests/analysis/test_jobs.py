"""Analyses in processes of their own, really stopped and really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import analysis.jobs
from analysis.jobs import Job, Jobs
from analysis.options import AnalysisOptions

QUICK = AnalysisOptions(model="pocket-vgg", samples=8)
LONG = AnalysisOptions(model="vgg16", weights="random", samples=40)
PATIENCE = 60  # seconds; a machine may be busy


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    found = Jobs()
    yield found
    found.close()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def ended(job: Job) -> Callable[[], bool]:
    return lambda: job.state != "running"


def workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [p for p in children if p.is_running() and "analysis.worker" in p.cmdline()]


def test_an_analysis_is_made_saved_and_given_back(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.start(QUICK)
    wait_until(ended(job))
    assert (job.state, job.error) == ("done", "")
    assert job.report is not None
    assert len(job.report.layers) == 10
    assert job.progress is not None
    assert job.progress.total == 20
    assert len(list((tmp_path / "analyses").iterdir())) == 1
    assert len(workers()) == 1  # it stays warm for the next one


def test_the_same_analysis_asked_for_twice_is_one_job(jobs: Jobs) -> None:
    first = jobs.start(QUICK)
    assert jobs.start(QUICK) is first
    other = jobs.start(AnalysisOptions(model="pocket-vgg", samples=9))
    assert other is not first
    wait_until(lambda: ended(first)() and ended(other)())
    assert first.report is not None
    assert other.report is not None
    assert (first.report.samples, other.report.samples) == (8, 9)


def test_one_session_that_leaves_does_not_end_what_another_waits_for(jobs: Jobs) -> None:
    job = jobs.start(QUICK, "one")
    assert jobs.start(QUICK, "other") is job
    jobs.leave(job, "one")
    wait_until(ended(job))
    assert job.state == "done"


def test_a_closed_tab_does_not_keep_an_analysis_running(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis.jobs, "_FORGOTTEN", 0.2)
    job = jobs.start(LONG, "closed")
    assert jobs.start(LONG, "reloaded") is job
    time.sleep(0.3)
    jobs.watch(job, "reloaded")
    jobs.leave(job, "reloaded")
    assert job.state == "stopped"


def test_stop_ends_the_processes_of_ripser_too(jobs: Jobs) -> None:
    job = jobs.start(AnalysisOptions(samples=300))
    wait_until(lambda: job.progress is not None and job.progress.stage == "Topology")
    family = psutil.Process(job.worker.process.pid).children(recursive=True)
    assert len(family) >= 2
    jobs.leave(job)
    wait_until(lambda: not any(p.is_running() for p in family))


def test_stop_ends_it_now_and_the_next_one_runs(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.start(LONG)
    wait_until(lambda: job.progress is not None)
    before = workers()
    jobs.leave(job)
    assert job.state == "stopped"
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in before)
    assert not (tmp_path / "analyses").exists()
    after = jobs.start(QUICK)
    wait_until(ended(after))
    assert after.state == "done"
    assert job.state == "stopped"


def test_a_killed_worker_is_a_failure_in_plain_words(jobs: Jobs) -> None:
    job = jobs.start(LONG)
    wait_until(lambda: job.progress is not None)
    for process in workers():
        os.kill(process.pid, signal.SIGKILL)
    wait_until(ended(job))
    assert job.state == "failed"
    assert "the system ended it, most often for want of memory" in job.error
    after = jobs.start(QUICK)
    wait_until(ended(after))
    assert after.state == "done"


def test_what_the_person_got_wrong_is_told(jobs: Jobs) -> None:
    job = jobs.start(AnalysisOptions(samples=5000))
    wait_until(ended(job))
    assert job.state == "failed"
    assert "the train split of digits has 1078 images" in job.error
    assert "Traceback" not in job.error


def test_work_of_another_kind_is_no_analysis(jobs: Jobs) -> None:
    job = jobs.start(("nobody", "answers this"))
    wait_until(ended(job))
    assert job.state == "failed"
    assert "failed unexpectedly (KeyError" in job.error
    assert job.report is None
    with pytest.raises(TypeError, match="is no analysis"):
        _ = job.options


OWNER = """
import sys, time
from analysis.jobs import Jobs
from analysis.options import AnalysisOptions
jobs = Jobs()
if sys.argv[1] == "idle":
    jobs.warm()
    time.sleep(5)  # until it waits for a request
else:
    job = jobs.start(AnalysisOptions(model="vgg16", weights="random", samples=40))
    while job.progress is None:
        time.sleep(0.02)
print("there", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("worker_is", ["idle", "busy"])
def test_no_worker_outlives_a_killed_owner(worker_is: str, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"BETTISCOPE_HOME": str(tmp_path)}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, worker_is],
        cwd=root,
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
