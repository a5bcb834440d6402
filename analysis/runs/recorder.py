"""The worker's side of a run: it trains, writes what it measures to the store, hears of Stop."""

from __future__ import annotations

import importlib.metadata
import platform
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError, StoreError, is_out_of_memory
from analysis.runs.records import Ending, Recorded, TrainingLog
from analysis.runs.store import RunStore
from analysis.system.processes import ProcessId
from analysis.training.metrics import EpochMetrics, FinetuneResult, Selection
from analysis.version import __version__

if TYPE_CHECKING:
    from analysis.training.fine_tune import Training

FLUSH_EVERY = 0.2  # seconds between two writes, and between two looks at Stop
BEAT_EVERY = 1.0  # seconds between two signs of life when there is nothing to write
_LOCKED = 0.5  # seconds that one write waits for another program
_END_PATIENCE = 3.0  # seconds of trying to write how a run ended
_STOP_PATIENCE = 0.5  # the same after Stop, when the person waits
CLOSED = "The dashboard was closed during the run."


@dataclass(frozen=True)
class TrainingRequest:
    """Asks a worker to carry out a run of the store that was claimed for it."""

    run_id: str
    store: Path
    worker: ProcessId


@dataclass(frozen=True)
class Unsaved:
    """What a worker could not write, for the server to write later."""

    news: Sequence[Recorded | Selection]
    ending: Ending
    trouble: str  # why not, for the person


class Recorder:
    """Writes one run's metrics from a thread of its own, so that training does not wait."""

    def __init__(self, request: TrainingRequest) -> None:
        self.store = RunStore(request.store, patience=_LOCKED)
        self.stopped = threading.Event()  # the person asked for it
        self.lost = threading.Event()  # the run was ended, or given to another
        self._run_id = request.run_id
        self._worker = request.worker
        self._buffer: list[Recorded | Selection] = []
        self._lock = threading.Lock()  # of writing, so that the order stays
        self._wake = threading.Event()
        self._versions: dict[str, str] | None = None  # what is not written of it yet
        self._fingerprints: dict[str, str] | None = None
        self._logged = ""  # the last error that was
        self._ending: Ending | None = None
        self._closing = False
        self._beat = 0.0  # when it was last written to the store; seconds, monotonic
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self, fingerprints: dict[str, str]) -> None:
        """Say what the run is made with, at once if the store can be written, and listen."""
        self._versions, self._fingerprints = versions_now(), fingerprints
        self._tried(lambda: self._write(None))
        self._thread.start()

    def trains_on(self, device: str) -> None:
        """Say on which type of device it trains, with what is written next."""
        self._versions = versions_now() | {"device": device}

    def put(self, item: Recorded | Selection) -> None:
        """Have something written within `FLUSH_EVERY` seconds, an epoch at once."""
        self._buffer.append(item)
        if isinstance(item, EpochMetrics | Selection):
            self._wake.set()

    def end(self, ending: Ending, patience: float) -> Unsaved | None:
        """Write the rest and how the run ended; what could not be written is given back.

        Of several endings the first holds.
        """
        self._closing = True
        self._wake.set()
        ending = self._ending = self._ending or replace(ending, at=time.time())
        give_up = time.monotonic() + patience
        while True:
            try:
                self._write(ending)
                return None
            except StoreError as error:
                if time.monotonic() > give_up:
                    return Unsaved(tuple(self._buffer), ending, str(error))
            except Exception as error:  # another try would not mend it; the server knows more
                traceback.print_exc()
                return Unsaved(tuple(self._buffer), ending, str(error))
            time.sleep(FLUSH_EVERY / 2)

    def note(self, words: str) -> None:
        """Say that the work for a run that is done is over, and what to know of it."""
        give_up = time.monotonic() + _END_PATIENCE
        while time.monotonic() < give_up:
            try:
                self.store.note(self._run_id, self._worker, words)
                return
            except StoreError:
                time.sleep(FLUSH_EVERY / 2)

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(FLUSH_EVERY)
            self._wake.clear()
            self._tried(self._look)
            if self._buffer or time.monotonic() - self._beat > BEAT_EVERY:
                self._tried(lambda: self._write(None))

    def _tried(self, step: Callable[[], object]) -> None:
        """Do something that is done again later: no error may end the listening."""
        try:
            step()
        except StoreError:
            pass  # what could not be written is kept
        except Exception as error:
            if self._logged != (words := repr(error)):
                self._logged = words
                traceback.print_exc()

    def _look(self) -> None:
        """Hear of Stop. Reading waits for no writer."""
        lease = self.store.lease_of(self._run_id)
        if lease is None or lease.state != "running" or lease.worker != self._worker:
            self.lost.set()
        elif lease.stop_requested:
            self.stopped.set()

    def _write(self, ending: Ending | None) -> None:
        if not self._lock.acquire(timeout=2 * _LOCKED):
            raise StoreError("The run store is busy.")
        try:
            news, versions, fingerprints = tuple(self._buffer), self._versions, self._fingerprints
            if not self.store.record(
                self._run_id,
                self._worker,
                news,
                ending=ending,
                versions=versions,
                fingerprints=fingerprints,
            ):
                self.lost.set()
            del self._buffer[: len(news)]
            self._fingerprints = None
            if self._versions is versions:  # else there is more to say since
                self._versions = None
            self._beat = time.monotonic()
        finally:
            self._lock.release()


def train(
    request: TrainingRequest,
    when_server_dies: Callable[[Callable[[], object]], None],
    hand_over: Callable[[Unsaved], None],
) -> None:
    """Carry out a run, and record how it goes and ends.

    Parameters
    ----------
    request : TrainingRequest
    when_alone : callable
        Is given what to do when the server is gone, before the process ends.
    hand_over : callable
        Is given what the store would not take; what it is given last holds.
    """
    recorder = Recorder(request)
    when_server_dies(lambda: recorder.end(Ending("interrupted", CLOSED), _STOP_PATIENCE))
    try:
        unsaved = _train(request, recorder, hand_over)
    except Exception as error:  # the person gets a sentence, the log the traceback
        if recorder.stopped.is_set():
            unsaved = recorder.end(Ending("stopped"), _STOP_PATIENCE)
        else:
            unsaved = recorder.end(Ending("failed", failure_sentence(error)), _END_PATIENCE)
    if unsaved is not None:
        hand_over(unsaved)


def _train(
    request: TrainingRequest, recorder: Recorder, hand_over: Callable[[Unsaved], None]
) -> Unsaved | None:
    run = recorder.store.run(request.run_id)
    if run is None:
        raise StoreError("The settings of this run cannot be read by this version of BettiScope.")
    from analysis.training.fine_tune import Training

    training = Training(run.options)
    recorder.start(training.fingerprints)
    log = TrainingLog()
    for number, item in enumerate(training):
        if number == 0:
            recorder.trains_on(getattr(training, "device", "cpu"))
        log.add(item)
        if not isinstance(item, FinetuneResult):  # which is written with the ending
            recorder.put(item)
        if recorder.lost.is_set():
            return None
        if recorder.stopped.is_set() and log.result is None:
            ending, patience = Ending("stopped"), _STOP_PATIENCE
            break
    else:
        ending, patience = log.ending, _END_PATIENCE
    # First how it ended: saving may fail, or take longer than the person should wait.
    unsaved = recorder.end(ending, patience)
    if unsaved is not None:
        hand_over(unsaved)
    note = _save_weights(training, recorder.store.weights_path(request.run_id))
    if unsaved is None and ending.state == "done":
        recorder.note(note)
    elif unsaved is not None and ending.state == "done":
        return replace(unsaved, ending=replace(unsaved.ending, error=note))
    return None


def _save_weights(training: Training, path: Path) -> str:
    """Save what was trained; why not, for the person, if that fails."""
    try:
        training.save_weights(path)
    except Exception as error:  # the run is over, and nothing here may change how
        if not isinstance(error, AnalysisError):
            traceback.print_exc()
        why = "There was not enough memory." if is_out_of_memory(error) else str(error)
        return f"The trained weights were not saved. {why}"
    return ""


def failure_sentence(error: Exception) -> str:
    """Why a run failed, for the person; what was not foreseen is also traced in the log."""
    if isinstance(error, AnalysisError):
        return str(error)
    traceback.print_exc()
    if is_out_of_memory(error):
        return (
            "There was not enough memory for this run. Try a smaller batch, fewer layers "
            "(a smaller ρ) or a smaller model."
        )
    return f"The run failed unexpectedly ({type(error).__name__}: {error})."


def versions_now() -> dict[str, str]:
    """Of what a run is made with here."""
    found = {"bettiscope": __version__, "python": platform.python_version()}
    for package in ("torch", "torchvision"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
