"""Analyses and other long work, each in a process of its own.

Unlike a thread, a process can be stopped at any moment, returns all its memory, and can crash
without the dashboard. Fine-tunes continue after the session that started them, so they have their
own queue: `analysis.runs.queue`.
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
LARGEST_KEPT = 1_500_000_000  # bytes; a worker that holds more after its work is stopped
_FORGOTTEN = 5.0  # seconds until a closed browser tab no longer counts as waiting


@dataclass(eq=False)
class Job:
    """One piece of work, running or ended. Only `Jobs` writes its fields."""

    request: Hashable  # a frozen dataclass of a type in `analysis.worker.ANSWERS`
    worker: Worker
    state: State = "running"
    progress: Progress | None = None
    result: object = None  # once the job is done
    error: str = ""
    begun: float = 0.0  # when the current stage began; seconds, monotonic
    begun_at: int = 0  # steps that were done by then, such as bytes of an earlier download
    watchers: dict[str, float] = field(default_factory=dict)  # when each was last seen; monotonic

    @property
    def options(self) -> AnalysisOptions:
        """The options of an analysis; other work has none."""
        if not isinstance(self.request, AnalysisOptions):
            raise TypeError(f"a job with the request {self.request!r} is not an analysis")
        return self.request

    @property
    def analysis(self) -> SavedAnalysis | TopologyReport | None:
        """The saved analysis, or the report if saving failed; None until it is done."""
        return self.result if isinstance(self.result, SavedAnalysis | TopologyReport) else None

    def record(self, progress: Progress) -> None:
        """Store the progress. Each stage and each file has its own pace."""
        last, self.progress = self.progress, progress
        if last is None or last.done > progress.done or _what(last) != _what(progress):
            self.begun, self.begun_at = time.monotonic(), progress.done

    @property
    def seconds_left(self) -> float | None:
        """Seconds left of the stage, at its pace so far; None while that would be a guess."""
        at = self.progress
        if at is None:
            return None
        made = at.done - self.begun_at
        end, enough = at.total, at.total / 20
        if at.layers:
            forward, several = at.stage != "Topology", at.total > 2 * at.layers
            end = at.total - at.layers if forward else at.total
            # The first layers are the largest: only a whole pass predicts the next one.
            enough = at.layers if forward and several else at.layers / 4
        if not end or not made or made < enough:
            return None
        return (time.monotonic() - self.begun) / made * max(0, end - at.done)


def _what(progress: Progress) -> tuple[str, int]:
    return progress.stage, progress.total


class Jobs:
    """The work of one server. One idle worker waits, so that the next job starts at once.

    Parameters
    ----------
    pool : WorkerPool, optional
        Of idle workers, to share with `analysis.runs.queue.RunQueue`.
    """

    def __init__(self, pool: WorkerPool | None = None) -> None:
        self._lock = threading.Lock()
        self._running: dict[Hashable, Job] = {}
        self._pool = pool or WorkerPool()
        self._owns_pool = pool is None
        self._closed = False
        atexit.register(self.close)

    def warm(self, after: float = 0.0) -> None:
        """Start an idle worker, if there is none, after so many seconds without another call."""
        self._pool.warm(after)

    @property
    def warms_later(self) -> bool:
        """Whether an idle worker will start in a while, for work that is not urgent."""
        return self._pool.warms_later

    def start(self, request: Hashable, watcher: str = "") -> Job:
        """Start some work, or join work that is running with the same request.

        `watcher` names who waits for it. It must call `watch` every few seconds.
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
        """Whether `start` would join running work."""
        with self._lock:
            return request in self._running

    def watch(self, job: Job, watcher: str) -> None:
        """Record that a watcher still waits for a job."""
        if watcher:
            job.watchers[watcher] = time.monotonic()

    def leave(self, job: Job, watcher: str = "") -> None:
        """Stop waiting for a job. If nobody else waits, the job is stopped at once."""
        with self._lock:
            job.watchers.pop(watcher, None)
            now = time.monotonic()
            waiting = any(now - seen < _FORGOTTEN for seen in job.watchers.values())
            if job.state == "running" and not waiting:
                job.state = "stopped"
                job.worker.kill()

    def close(self) -> None:
        """Stop the workers of all jobs."""
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
                job.record(message)
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
            # A worker whose job failed may hold a GPU's memory or a broken CUDA context.
            fit = job.state == "done" or (job.state == "failed" and refused)
            keep = fit and worker.alive and not self._closed
        # A process may not return the memory that it frees to the system until it ends.
        if keep and worker.resident_bytes < LARGEST_KEPT:
            self._pool.give_back(worker)
        else:
            worker.kill()
            if not self._closed:
                self._pool.warm()


def _death(code: int | None) -> str:
    return (
        f"The process ended before the work was done ({why_it_died(code)}). "
        "Try fewer samples or a smaller model."
    )
