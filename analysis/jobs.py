"""Analyses in processes of their own: started, watched, stopped.

A process rather than a thread: it can be ended at any moment, gives back its memory, and what
kills it leaves the dashboard standing. It is started as a program and not through
`multiprocessing`, which would run the caller's main module again.
"""

from __future__ import annotations

import atexit
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from analysis.options import AnalysisOptions
from analysis.results import Progress, TopologyReport
from analysis.worker import Message, end_group

State = Literal["running", "done", "failed", "stopped"]
_FORGOTTEN = 5.0  # seconds after which a closed browser tab no longer counts as waiting
_ROOT = Path(__file__).resolve().parent.parent


class _Worker:
    """One worker process, idle until it is given options."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "analysis.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,  # a group to end as one, and out of Ctrl-C's reach
        )

    def send(self, options: AnalysisOptions) -> None:
        assert self.process.stdin is not None
        pickle.dump(options, self.process.stdin)
        self.process.stdin.flush()

    def receive(self) -> Message:
        assert self.process.stdout is not None
        message: Message = pickle.load(self.process.stdout)
        return message

    def kill(self) -> None:
        end_group(self.process.pid)
        self.process.kill()
        self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


@dataclass(eq=False)
class Job:
    """One analysis under way or ended. Only `Jobs` writes its fields."""

    options: AnalysisOptions
    worker: _Worker
    state: State = "running"
    progress: Progress | None = None
    report: TopologyReport | None = None
    error: str = ""
    first_step: float = 0.0  # when the first layer was reached; seconds, monotonic
    watchers: dict[str, float] = field(default_factory=dict)  # when each last asked; monotonic

    @property
    def seconds_left(self) -> float | None:
        """What the stage will take at its pace so far, in seconds; None while that is a guess."""
        if self.progress is None or 8 * self.progress.done < self.progress.total:
            return None  # a quarter of the forward pass: the first layers are the largest
        end = self.progress.total if self.progress.stage == "Topology" else self.progress.total / 2
        pace = (time.monotonic() - self.first_step) / self.progress.done
        return pace * (end - self.progress.done)


class Jobs:
    """The analyses of one server. A warm worker is kept, so that the next one starts at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[AnalysisOptions, Job] = {}
        self._spare: _Worker | None = None
        self._closed = False
        atexit.register(self.close)

    def warm(self) -> None:
        """Start a worker that waits, if there is none."""
        with self._lock:
            if not self._closed and (self._spare is None or not self._spare.alive):
                self._spare = _Worker()

    def _take(self) -> _Worker:
        """The warm worker if there is one, else a new one; under the lock."""
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.alive else _Worker()

    def start(self, options: AnalysisOptions, watcher: str = "") -> Job:
        """Start an analysis, or join the one that is already running with the same options.

        `watcher` names who waits for it, and must `watch` it every few seconds.
        """
        with self._lock:
            running = self._running.get(options)
            if running is not None and running.state == "running":
                self.watch(running, watcher)
                return running
            job = self._running[options] = Job(options, self._take())
            self.watch(job, watcher)
        threading.Thread(target=self._follow, args=(job,), daemon=True).start()
        return job

    def watch(self, job: Job, watcher: str) -> None:
        """Say that somebody still waits for an analysis."""
        if watcher:
            job.watchers[watcher] = time.monotonic()

    def leave(self, job: Job, watcher: str = "") -> None:
        """Wait for an analysis no longer. When nobody does, it ends now and leaves nothing."""
        with self._lock:
            job.watchers.pop(watcher, None)
            now = time.monotonic()
            waiting = any(now - seen < _FORGOTTEN for seen in job.watchers.values())
            if job.state == "running" and not waiting:
                job.state = "stopped"
                job.worker.kill()

    def close(self) -> None:
        """End every worker."""
        with self._lock:
            self._closed = True
            workers = [self._spare, *(job.worker for job in self._running.values())]
        for worker in workers:
            if worker is not None:
                worker.kill()

    def _follow(self, job: Job) -> None:
        worker = job.worker
        state: State
        report, error = None, ""
        try:
            worker.send(job.options)
            while isinstance(message := worker.receive(), Progress):
                job.first_step = job.first_step or time.monotonic()
                job.progress = message
            if isinstance(message, str):
                state, error = "failed", message
            else:
                state, report = "done", message
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.kill()
            state, error = "failed", _death(worker.process.returncode)
        except Exception as failure:  # such as a report too large for this process
            worker.kill()
            state, error = "failed", f"The result could not be read ({failure!r})."
        with self._lock:
            if job.state == "running":
                job.report, job.error, job.state = report, error, state
            if self._running.get(job.options) is job:
                del self._running[job.options]
            keep = (
                job.state != "stopped" and worker.alive and self._spare is None and not self._closed
            )
            if keep:
                self._spare = worker
        if not keep:
            worker.kill()
            self.warm()


def _death(code: int) -> str:
    killed = code == -getattr(signal, "SIGKILL", 9)
    why = "the system ended it, most often for want of memory" if killed else f"exit code {code}"
    return (
        f"The analysis process ended before it was done ({why}). "
        "Try fewer samples or a smaller model."
    )
