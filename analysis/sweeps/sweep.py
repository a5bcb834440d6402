"""Carry out the cells of a grid, here or on a cluster, and keep each in the run store.

Cells go through the interface of `concurrent.futures`. A run is kept when it is over and not
before, so that no dashboard on the same store takes it up, or takes it for abandoned.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Protocol

from analysis.errors import TrainingError
from analysis.options import RunOptions
from analysis.runs.recorder import failure_sentence, versions_now
from analysis.runs.records import SWEPT, Ending, Outcome, Run, TrainingLog
from analysis.runs.store import RunStore
from analysis.sweeps.grid import Grid
from analysis.sweeps.progress import runs_of
from analysis.system.processes import end_group

MOST_TRIES = 3  # of a cell whose process dies while it has no other beside it
_PATIENCE = 20.0  # seconds to wait for another writer: what a cell gave is not lost lightly
_ONE_AT_A_TIME = threading.Lock()  # random states are the process's: a worker's threads take turns
_DIED = (
    "The process that ran it ended {times} times, most often for want of memory. Try a smaller "
    "batch, fewer layers (a smaller ρ) or a smaller model."
)


def run_cell(options: RunOptions, threads: int = 0) -> Outcome:
    """Carry out one run; whatever goes wrong is in the outcome.

    Parameters
    ----------
    options : RunOptions
    threads : int
        Of torch; 0 leaves what the process has.
    """
    with _ONE_AT_A_TIME:
        started, versions = time.time(), versions_now()
        fingerprints: dict[str, str] = {}
        log = TrainingLog()
        try:
            from analysis.training.fine_tune import Training

            if threads:
                import torch

                torch.set_num_threads(threads)
            training = Training(options)
            fingerprints = training.fingerprints
            versions |= {"device": str(training.device)}
            for item in training:
                log.add(item)
            ending = log.ending
        except Exception as error:  # the person gets a sentence, and the sweep goes on
            ending = Ending("failed", failure_sentence(error))
        ending = replace(ending, at=time.time())
        return Outcome(ending, started, log.selection, log.metrics, versions, fingerprints)


def missing_cells(grid: Grid, store: RunStore) -> list[RunOptions]:
    """The cells of a grid that no run in the store has done with the same weights and data."""
    cells = grid.cells()
    found = runs_of(cells, store.runs())
    return [cell for cell in cells if cell not in found or found[cell].state != "done"]


def sweep(
    grid: Grid,
    executor: Executor | None = None,
    *,
    store: RunStore | None = None,
    workers: int = 1,
) -> Iterator[Run]:
    """Carry out the cells of a grid that are not done yet.

    A cell that fails is kept as failed, and the others go on. A worker process of this machine
    that dies is replaced, and what was under way is tried again one by one: a cell whose process
    then dies has `MOST_TRIES` tries. Leaving the iteration, Ctrl-C included, ends the workers;
    what is done stays, and the next sweep goes on from there. Trained weights are not kept.

    Parameters
    ----------
    grid : Grid
    executor : concurrent.futures.Executor, optional
        Where cells run, with a policy of its own for workers that die; by default processes of
        this machine.
    store : RunStore, optional
        The one at the usual place when not given.
    workers : int
        Processes of this machine, when there is no `executor`. They share the cores.

    Yields
    ------
    Run
        As kept, in the order in which they end.

    Raises
    ------
    OptionError
        Naming all that is wrong with the grid.
    StoreError
        If a run cannot be kept.
    TrainingError
        If the workers are out of reach, or cannot run any cell, such as those of a script that
        calls this outside `if __name__ == "__main__":`.
    """
    store = store or RunStore(patience=_PATIENCE)
    cells = missing_cells(grid, store)
    if executor is not None:
        return _sweep(cells, _Elsewhere(executor), store, SWEPT + grid.name)
    return _sweep(cells, _Local(workers), store, SWEPT + grid.name)


class _Place(Protocol):
    """Where cells run."""

    at_once: int  # cells that are given to it and not over

    def submit(self, cell: RunOptions) -> Future[Outcome]: ...

    def close(self) -> None: ...


def _sweep(
    cells: Sequence[RunOptions], place: _Place, store: RunStore, group: str
) -> Iterator[Run]:
    waiting, deaths = deque(cells), Counter[RunOptions]()
    suspects: set[RunOptions] = set()  # one of them ended the processes of all
    going: dict[Future[Outcome], RunOptions] = {}
    try:
        while waiting or going:
            while waiting and len(going) < (1 if suspects else place.at_once):
                cell = waiting.popleft()
                going[place.submit(cell)] = cell
            for future in wait(going, return_when=FIRST_COMPLETED).done:
                cell = going.pop(future)
                outcome = _outcome(future)
                if outcome is None:
                    alone = cell in suspects or place.at_once == 1
                    suspects.add(cell)
                    deaths[cell] += alone
                    if deaths[cell] < MOST_TRIES:
                        waiting.appendleft(cell)
                        continue
                    ending = Ending("failed", _DIED.format(times=deaths[cell]), at=time.time())
                    outcome = Outcome(ending, ending.at)
                suspects.discard(cell)
                run = store.run(store.keep(cell, outcome, group=group))
                assert run is not None, "what was kept can be read"
                yield run
    finally:
        for future in going:
            future.cancel()
        place.close()


def _outcome(future: Future[Outcome]) -> Outcome | None:
    """What a cell gave; None if its process died and another may be tried."""
    try:
        return future.result()
    except BrokenExecutor:
        return None
    except CancelledError as error:
        raise TrainingError(
            "The workers are out of reach: the connection to the scheduler was lost. What is done "
            "is kept; the same command goes on from there."
        ) from error
    except Exception as error:
        # Dask's, by name, as Dask need not be installed: it tried elsewhere by itself.
        if type(error).__name__ == "KilledWorker":
            ending = Ending("failed", _DIED.format(times="several"), at=time.time())
            return Outcome(ending, ending.at)
        raise TrainingError(
            f"The workers cannot run the cells ({type(error).__name__}: {error}). Each needs this "
            "version of BettiScope with its requirements: start them in its folder."
        ) from error


class _Elsewhere:
    """An executor that others made, and end."""

    at_once = 2**31  # it has a queue of its own

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, cell: RunOptions) -> Future[Outcome]:
        try:
            return self._executor.submit(run_cell, cell)
        except BrokenExecutor as error:
            raise TrainingError(
                f"The executor takes no more cells, as its workers died ({error}). What is done "
                "is kept: sweep again with a new executor."
            ) from error

    def close(self) -> None:
        """Nothing: the cells that wait were cancelled one by one."""


class _Local:
    """Processes of this machine. They end when told to, and when this process is gone."""

    def __init__(self, workers: int) -> None:
        # No more at once than workers: whichever is under way when one dies is suspect.
        self.at_once = max(1, workers)
        self._threads = 0 if workers < 2 else max(1, (os.cpu_count() or 1) // workers)
        self._context = multiprocessing.get_context("spawn")
        self._began = False  # whether a worker ever came as far as a cell
        self._start()

    def _start(self) -> None:
        ends, self._alive = self._context.Pipe()
        self._executor = ProcessPoolExecutor(
            self.at_once, self._context, initializer=_exit_with_parent, initargs=(ends,)
        )

    def submit(self, cell: RunOptions) -> Future[Outcome]:
        with _without_ctrl_c():
            try:
                return self._executor.submit(run_cell, cell, self._threads)
            except BrokenExecutor as error:
                self._began = self._began or self._alive.poll()
                self.close()
                if not self._began:
                    raise TrainingError(
                        "The worker processes end before they come to a cell. A script that calls "
                        '`sweep` has to do so below `if __name__ == "__main__":`, as each of them '
                        "imports it."
                    ) from error
                self._start()
                return self._executor.submit(run_cell, cell, self._threads)

    def close(self) -> None:
        self._alive.close()
        self._executor.shutdown(cancel_futures=True)


def _exit_with_parent(ends: Connection) -> None:
    """In a worker: end at once when the pipe is closed, by the other process or by its death.

    Whatever it started, such as Ripser's processes, ends with it.
    """
    with suppress(OSError):  # it may be closed already
        ends.send(None)  # it begins
    if hasattr(os, "setsid"):
        os.setsid()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        wait_for([ends] if parent is None else [ends, parent.sentinel])
        end_group(os.getpid())
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C, which a terminal sends to them as well."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
