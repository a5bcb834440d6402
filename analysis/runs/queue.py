"""The queue of fine-tunes: who runs next, in which process, and what if that process dies.

Any number of servers and sessions may have a queue on one store. The store decides who gets a
run; each queue watches the workers that it started, and cleans up after servers that are gone.
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
from analysis.options import RunOptions
from analysis.runs.faults import Faults
from analysis.runs.recorder import CLOSED, TrainingRequest, Unsaved
from analysis.runs.records import Ending, Lease
from analysis.runs.store import RunStore
from analysis.system.processes import ProcessId, Worker, WorkerPool, end_group, why_it_died

_BUSY_POLL = 0.2  # seconds between two looks while a worker of this queue trains
_IDLE_POLL = 0.7  # seconds between two looks for runs that another process queued
_STOP_GRACE = 1.3  # seconds that a worker has to stop by itself
_SAVE_GRACE = 30.0  # seconds that a worker whose run has ended has to save weights
_PATIENCE = 0.3  # seconds to wait for another writer before other runs are looked after
_SILENCE = 3.0  # seconds without a sign of life before a worker can be taken for dead
_PURGE_POLL = 3600.0  # seconds between two removals of what was deleted long ago
_HUNG = 30.0  # seconds of silence after which a worker without a server is ended
_INTERRUPTED = "The dashboard or the computer was shut down during the run."
_ENDED = "Its last step took long, so it was ended at once, without saving the trained weights."


class _Training:
    """A run under way in a worker of this queue."""

    def __init__(self, run_id: str, worker: Worker, identity: ProcessId, wake: threading.Event):
        self.run_id = run_id
        self.worker = worker
        self.identity = identity
        self.unsaved: Unsaved | None = None
        self.stop_seen: float | None = None  # when Stop was first heard of; seconds, monotonic
        self.end_seen: float | None = None  # when the store first said that it ended
        self.warmed = False  # the next worker has been started
        self._wake = wake
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _follow(self) -> None:
        """Wait for the end of the worker, and for what it could not write."""
        with suppress(Exception):  # whatever a dying process sends
            while True:
                message = self.worker.receive()
                if isinstance(message, Unsaved):
                    self.unsaved = message
        self._wake.set()

    def over(self) -> bool:
        """Whether its process has ended, and said all it had to say."""
        if self.worker.alive:
            return False
        self._follower.join(timeout=1.0)
        return True


class RunQueue:
    """The fine-tunes that one server looks after.

    Parameters
    ----------
    store : RunStore, optional
        The one at the usual place when not given.
    pool : WorkerPool, optional
        Of waiting workers, to share with `analysis.jobs.jobs.Jobs`.
    limit : int
        Trainings at a time, over all processes that share the store.
    """

    def __init__(
        self, store: RunStore | None = None, *, pool: WorkerPool | None = None, limit: int = 1
    ) -> None:
        self.store = store or RunStore()  # which pages read and write through
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
            If they cannot be kept; none is queued then.
        """
        ids = self.store.add(options, group=group)
        self._wake.set()
        return ids

    def stop(self, run_id: str) -> None:
        """End a run within two seconds, keeping what it has; a queued one at once.

        Raises
        ------
        StoreError
            If the store cannot be told. A run in a worker of this queue ends all the same.
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
        """Have a worker ready, so that the next run starts at once."""
        self._pool.warm()

    def problems(self) -> list[str]:
        """What a person should know of the store, in sentences; empty when all is well."""
        return self._faults.sentences()

    def recover(self) -> None:
        """Mark the runs whose server and worker are gone as interrupted."""
        telling = self._faults.telling
        with telling("recover"):
            leases = self._own_store.leases()
            self._faults.forget("recover one", all_but=[lease.run_id for lease in leases])
            for lease in leases:
                with telling("recover one", lease.run_id):
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
        """Each step by itself: whatever happens to one run, the others must go on."""
        looked = purged = time.monotonic()
        while not self._closed:
            self._write_the_rest()
            for training in list(self._trainings.values()):
                with self._faults.telling("watch", training.run_id):
                    self._watch(training)
            for about in ("watch", "look"):
                self._faults.forget(about, all_but=self._trainings)
            if time.monotonic() - looked > _IDLE_POLL:
                self.recover()
                looked = time.monotonic()
            if time.monotonic() - purged > _PURGE_POLL:
                self._purge()
                purged = time.monotonic()
            self._claim()
            self._wake.wait(_BUSY_POLL if self._trainings else _IDLE_POLL)
            self._wake.clear()

    def _purge(self) -> None:
        with self._faults.telling("purge"):
            self._own_store.purge()

    def _claim(self) -> None:
        with self._faults.telling("claim"):
            while not self._closed and len(self._own_store.leases()) < self._limit:
                if not self._own_store.waiting():
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
                with suppress(OSError):  # it has died already, which is seen like any death
                    worker.send(TrainingRequest(run_id, self._own_store.path, identity))

    def _watch(self, training: _Training) -> None:
        if training.over():
            self._finish(training)
            return
        now = time.monotonic()
        with self._faults.telling("look", training.run_id):  # else judged by what was seen before
            self._look(training, now)
        if training.end_seen is not None:
            late = now - training.end_seen > _SAVE_GRACE
        else:
            late = training.stop_seen is not None and now - training.stop_seen > _STOP_GRACE
        if late:
            training.worker.kill()
            self._finish(training)

    def _look(self, training: _Training, now: float) -> None:
        """Hear from the store of Stop, of the end, and of the first epoch."""
        if training.unsaved is not None:  # it has ended, and may be saving its weights
            training.end_seen = training.end_seen or now
        lease = self._own_store.lease_of(training.run_id)
        if lease is None or lease.state != "running":
            training.end_seen = training.end_seen or now
        if lease is not None and lease.stop_requested:
            training.stop_seen = training.stop_seen or now
        if not training.warmed and self._own_store.epochs_done(training.run_id):
            training.warmed = True
            self._warm()

    def _finish(self, training: _Training) -> None:
        """Write down how a run ended whose process is gone, unless it did so itself."""
        training.over()
        unsaved = training.unsaved
        if unsaved is None:
            code = training.worker.process.returncode
            stopped = training.stop_seen is not None
            with self._faults.telling("look", training.run_id):
                lease = self._own_store.lease_of(training.run_id)
                stopped = stopped or (lease is not None and lease.stop_requested)
            ending = Ending("stopped", _ENDED) if stopped else Ending("failed", _death(code))
            unsaved = Unsaved((), ending, "")
        training.worker.kill()  # with the processes that it may have left behind
        with self._lock:
            del self._trainings[training.run_id]
            self._unwritten[training.run_id] = (training.identity, unsaved)
        self._write_the_rest()
        if not self._closed:
            self._warm()

    def _warm(self) -> None:
        with self._faults.telling("warm"):
            self._pool.warm()

    def _write_the_rest(self) -> None:
        for run_id in list(self._unwritten):
            before = "How a run ended could not be saved yet. "
            with self._faults.telling("ending", run_id, before=before):
                self._write_ending(run_id)

    def _write_ending(self, run_id: str) -> None:
        identity, unsaved = self._unwritten[run_id]
        try:
            self._own_store.record(run_id, identity, unsaved.news, ending=unsaved.ending)
        except StoreError:
            raise
        except Exception as error:  # a number that no table takes: better without it than never
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
        # A server that lives knows better than anybody else why its worker died.
        served = lease.owner is not None and lease.owner.alive
        if lease.worker is not None and lease.worker.alive:
            return silence > _HUNG and not served
        return silence > _HUNG or not served

    def _interrupt(self, lease: Lease) -> None:
        if lease.worker is not None and lease.worker.alive:
            end_group(lease.worker.pid)
        ending = Ending("interrupted", _INTERRUPTED)
        self._own_store.record(lease.run_id, lease.worker, ending=ending)


def _death(code: int | None) -> str:
    return (
        f"The training process ended before it was done ({why_it_died(code)}). "
        "Try a smaller batch, fewer layers or a smaller model."
    )
