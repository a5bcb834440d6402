"""The worker's side of a run: train, write the metrics to the store, and stop when asked."""

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

from analysis.errors import AnalysisError, StoreError, is_out_of_memory, is_out_of_space
from analysis.models.names import model_spec
from analysis.runs.records import Ending, Recorded, TrainingLog
from analysis.runs.store import RunStore
from analysis.system.processes import ProcessId
from analysis.training.followed import FollowedTopology, save_followed
from analysis.training.metrics import EpochMetrics, FinetuneResult, Selection
from analysis.version import __version__

if TYPE_CHECKING:
    from analysis.training.fine_tune import Training

FLUSH_EVERY = 0.2  # seconds between two writes, and between two checks for Stop
BEAT_EVERY = 1.0  # seconds between two heartbeats when there is nothing to write
_LOCKED = 0.5  # seconds that one write waits for another program
_END_PATIENCE = 3.0  # seconds of trying to write how a run ended
_STOP_PATIENCE = 0.5  # the same after Stop, when the user waits
SPACE_PATIENCE = 600.0  # seconds that a worker keeps weights for which there is no space
_SPACE_POLL = 2.0  # seconds between two tries to save them
_NO_SPACE = (
    "The trained weights are not saved yet: the disk is full. Free some space within "
    f"{SPACE_PATIENCE / 60:.0f} minutes, and they will be."
)
_LEFT = "The trained weights were not saved: the disk was full until the dashboard was closed."
CLOSED = "The dashboard was closed during the run."


@dataclass(frozen=True)
class TrainingRequest:
    """Asks a worker to train a run of the store that was claimed for it."""

    run_id: str
    store: Path
    worker: ProcessId


@dataclass(frozen=True)
class Unsaved:
    """Items that a worker could not write, for the server to write later."""

    news: Sequence[Recorded | Selection]
    ending: Ending
    reason: str  # why not, for the user


@dataclass(frozen=True)
class Trained:
    """Says that a worker whose run is done and saved waits for another request."""


@dataclass(frozen=True)
class WaitingForSpace:
    """Says that a worker whose run has ended keeps its weights until the disk has space."""


class Recorder:
    """Writes one run's metrics from its own thread, so that training does not wait."""

    def __init__(self, request: TrainingRequest) -> None:
        self.store = RunStore(request.store, patience=_LOCKED)
        self.stopped = threading.Event()  # the user asked for it
        self.lost = threading.Event()  # the run has ended, or another worker has it
        self._run_id = request.run_id
        self._worker = request.worker
        self._buffer: list[Recorded | Selection] = []
        self._lock = threading.Lock()  # of writing, to keep the order
        self._wake = threading.Event()
        self._versions: dict[str, str] | None = None  # until they are written
        self._fingerprints: dict[str, str] | None = None
        self._last_error = ""  # in the log
        self._ending: Ending | None = None
        self._closing = False
        self._beat = 0.0  # time of the last write; seconds, monotonic
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self, fingerprints: dict[str, str]) -> None:
        """Record versions and fingerprints, at once if possible, and start the thread."""
        self._versions, self._fingerprints = versions_now(), fingerprints
        self._try(lambda: self._write(None))
        self._thread.start()

    def set_device(self, device: str) -> None:
        """Record the type of device on which it trains, with the next write."""
        self._versions = versions_now() | {"device": device}

    def put(self, item: Recorded | Selection) -> None:
        """Write an item within `FLUSH_EVERY` seconds, an epoch at once."""
        self._buffer.append(item)
        if isinstance(item, EpochMetrics | Selection):
            self._wake.set()

    def end(self, ending: Ending, patience: float) -> Unsaved | None:
        """Write the remaining items and the ending; return what could not be written.

        Of several endings the first counts.
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
            except Exception as error:  # another try would not help; the server can do more
                traceback.print_exc()
                return Unsaved(tuple(self._buffer), ending, str(error))
            time.sleep(FLUSH_EVERY / 2)

    def close(self) -> None:
        """After the ending: end the thread, and close the store."""
        self._thread.join()
        self.store.close()

    def note(self, words: str) -> bool:
        """Record a note for the user with a run that is done; whether that could be written."""
        give_up = time.monotonic() + _END_PATIENCE
        while time.monotonic() < give_up:
            try:
                self.store.note(self._run_id, self._worker, words)
                return True
            except StoreError:
                time.sleep(FLUSH_EVERY / 2)
        return False

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(FLUSH_EVERY)
            self._wake.clear()
            self._try(self._check_lease)
            if self._buffer or time.monotonic() - self._beat > BEAT_EVERY:
                self._try(lambda: self._write(None))

    def _try(self, step: Callable[[], object]) -> None:
        """Take a step that is repeated later: no error may end the thread."""
        try:
            step()
        except StoreError:
            pass  # the items stay in the buffer
        except Exception as error:
            if self._last_error != (words := repr(error)):
                self._last_error = words
                traceback.print_exc()

    def _check_lease(self) -> None:
        """Check for Stop. Reading waits for no writer."""
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
            if self._versions is versions:  # else the device came in the meantime
                self._versions = None
            self._beat = time.monotonic()
        finally:
            self._lock.release()


def train(
    request: TrainingRequest,
    on_server_exit: Callable[[Callable[[], object]], None],
    hand_over: Callable[[Unsaved | WaitingForSpace], None],
) -> bool:
    """Train a run, and record its metrics and its ending.

    Parameters
    ----------
    request : TrainingRequest
    on_server_exit : callable
        Takes what to do when the server is gone, before this process ends.
    hand_over : callable
        Takes what could not be written to the store, of which the last counts, and word that
        the worker waits.

    Returns
    -------
    bool
        Whether this process may train another run: all went well, and no code of the user's ran.
    """
    recorder = Recorder(request)
    on_server_exit(lambda: recorder.end(Ending("interrupted", CLOSED), _STOP_PATIENCE))
    try:
        unsaved, fit = _train(request, recorder, on_server_exit, hand_over)
    except Exception as error:  # the user gets a sentence, the log the traceback
        fit = False
        if recorder.stopped.is_set():
            unsaved = recorder.end(Ending("stopped"), _STOP_PATIENCE)
        else:
            unsaved = recorder.end(Ending("failed", failure_sentence(error)), _END_PATIENCE)
    if unsaved is not None:
        hand_over(unsaved)
    elif fit:
        recorder.close()
    return fit and unsaved is None


def _train(
    request: TrainingRequest,
    recorder: Recorder,
    on_server_exit: Callable[[Callable[[], object]], None],
    hand_over: Callable[[Unsaved | WaitingForSpace], None],
) -> tuple[Unsaved | None, bool]:
    """What could not be written, and whether this process may train another run."""
    run = recorder.store.run(request.run_id)
    if run is None:
        raise StoreError("This version of BettiScope cannot read the settings of this run.")
    from analysis.training.fine_tune import Training

    training = Training(run.options)
    recorder.start(training.fingerprints)
    log = TrainingLog()
    for number, item in enumerate(training):
        if number == 0:
            recorder.set_device(getattr(training, "device", "cpu"))
        log.add(item)
        # The result is written with the ending, and the topology into a file of its own.
        if not isinstance(item, FinetuneResult | FollowedTopology):
            recorder.put(item)
        if recorder.lost.is_set():
            return None, False
        if recorder.stopped.is_set() and log.result is None:
            ending, patience = Ending("stopped"), _STOP_PATIENCE
            break
    else:
        ending, patience = log.ending, _END_PATIENCE
    # The ending first: saving may fail, or take longer than the user should wait.
    unsaved = recorder.end(ending, patience)
    if unsaved is not None:
        hand_over(unsaved)
    unfollowed = _save_followed(log, recorder.store.topology_path(request.run_id))
    path = recorder.store.weights_path(request.run_id)
    error = _save_weights(training, path)
    if ending.state != "done":
        return None, False
    if is_out_of_space(error):
        on_server_exit(lambda: recorder.note(_LEFT))
        hand_over(WaitingForSpace())
        noted, give_up = False, time.monotonic() + SPACE_PATIENCE
        while is_out_of_space(error) and time.monotonic() < give_up:
            if unsaved is not None:
                unsaved = recorder.end(ending, 0)
            if unsaved is None and not noted:
                noted = recorder.note(_NO_SPACE)
            time.sleep(_SPACE_POLL)
            error = _save_weights(training, path)
    note = " ".join(filter(None, (_why_unsaved(error), unfollowed)))
    if unsaved is None:
        recorder.note(note)
        # The user's code may have changed anything in this process.
        return None, not note and model_spec(run.options.analysis.model).source != "code"
    return replace(unsaved, ending=replace(unsaved.ending, error=note)), False


def _save_followed(log: TrainingLog, path: Path) -> str:
    """Save the loops by epoch, if they were followed; return why not, for the user."""
    try:
        if log.followed is not None:
            save_followed(path, log.followed)
    except StoreError as error:
        return str(error)
    return ""


def _save_weights(training: Training, path: Path) -> Exception | None:
    """Save the trained weights; if that fails, why: the run has ended, and that stays so."""
    try:
        training.save_weights(path)
    except Exception as error:
        return error
    return None


def _why_unsaved(error: Exception | None) -> str:
    """Why the weights were not saved, for the user; empty if they were."""
    if error is None:
        return ""
    if not isinstance(error, AnalysisError):
        traceback.print_exception(error)
    why = "Memory ran out." if is_out_of_memory(error) else str(error)
    return f"The trained weights were not saved. {why}"


def failure_sentence(error: Exception) -> str:
    """Why a run failed, for the user; an unexpected error is also traced in the log."""
    if isinstance(error, AnalysisError):
        return str(error)
    traceback.print_exc()
    if is_out_of_memory(error):
        return (
            "Memory ran out during this run. Try a smaller batch, fewer layers "
            "(a smaller ρ) or a smaller model."
        )
    return f"The run failed unexpectedly ({type(error).__name__}: {error})."


def versions_now() -> dict[str, str]:
    """The versions of the software that a run uses here, by package."""
    versions = {"bettiscope": __version__, "python": platform.python_version()}
    for package in ("torch", "torchvision"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
