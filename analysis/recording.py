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

from analysis import __version__
from analysis.errors import AnalysisError, StoreError
from analysis.metrics import EpochMetrics, FinetuneResult, Selection
from analysis.processes import ProcessId
from analysis.run_records import Ending, Recorded
from analysis.runs import RunStore

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
        self._closing = False
        self._beat = 0.0  # when it was last written to the store; seconds, monotonic
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self, fingerprints: dict[str, str]) -> None:
        """Say what the run is made with, if the store can be written, and begin to listen."""
        with suppress(StoreError):
            self.store.record(
                self._run_id, self._worker, versions=_versions(), fingerprints=fingerprints
            )
        self._thread.start()

    def put(self, item: Recorded | Selection) -> None:
        """Have something written within `FLUSH_EVERY` seconds, an epoch at once."""
        self._buffer.append(item)
        if isinstance(item, EpochMetrics | Selection):
            self._wake.set()

    def end(self, ending: Ending, patience: float) -> Unsaved | None:
        """Write the rest and how the run ended; what could not be written is given back."""
        self._closing = True
        self._wake.set()
        ending = replace(ending, at=time.time())
        give_up = time.monotonic() + patience
        while True:
            try:
                self._write(ending)
                return None
            except StoreError as error:
                if time.monotonic() > give_up:
                    return Unsaved(tuple(self._buffer), ending, str(error))
            time.sleep(FLUSH_EVERY / 2)

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(FLUSH_EVERY)
            self._wake.clear()
            with suppress(StoreError):  # kept, and tried again the next time
                self._look()
                if self._buffer or time.monotonic() - self._beat > BEAT_EVERY:
                    self._write(None)

    def _look(self) -> None:
        """Hear of Stop. Reading waits for no writer."""
        claim = self.store.claim_of(self._run_id)
        if claim is None or claim.state != "running" or claim.worker != self._worker:
            self.lost.set()
        elif claim.stop_requested:
            self.stopped.set()

    def _write(self, ending: Ending | None) -> None:
        if not self._lock.acquire(timeout=2 * _LOCKED):
            raise StoreError("The run store is busy.")
        try:
            news = tuple(self._buffer)
            if not self.store.record(self._run_id, self._worker, news, ending=ending):
                self.lost.set()
            del self._buffer[: len(news)]
            self._beat = time.monotonic()
        finally:
            self._lock.release()


def train(
    request: TrainingRequest, when_alone: Callable[[Callable[[], object]], None]
) -> Unsaved | None:
    """Carry out a run, and record how it goes and ends.

    Parameters
    ----------
    request : TrainingRequest
    when_alone : callable
        Is given what to do when the server is gone, before the process ends.

    Returns
    -------
    Unsaved or None
        What the store would not take.
    """
    recorder = Recorder(request)
    when_alone(lambda: recorder.end(Ending("interrupted", CLOSED), _STOP_PATIENCE))
    try:
        return _train(request, recorder)
    except Exception as error:  # the person gets a sentence, the log the traceback
        if recorder.stopped.is_set():
            return recorder.end(Ending("stopped"), _STOP_PATIENCE)
        return recorder.end(Ending("failed", _sentence(error)), _END_PATIENCE)


def _train(request: TrainingRequest, recorder: Recorder) -> Unsaved | None:
    run = recorder.store.run(request.run_id)
    if run is None:
        raise StoreError("The settings of this run cannot be read by this version of BettiScope.")
    from analysis.training import Training

    training = Training(run.options)
    recorder.start(training.fingerprints)
    result: FinetuneResult | None = None
    for item in training:
        if isinstance(item, FinetuneResult):
            result = item
        else:
            recorder.put(item)
        if recorder.lost.is_set():
            return None
        if recorder.stopped.is_set() and result is None:
            # First how it ended: saving may take longer than the person should wait.
            unsaved = recorder.end(Ending("stopped"), _STOP_PATIENCE)
            with suppress(AnalysisError):
                training.save_weights(recorder.store.weights_path(request.run_id))
            return unsaved
    note = ""
    try:
        training.save_weights(recorder.store.weights_path(request.run_id))
    except AnalysisError as error:
        note = f"The trained weights were not saved. {error}"
    return recorder.end(Ending("done", note, result), _END_PATIENCE)


def _sentence(error: Exception) -> str:
    if isinstance(error, AnalysisError):
        return str(error)
    traceback.print_exc()
    if _is_out_of_memory(error):
        return (
            "There was not enough memory for this run. Try a smaller batch, fewer layers "
            "(a smaller ρ) or a smaller model."
        )
    return f"The run failed unexpectedly ({type(error).__name__}: {error})."


def _is_out_of_memory(error: Exception) -> bool:
    """Torch tells it by a RuntimeError, whose words differ between CPU and CUDA."""
    words = str(error).lower()
    told = "out of memory" in words or "can't allocate memory" in words
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and told)


def _versions() -> dict[str, str]:
    found = {"bettiscope": __version__, "python": platform.python_version()}
    for package in ("torch", "torchvision"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
