"""The queue of fine-tunes: which run is next, in which process, and what if that process dies.

Any number of servers and sessions may have a queue on one store. The store decides which worker
gets a run. Each queue watches the workers it started, and cleans up after servers that are gone.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress

from analysis.errors import StoreError
from analysis.jobs.jobs import LARGEST_KEPT
from analysis.options import RunOptions
from analysis.runs.faults import Faults
from analysis.runs.recorder import (
    CLOSED,
    SPACE_PATIENCE,
    Trained,
    TrainingRequest,
    Unsaved,
    WaitingForSpace,
)
from analysis.runs.records import Ending, Lease
from analysis.runs.store import RunStore
from analysis.system.processes import ProcessId, Worker, WorkerPool, end_group, why_it_died

_BUSY_POLL = 0.2  # seconds between two checks while a worker of this queue trains
_IDLE_POLL = 0.7  # seconds between two checks for runs that another process queued
_STOP_GRACE = 1.3  # seconds for a worker to stop by itself
_SAVE_GRACE = 30.0  # seconds for a worker whose run has ended to save the weights
_PATIENCE = 0.3  # seconds to wait for another writer before turning to other runs
_SHORT = 5.0  # seconds; a run that ends sooner is not slowed down by the start of another worker
_DRAWN = 1.0  # seconds in which a browser draws how a run ended
_SILENCE = 3.0  # seconds without a heartbeat before a worker counts as dead
_PURGE_POLL = 3600.0  # seconds between two removals of what was deleted long ago
_HUNG = 30.0  # seconds without a heartbeat after which a worker without a server is ended
_INTERRUPTED = "The dashboard or the computer shut down during the run."
_UNWRITTEN = "The ending of a run is not saved yet. "
_ENDED = "Its last step took too long, so the run ended without saving the trained weights."


class _Training:
    """A run in a worker of this queue."""

    def __init__(self, run_id: str, worker: Worker, identity: ProcessId, wake: threading.Event):
        self.run_id = run_id
        self.worker = worker
        self.identity = identity
        self.unsaved: Unsaved | None = None
        self.begun = time.monotonic()
        self.stop_seen: float | None = None  # when Stop was first seen; seconds, monotonic
        self.end_seen: float | None = None  # when the store first said that it ended
        self.waits = False  # until the disk has space for its weights
        self.warmed = False  # the next worker has been started, if one is needed
        self.waits_for_request = False  # the run is done, and its worker may train another
        self._wake = wake
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _follow(self) -> None:
        """Receive what the worker could not write, until it ends."""
        with suppress(Exception):  # whatever a dying process sends
            while True:
                message = self.worker.receive()
                if isinstance(message, Unsaved):
                    self.unsaved = message
                elif isinstance(message, WaitingForSpace):
                    self.waits = True
                elif isinstance(message, Trained):
                    self.waits_for_request = True
                    break
        self._wake.set()

    @property
    def keeps_worker(self) -> bool:
        """Whether its worker trains, saves what it has trained, or is about to train the next."""
        return not self.waits and self.worker.alive

    def has_ended(self) -> bool:
        """Whether its worker has ended or waits, and its messages have been read."""
        if self.worker.alive and not self.waits_for_request:
            return False
        self._follower.join(timeout=1.0)
        return True


class RunQueue:
    """The fine-tunes that one server runs.

    Parameters
    ----------
    store : RunStore, optional
        By default the one in BettiScope's folder.
    pool : WorkerPool, optional
        Idle workers, to share with `analysis.jobs.jobs.Jobs`.
    limit : int
        Trainings at a time, over all processes that share the store.
    """

    def __init__(
        self, store: RunStore | None = None, *, pool: WorkerPool | None = None, limit: int = 1
    ) -> None:
        self.store = store or RunStore()  # for pages
        self._own_store = RunStore(self.store.path, patience=_PATIENCE)
        self._pool = pool or WorkerPool()
        self._owns_pool = pool is None
        self._limit = limit
        self._identity = ProcessId.of(os.getpid())
        self._lock = threading.RLock()  # of what follows
        self._trainings: dict[str, _Training] = {}
        self._unwritten: dict[str, tuple[ProcessId, Unsaved]] = {}
        self._faults = Faults()
        self._closed = False
        self._wake = threading.Event()
        with self._faults.catch("recover"):
            self._own_store.check()
        self.recover()
        self._purge()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def start(self, options: Sequence[RunOptions], *, group: str = "") -> list[str]:
        """Queue runs as one group, a new one unless it is named.

        Returns
        -------
        list of str
            The ids of the runs, in the order given.

        Raises
        ------
        StoreError
            If they cannot be stored; none is queued then.
        """
        ids = self.store.add(options, group=group)
        self._wake.set()
        return ids

    def stop(self, run_id: str) -> None:
        """End a run within two seconds and keep its metrics; a queued run ends at once.

        Raises
        ------
        StoreError
            If the store cannot be written. A run in a worker of this queue ends all the same.
        """
        with self._lock:
            training = self._trainings.get(run_id)
            if training is not None and training.stop_seen is None:
                training.stop_seen = time.monotonic()
        self._wake.set()
        try:
            self.store.request_stop(run_id)
        except StoreError:
            if training is None:
                raise

    def warm(self) -> None:
        """Start a worker in advance, so that the next run starts at once."""
        self._pool.warm()

    def problems(self) -> list[str]:
        """What the user should know, in sentences; empty when all is well."""
        return self._faults.sentences()

    def recover(self) -> None:
        """Mark runs whose server and worker are gone as interrupted."""
        catch = self._faults.catch
        with catch("recover"):
            leases = self._own_store.leases()
            self._faults.forget("recover one", all_but=[lease.run_id for lease in leases])
            for lease in leases:
                with catch("recover one", lease.run_id):
                    if self._is_abandoned(lease):
                        self._interrupt(lease)

    def close(self) -> None:
        """End the workers of this queue. Their runs are interrupted; queued runs stay queued."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        self._wake.set()
        self._thread.join(timeout=5.0)
        with self._lock:
            trainings = list(self._trainings.values())
        for training in trainings:
            training.worker.end_gently(patience=2.0)
            training.worker.kill()
            unsaved = training.unsaved or Unsaved((), Ending("interrupted", CLOSED), "")
            with suppress(StoreError):
                self.store.record(
                    training.run_id, training.identity, unsaved.news, ending=unsaved.ending
                )
        if self._owns_pool:
            self._pool.close()
        self.store.close()
        self._own_store.close()

    # The supervising thread.

    def _supervise(self) -> None:
        """Take each step by itself: whatever happens to one run, the others must go on."""
        recovered = purged = time.monotonic()
        while not self._closed:
            self._write_endings()
            for training in list(self._trainings.values()):
                with self._faults.catch("watch", training.run_id):
                    self._watch(training)
            for step in ("watch", "lease"):
                self._faults.forget(step, all_but=self._trainings)
            if time.monotonic() - recovered > _IDLE_POLL:
                self.recover()
                recovered = time.monotonic()
            if time.monotonic() - purged > _PURGE_POLL:
                self._purge()
                purged = time.monotonic()
            self._claim()
            self._wake.wait(_BUSY_POLL if self._trainings else _IDLE_POLL)
            self._wake.clear()

    def _purge(self) -> None:
        with self._faults.catch("purge"):
            self._own_store.purge()

    def _claim(self) -> None:
        with self._faults.catch("claim"):
            # A worker that is about to finish may train the next run.
            while not self._closed and self._kept_workers() < self._limit > len(
                self._own_store.leases()
            ):
                if not self._own_store.has_queued():
                    return
                worker = self._pool.take()
                try:
                    identity = ProcessId.of(worker.process.pid)
                    run_id = self._own_store.claim_next(self._identity, identity, limit=self._limit)
                except BaseException:
                    self._pool.give_back(worker)
                    raise
                if run_id is None:  # another server was faster
                    self._pool.give_back(worker)
                    return
                with self._lock:
                    self._trainings[run_id] = _Training(run_id, worker, identity, self._wake)
                with suppress(OSError):  # it is dead already, which `_watch` will see
                    worker.send(TrainingRequest(run_id, self._own_store.path, identity))

    def _kept_workers(self) -> int:
        return sum(training.keeps_worker for training in self._trainings.values())

    def _watch(self, training: _Training) -> None:
        if training.has_ended():
            self._record_end(training)
            return
        now = time.monotonic()
        if training.unsaved is not None and training.waits:
            with self._faults.catch("ending", training.run_id, before=_UNWRITTEN):
                unsaved = training.unsaved
                self._own_store.record(
                    training.run_id, training.identity, unsaved.news, ending=unsaved.ending
                )
                training.unsaved = None
        with self._faults.catch("lease", training.run_id):  # else what was read before counts
            self._read_lease(training, now)
        if training.end_seen is not None:
            grace = _SAVE_GRACE + SPACE_PATIENCE * training.waits
            late = now - training.end_seen > grace
        else:
            late = training.stop_seen is not None and now - training.stop_seen > _STOP_GRACE
        if late:
            training.worker.kill()
            self._record_end(training)

    def _read_lease(self, training: _Training, now: float) -> None:
        """Read from the store whether to stop, whether it ended, and whether to warm a worker."""
        if training.unsaved is not None:  # it has ended, and may be saving its weights
            training.end_seen = training.end_seen or now
        lease = self._own_store.lease_of(training.run_id)
        if lease is None or lease.state != "running":
            training.end_seen = training.end_seen or now
        if lease is not None and lease.stop_requested:
            training.stop_seen = training.stop_seen or now
        long = now - training.begun > _SHORT
        if long and not training.warmed and self._own_store.epochs_done(training.run_id):
            training.warmed = True
            if not self._own_store.has_queued():  # else the worker trains the next run
                self._warm()

    def _record_end(self, training: _Training) -> None:
        """Record the ending of a run whose process is gone, unless the process did so.

        A process that waits for another request gets the next run, if there is one.
        """
        training.has_ended()
        unsaved = training.unsaved
        if unsaved is None and not training.waits_for_request:
            code = training.worker.process.returncode
            stopped = training.stop_seen is not None
            with self._faults.catch("lease", training.run_id):
                lease = self._own_store.lease_of(training.run_id)
                stopped = stopped or (lease is not None and lease.stop_requested)
            ending = (
                Ending("stopped", _ENDED) if stopped else Ending("failed", _death_sentence(code))
            )
            unsaved = Unsaved((), ending, "")
        if self._may_train_again(training):
            self._pool.give_back(training.worker)
        else:
            training.worker.kill()  # with any processes it left behind
        with self._lock:
            del self._trainings[training.run_id]
            if unsaved is not None:
                self._unwritten[training.run_id] = (training.identity, unsaved)
        self._write_endings()
        if not self._closed:
            self._warm(_DRAWN)

    def _may_train_again(self, training: _Training) -> bool:
        with self._faults.catch("lease", training.run_id):
            return (
                training.waits_for_request
                and self._own_store.has_queued()
                # A process may not return the memory that it frees to the system until it ends.
                and training.worker.resident_bytes < LARGEST_KEPT
            )
        return False

    def _warm(self, after: float = 0.0) -> None:
        with self._faults.catch("warm"):
            self._pool.warm(after)

    def _write_endings(self) -> None:
        for run_id in list(self._unwritten):
            with self._faults.catch("ending", run_id, before=_UNWRITTEN):
                self._write_ending(run_id)

    def _write_ending(self, run_id: str) -> None:
        identity, unsaved = self._unwritten[run_id]
        try:
            self._own_store.record(run_id, identity, unsaved.news, ending=unsaved.ending)
        except StoreError:
            raise
        except Exception as error:  # a number that no table takes: write the ending without it
            self._own_store.record(run_id, identity, ending=unsaved.ending)
            traceback.print_exception(error)
        with self._lock:
            del self._unwritten[run_id]

    def _is_abandoned(self, lease: Lease) -> bool:
        if lease.run_id in self._trainings or lease.run_id in self._unwritten:
            return False
        silence = abs(time.time() - lease.heartbeat)  # the clock may have been set back
        if silence < _SILENCE:
            return False
        # A server that is alive knows best why its worker died.
        served = lease.owner is not None and lease.owner.alive
        if lease.worker is not None and lease.worker.alive:
            return silence > _HUNG and not served
        return silence > _HUNG or not served

    def _interrupt(self, lease: Lease) -> None:
        if lease.worker is not None and lease.worker.alive:
            end_group(lease.worker.pid)
        ending = Ending("interrupted", _INTERRUPTED)
        self._own_store.record(lease.run_id, lease.worker, ending=ending)


def _death_sentence(code: int | None) -> str:
    return (
        f"The training process ended too early ({why_it_died(code)}). "
        "Try a smaller batch, fewer layers or a smaller model."
    )
