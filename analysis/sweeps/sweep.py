"""Run the cells of a grid, here or on a cluster, and save each in the run store.

Cells go through the interface of `concurrent.futures`. A run is saved only when it has ended, so
that no dashboard on the same store starts it or interrupts it.
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

MOST_TRIES = 3  # of a cell whose process dies while no other cell runs
_PATIENCE = 20.0  # seconds to wait for another writer, as a cell's result is costly
_ONE_AT_A_TIME = threading.Lock()  # threads of a worker take turns: they share random states
_DIED = (
    "Its process ended {times} times, most often because memory ran out. Try a smaller batch, "
    "fewer layers (a smaller ρ) or a smaller model."
)


def run_cell(options: RunOptions, threads: int = 0) -> Outcome:
    """Train one run; an error becomes part of the outcome.

    Parameters
    ----------
    options : RunOptions
    threads : int
        Of torch; 0 keeps the number that the process has.
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
            # Nobody watches the layers of a grid's cells while they train.
            recipe = replace(options.recipe, follow_topology=False)
            training = Training(replace(options, recipe=recipe))
            fingerprints = training.fingerprints
            versions |= {"device": str(training.device)}
            for item in training:
                log.add(item)
            ending = log.ending
        except Exception as error:  # the user gets a sentence, and the sweep goes on
            ending = Ending("failed", failure_sentence(error))
        ending = replace(ending, at=time.time())
        return Outcome(ending, started, log.selection, log.metrics, versions, fingerprints)


def missing_cells(grid: Grid, store: RunStore) -> list[RunOptions]:
    """The cells of a grid without a done run with the same weights and data in the store."""
    cells = grid.cells()
    runs = runs_of(cells, store.runs())
    return [cell for cell in cells if cell not in runs or runs[cell].state != "done"]


def sweep(
    grid: Grid,
    executor: Executor | None = None,
    *,
    store: RunStore | None = None,
    workers: int = 1,
) -> Iterator[Run]:
    """Run the cells of a grid that are not done yet.

    A cell that fails is saved as failed, and the others go on. A worker process of this machine
    that dies is replaced, and the cells that were running are tried again one by one: a cell
    whose process then dies has `MOST_TRIES` tries. Leaving the iteration, also by Ctrl-C, ends
    the workers; done cells stay, and the next sweep goes on from there. Trained weights are not
    saved.

    Parameters
    ----------
    grid : Grid
    executor : concurrent.futures.Executor, optional
        Where cells run, with its own policy for workers that die; by default processes of this
        machine.
    store : RunStore, optional
        By default the one in BettiScope's folder.
    workers : int
        Processes of this machine, when there is no `executor`. They share the cores.

    Yields
    ------
    Run
        As saved, in the order in which they end.

    Raises
    ------
    OptionError
        Naming everything that is wrong with the grid.
    StoreError
        If a run cannot be saved.
    TrainingError
        If the workers are out of reach, or cannot run any cell, such as those of a script that
        calls this outside `if __name__ == "__main__":`.
    """
    store = store or RunStore(patience=_PATIENCE)
    cells = missing_cells(grid, store)
    if executor is not None:
        return _sweep(cells, _Remote(executor), store, SWEPT + grid.name)
    return _sweep(cells, _Local(workers), store, SWEPT + grid.name)


class _Place(Protocol):
    """Where cells run."""

    at_once: int  # cells submitted to it that have not ended

    def submit(self, cell: RunOptions) -> Future[Outcome]: ...

    def close(self) -> None: ...


def _sweep(
    cells: Sequence[RunOptions], place: _Place, store: RunStore, group: str
) -> Iterator[Run]:
    waiting, deaths = deque(cells), Counter[RunOptions]()
    suspects: set[RunOptions] = set()  # one of them ended the processes of all
    running: dict[Future[Outcome], RunOptions] = {}
    try:
        while waiting or running:
            while waiting and len(running) < (1 if suspects else place.at_once):
                cell = waiting.popleft()
                running[place.submit(cell)] = cell
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(future)
                outcome = _outcome(future)
                if outcome is None:
                    ran_by_itself = cell in suspects or place.at_once == 1
                    suspects.add(cell)
                    deaths[cell] += ran_by_itself
                    if deaths[cell] < MOST_TRIES:
                        waiting.appendleft(cell)
                        continue
                    ending = Ending("failed", _DIED.format(times=deaths[cell]), at=time.time())
                    outcome = Outcome(ending, ending.at)
                suspects.discard(cell)
                run = store.run(store.keep(cell, outcome, group=group))
                assert run is not None, "a saved run can be read"
                yield run
    finally:
        for future in running:
            future.cancel()
        place.close()


def _outcome(future: Future[Outcome]) -> Outcome | None:
    """The outcome of a cell; None if its process died and another one may be tried."""
    try:
        return future.result()
    except BrokenExecutor:
        return None
    except CancelledError as error:
        raise TrainingError(
            "The connection to the scheduler was lost. Finished cells are saved; run the same "
            "command again to go on."
        ) from error
    except Exception as error:
        # Dask's, by name, as Dask may not be installed. It has tried other workers already.
        if type(error).__name__ == "KilledWorker":
            ending = Ending("failed", _DIED.format(times="several"), at=time.time())
            return Outcome(ending, ending.at)
        raise TrainingError(
            f"The workers cannot run the cells ({type(error).__name__}: {error}). Install this "
            "version of BettiScope on each of them, and start them in its folder."
        ) from error


class _Remote:
    """The caller's executor, which the caller ends."""

    at_once = 2**31  # it has its own queue

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, cell: RunOptions) -> Future[Outcome]:
        try:
            return self._executor.submit(run_cell, cell)
        except BrokenExecutor as error:
            raise TrainingError(
                f"The executor takes no more cells, as its workers died ({error}). Finished cells "
                "are saved; sweep again with a new executor."
            ) from error

    def close(self) -> None:
        """Do nothing: `_sweep` has cancelled the waiting cells."""


class _Local:
    """Processes of this machine. They end with `close`, and when this process is gone."""

    def __init__(self, workers: int) -> None:
        # No more cells at once than workers: each of them is a suspect when a worker dies.
        self.at_once = max(1, workers)
        self._threads = 0 if workers < 2 else max(1, (os.cpu_count() or 1) // workers)
        self._context = multiprocessing.get_context("spawn")
        self._began = False  # whether a worker ever started
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
                        "The worker processes end before their first cell. They import the "
                        "script that calls `sweep`: call it below "
                        '`if __name__ == "__main__":`.'
                    ) from error
                self._start()
                return self._executor.submit(run_cell, cell, self._threads)

    def close(self) -> None:
        self._alive.close()
        self._executor.shutdown(cancel_futures=True)


def _exit_with_parent(ends: Connection) -> None:
    """In a worker: end at once when the parent process closes the pipe or dies.

    Processes that the worker started, such as Ripser's, end with it.
    """
    with suppress(OSError):  # it may be closed already
        ends.send(None)  # this worker has started
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
    """Start processes that ignore Ctrl-C, which a terminal sends to them as well."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
