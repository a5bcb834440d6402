"""Analyses, and whatever else takes longer than a moment, in processes of their own.

A process rather than a thread: it can be ended at any moment, gives back its memory, and what
kills it leaves the dashboard standing. Fine-tunes have a queue of their own, as they outlive the
session that started them: `analysis.runs.queue`.
"""

from __future__ import annotations

import atexit
import pickle
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.results import SavedAnalysis, TopologyReport
from analysis.system.processes import Failure, Worker, WorkerPool, why_it_died

State = Literal["running", "done", "failed", "stopped"]
LARGEST_KEPT = 1_500_000_000  # bytes; a worker that holds more after its work is ended
_FORGOTTEN = 5.0  # seconds after which a closed browser tab no longer counts as waiting


@dataclass(eq=False)
class Job:
    """One piece of work under way or ended. Only `Jobs` writes its fields."""

    request: Hashable  # a frozen dataclass of a type in `analysis.worker.ANSWERS`
    worker: Worker
    state: State = "running"
    progress: Progress | None = None
    result: object = None  # of a job that is done
    error: str = ""
    begun: float = 0.0  # when the stage did; seconds, monotonic
    begun_at: int = 0  # its steps that were done before, such as bytes fetched another time
    watchers: dict[str, float] = field(default_factory=dict)  # when each last asked; monotonic

    @property
    def options(self) -> AnalysisOptions:
        """What the analysis is of; other work has none."""
        if not isinstance(self.request, AnalysisOptions):
            raise TypeError(f"a job with the request {self.request!r} is no analysis")
        return self.request

    @property
    def analysis(self) -> SavedAnalysis | TopologyReport | None:
        """Where the analysis is saved, or itself if it could not be; None until it is done."""
        return self.result if isinstance(self.result, SavedAnalysis | TopologyReport) else None

    def hear(self, progress: Progress) -> None:
        """Note how far it is. Each stage and each file has a pace of its own."""
        last, self.progress = self.progress, progress
        if last is None or last.done > progress.done or _what(last) != _what(progress):
            self.begun, self.begun_at = time.monotonic(), progress.done

    @property
    def seconds_left(self) -> float | None:
        """What the stage will take at its pace so far, in seconds; None while that is a guess."""
        at = self.progress
        if at is None:
            return None
        made = at.done - self.begun_at
        end, enough = at.total, at.total / 20
        if at.layers:
            forward, several = at.stage != "Topology", at.total > 2 * at.layers
            end = at.total - at.layers if forward else at.total
            # The first layers are the largest: a pass tells of the next ones when it is whole.
            enough = at.layers if forward and several else at.layers / 4
        if not end or not made or made < enough:
            return None
        return (time.monotonic() - self.begun) / made * max(0, end - at.done)


def _what(progress: Progress) -> tuple[str, int]:
    return progress.stage, progress.total


class Jobs:
    """The work of one server. A warm worker is kept, so that the next job starts at once.

    Parameters
    ----------
    pool : WorkerPool, optional
        Of waiting workers, to share with `analysis.runs.queue.RunQueue`.
    """

    def __init__(self, pool: WorkerPool | None = None) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Job] = {}
        self._pool = pool or WorkerPool()
        self._owns_pool = pool is None
        self._closed = False
        atexit.register(self.close)

    def warm(self) -> None:
        """Start a worker that waits, if there is none."""
        self._pool.warm()

    def start(self, request: Hashable, watcher: str = "") -> Job:
        """Start some work, or join the one that is already running with the same request.

        `watcher` names who waits for it, and must `watch` it every few seconds.
        """
        with self._lock:
            running = self._running.get(request)
            if running is not None and running.state == "running":
                self.watch(running, watcher)
                return running
            job = self._running[request] = Job(request, self._pool.take())
            self.watch(job, watcher)
        threading.Thread(target=self._follow, args=(job,), daemon=True).start()
        return job

    def is_running(self, request: Hashable) -> bool:
        """Whether `start` would join work that somebody else began."""
        with self._lock:
            return request in self._running

    def watch(self, job: Job, watcher: str) -> None:
        """Say that somebody still waits for a job."""
        if watcher:
            job.watchers[watcher] = time.monotonic()

    def leave(self, job: Job, watcher: str = "") -> None:
        """Wait for a job no longer. When nobody does, it ends now and leaves nothing."""
        with self._lock:
            job.watchers.pop(watcher, None)
            now = time.monotonic()
            waiting = any(now - seen < _FORGOTTEN for seen in job.watchers.values())
            if job.state == "running" and not waiting:
                job.state = "stopped"
                job.worker.kill()

    def close(self) -> None:
        """End every worker of these jobs."""
        with self._lock:
            self._closed = True
            workers = [job.worker for job in self._running.values()]
        for worker in workers:
            worker.kill()
        if self._owns_pool:
            self._pool.close()

    def _follow(self, job: Job) -> None:
        worker = job.worker
        state: State
        result, error, refused = None, "", False
        try:
            worker.send(job.request)
            while isinstance(message := worker.receive(), Progress):
                job.hear(message)
            if isinstance(message, Failure):
                state, error, refused = "failed", message.sentence, message.refused
            else:
                state, result = "done", message
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.kill()
            state, error = "failed", _death(worker.process.returncode)
        except Exception as failure:  # such as a report too large for this process
            worker.kill()
            state, error = "failed", f"The result could not be read ({failure!r})."
        with self._lock:
            if job.state == "running":
                job.result, job.error, job.state = result, error, state
            if self._running.get(job.request) is job:
                del self._running[job.request]
            # One that failed at work may hold a GPU's memory, or a CUDA context that is broken.
            fit = job.state == "done" or (job.state == "failed" and refused)
            keep = fit and worker.alive and not self._closed
        # What a process frees need not go back to the system before it ends.
        if keep and worker.resident_bytes < LARGEST_KEPT:
            self._pool.give_back(worker)
        else:
            worker.kill()
            if not self._closed:
                self._pool.warm()


def _death(code: int | None) -> str:
    return (
        f"The process ended before it was done ({why_it_died(code)}). "
        "Try fewer samples or a smaller model."
    )
