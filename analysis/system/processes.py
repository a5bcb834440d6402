"""Worker processes: start them in advance, identify them, and end them with their children.

A worker is started as a program, because `multiprocessing` would run the caller's main module
again.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_ROOT = Path(__file__).resolve().parents[2]
_CLOCK = 2.0  # seconds by which clock corrections may change a process's creation time


@dataclass(frozen=True)
class ProcessId:
    """A process, distinguished from a later one with the same number."""

    pid: int
    created: float  # seconds since 1970

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether it still runs. A zombie does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < _CLOCK
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


@dataclass(frozen=True)
class Failure:
    """A worker's answer in place of a result."""

    sentence: str  # for the user
    refused: bool = False  # before anything ran, so the worker can be used again


def end_group(leader: int) -> None:
    """Kill a worker and the processes that it started, if the system has process groups."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def why_it_died(code: int | None) -> str:
    """An exit code in words for the user."""
    if code == -getattr(signal, "SIGKILL", 9):
        return "the system ended it, most often because memory ran out"
    if code is not None and code < 0:  # by the name that people look up, such as SIGSEGV
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


class Worker:
    """One worker process, idle until it receives a request."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "analysis.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,  # a group that ends as one, and that Ctrl-C does not reach
        )

    def send(self, request: object) -> None:
        assert self.process.stdin is not None
        pickle.dump(request, self.process.stdin)
        self.process.stdin.flush()

    def receive(self) -> object:
        assert self.process.stdout is not None
        message: object = pickle.load(self.process.stdout)
        return message

    def end_gently(self, patience: float) -> None:
        """Close its input so that it ends by itself, and wait up to `patience` seconds."""
        with suppress(OSError, subprocess.TimeoutExpired):
            if self.process.stdin is not None:
                self.process.stdin.close()
            self.process.wait(patience)

    def kill(self) -> None:
        end_group(self.process.pid)
        self.process.kill()
        self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """Memory (RSS) of the worker and its child processes; 0 once it has ended."""
        total = 0
        with suppress(psutil.Error):
            worker = psutil.Process(self.process.pid)
            for process in (worker, *worker.children(recursive=True)):
                with suppress(psutil.Error):  # it has just ended
                    total += process.memory_info().rss
        return total


_LONGEST_WAIT = 3  # times the wait that was asked for


class WorkerPool:
    """The idle workers of one server.

    Parameters
    ----------
    idle : int, default=1
        How many to keep at most; each takes some 300 MB.
    """

    def __init__(self, idle: int = 1) -> None:
        self._most = idle
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._lent: list[Worker] = []  # of which most come back
        self._timer: threading.Timer | None = None  # until a worker starts in advance
        self._waits_since = 0.0  # of the monotonic clock, while there is a timer
        self._closed = False
        atexit.register(self.close)

    def warm(self, after: float = 0.0) -> None:
        """Start an idle worker if there is none. Its start uses a core for seconds.

        Parameters
        ----------
        after : float, default=0.0
            Seconds to wait first. A later call makes the wait begin anew, but not for ever: where
            a class turns pages all the time, predictions need a worker too. None starts if one is
            at work by then, as it comes back: another would only slow it down.
        """
        with self._lock:
            now = time.monotonic()
            since = now if self._timer is None else self._waits_since
            self._forget_timer()
            wait = min(after, since + _LONGEST_WAIT * after - now)
            if wait > 0 and not self._closed and not _any_alive(self._idle):
                self._waits_since = since
                self._timer = threading.Timer(wait, self._start, [True])
                self._timer.daemon = True
                self._timer.start()
        if wait <= 0:
            self._start(unless_lent=after > 0)

    def _start(self, unless_lent: bool) -> None:
        """Start an idle worker if there is none."""
        with self._lock:
            self._forget_timer()
            there = [*self._idle, *self._lent] if unless_lent else self._idle
            if not self._closed and not _any_alive(there):
                self._idle = [Worker()]

    @property
    def warms_later(self) -> bool:
        """Whether an idle worker will start in a while."""
        return self._timer is not None

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self) -> Worker:
        """Return an idle worker if there is one, else a new one. The caller then owns it."""
        with self._lock:
            self._idle = [worker for worker in self._idle if worker.alive]
            self._lent = [worker for worker in self._lent if worker.alive]
            worker = self._idle.pop() if self._idle else Worker()
            self._lent.append(worker)
            return worker

    def give_back(self, worker: Worker) -> None:
        """Take back a worker: it waits for the next request, or ends if enough others wait."""
        with self._lock:
            self._idle = [other for other in self._idle if other.alive]
            self._lent = [other for other in self._lent if other is not worker]
            keep = not self._closed and worker.alive and len(self._idle) < self._most
            if keep:
                self._idle.append(worker)
                self._forget_timer()
        if not keep:
            worker.kill()

    def close(self) -> None:
        """End the idle workers, and keep none from now on."""
        with self._lock:
            self._closed = True
            self._forget_timer()
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()


def _any_alive(workers: Iterable[Worker]) -> bool:
    return any(worker.alive for worker in workers)
