"""Worker processes: started before they are needed, told from any other, ended with their kin.

A worker is started as a program and not through `multiprocessing`, which would run the caller's
main module again.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_ROOT = Path(__file__).resolve().parents[2]
_CLOCK = 2.0  # seconds by which the clock may be set between two looks at a creation time


@dataclass(frozen=True)
class ProcessId:
    """A process, told from a later one that the system gave the same number."""

    pid: int
    created: float  # seconds since 1970

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this number now."""
        return cls(pid, psutil.Process(pid).create_time())

    @property
    def alive(self) -> bool:
        """Whether it runs. A process that nobody has buried does not."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < _CLOCK
            return bool(same and found.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


@dataclass(frozen=True)
class Failure:
    """A worker's answer when there is no result."""

    sentence: str  # for the person
    refused: bool = False  # before anything ran: the worker is as good as before


def end_group(leader: int) -> None:
    """Kill a worker with the processes that it started, where the system has groups."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def why_it_died(code: int | None) -> str:
    """An exit code in a few words for the person."""
    if code == -getattr(signal, "SIGKILL", 9):
        return "the system ended it, most often for want of memory"
    return f"exit code {code}"


class Worker:
    """One worker process, idle until it is given a request."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "analysis.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,  # a group to end as one, and out of Ctrl-C's reach
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
        """Close its input, so that it ends by itself, and wait `patience` seconds for that."""
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
        """Memory (RSS) that it holds, and the processes that it started; 0 when it is gone."""
        total = 0
        with suppress(psutil.Error):
            worker = psutil.Process(self.process.pid)
            for process in (worker, *worker.children(recursive=True)):
                with suppress(psutil.Error):  # it ended just now
                    total += process.memory_info().rss
        return total


class WorkerPool:
    """The workers of one server that wait for something to do: one at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: Worker | None = None
        self._closed = False
        atexit.register(self.close)

    def warm(self) -> None:
        """Start a worker that waits, if there is none. It takes seconds of a core to be ready."""
        with self._lock:
            if not self._closed and (self._spare is None or not self._spare.alive):
                self._spare = Worker()

    def take(self) -> Worker:
        """The warm worker if there is one, else a new one. It is the caller's from now on."""
        with self._lock:
            spare, self._spare = self._spare, None
        return spare if spare is not None and spare.alive else Worker()

    def give_back(self, worker: Worker) -> None:
        """Return an idle worker: it waits for the next request, or ends if another one does."""
        with self._lock:
            wanted = not self._closed and worker.alive
            wanted = wanted and (self._spare is None or not self._spare.alive)
            if wanted:
                self._spare = worker
        if not wanted:
            worker.kill()

    def close(self) -> None:
        """End the worker that waits, and keep none from now on."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.kill()
