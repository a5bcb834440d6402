"""Sweeps: workers really killed, sweeps really interrupted and resumed.

The training in the workers is `stand_in/training.py`, except in two tests.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from analysis.errors import OptionError, TrainingError
from analysis.options import Recipe, RunOptions
from analysis.runs.queue import RunQueue
from analysis.runs.records import Outcome, Run
from analysis.runs.store import RunStore
from analysis.sweeps.grid import DataChoice, Grid
from analysis.sweeps.progress import _Fingerprints
from analysis.sweeps.sweep import MOST_TRIES, _sweep, run_cell, sweep
from tests.analysis.run_faults import KINDS, ROOT, STAND_IN, wait_until
from tests.grid_factories import outcome
from tests.serving import restore_ctrl_c


def grid(kind: str, seeds: int, strategies: tuple[str, ...] = ("head",)) -> Grid:
    """Cells for the stand-in training, whose kind `train_samples` says."""
    base = RunOptions(train_samples=KINDS.index(kind), recipe=Recipe(epochs=2))
    return Grid(
        "tiny", ("pocket-vgg",), (DataChoice("digits"),), strategies, tuple(range(seeds)), base
    )


REAL = replace(grid("quick", 1), base=RunOptions(train_samples=40, recipe=Recipe(epochs=1)))


@pytest.fixture
def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder with the log of the workers."""
    home.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    fingerprints = {"model": "m", "data": "d"}  # those of the stand-in
    monkeypatch.setattr(_Fingerprints, "of", lambda self, cell: fingerprints)
    yield home
    (home / "go").touch()  # so that no cell waits for ever after a failed test


def log_entries(home: Path, event: str = "begins") -> list[tuple[int, int]]:
    """Seed and process of every log entry of an event, in order."""
    log = home / "log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [(int(seed), int(pid)) for _, seed, what, pid in lines if what == event]


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def seeds_and_states(runs: list[Run]) -> list[tuple[int, str]]:
    return sorted((run.options.recipe.seed, run.state) for run in runs)


class Consumer:
    """Iterates over a sweep in a thread, so that the test can act at the same time."""

    def __init__(self, runs: Iterator[Run]) -> None:
        self.runs: list[Run] = []
        self._thread = threading.Thread(target=lambda: self.runs.extend(runs), daemon=True)
        self._thread.start()

    def finish(self) -> list[Run]:
        self._thread.join(timeout=60)
        assert not self._thread.is_alive(), "the sweep did not end"
        return self.runs


def test_a_cell_is_saved_like_any_run(stand_in: Path) -> None:
    store = RunStore()
    first, second = sweep(grid("quick", 2))
    assert store.runs() == [second, first]
    assert (first.state, first.group, first.is_grid_cell) == ("done", "grid:tiny", True)
    assert first.options == grid("quick", 2).cells()[0]
    assert first.result is not None
    assert first.result.test_accuracy == 0.625
    assert first.selection is not None
    assert first.selection.layers == ("fc", "conv")
    assert (first.versions["device"], first.fingerprints) == (
        "a device",
        {"model": "m", "data": "d"},
    )
    assert first.started is not None
    assert first.ended is not None
    assert first.started <= first.ended <= second.ended  # type: ignore[operator]
    metrics = store.metrics(first.id)
    assert [step.step for step in metrics.steps] == list(range(1, 11))
    assert [epoch.epoch for epoch in metrics.epochs] == [1, 2]
    assert [sample.peak.total for sample in metrics.memory] == [15]
    assert first.revision < second.revision == store.revision()


def test_a_sweep_resumes_where_it_stopped(stand_in: Path) -> None:
    small = grid("quick", 3)
    left = sweep(small)
    next(left)
    left.close()
    pids = {pid for _, pid in log_entries(stand_in)}
    assert len(pids) == 1
    wait_until(lambda: all(map(has_ended, pids)))
    assert seeds_and_states(RunStore().runs()) == [(0, "done")]
    assert seeds_and_states(list(sweep(small))) == [(1, "done"), (2, "done")]
    assert list(sweep(small)) == []
    assert len(RunStore().runs()) == 3


def test_a_killed_worker_is_replaced(stand_in: Path) -> None:
    consumer = Consumer(sweep(grid("waits", 2)))
    wait_until(lambda: log_entries(stand_in))
    ((seed, pid),) = log_entries(stand_in)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(log_entries(stand_in)) > 1)
    (stand_in / "go").touch()
    assert seeds_and_states(consumer.finish()) == [(0, "done"), (1, "done")]
    assert len(RunStore().runs()) == 2
    assert [seed for seed, _ in log_entries(stand_in)] == [seed, 0, 1]


def test_a_cell_that_kills_its_workers_fails_and_the_others_go_on(stand_in: Path) -> None:
    consumer = Consumer(sweep(grid("waits", 2)))
    for times in range(MOST_TRIES):
        wait_until(lambda times=times: len(log_entries(stand_in)) > times)  # type: ignore[misc]
        os.kill(log_entries(stand_in)[times][1], signal.SIGKILL)
    (stand_in / "go").touch()
    failed, done = consumer.finish()
    assert (failed.options.recipe.seed, failed.state) == (0, "failed")
    assert f"ended {MOST_TRIES} times, most often because memory ran out" in failed.error
    assert (done.options.recipe.seed, done.state) == (1, "done")


def test_other_cells_finish_when_one_kills_its_workers(stand_in: Path) -> None:
    runs = list(sweep(grid("killed", 3), workers=2))
    assert seeds_and_states(runs) == [(0, "failed"), (1, "done"), (2, "done")]
    assert seeds_and_states(RunStore().runs()) == seeds_and_states(runs)
    assert [seed for seed, _ in log_entries(stand_in)].count(0) >= MOST_TRIES


class Pool:
    """Two workers that work only inside `wait`; the cell of seed 0 kills them."""

    at_once = 2

    def __init__(self) -> None:
        self.seen: list[list[int]] = []  # the running seeds at each call of `wait`
        self.died: list[list[int]] = []  # and at each death of the workers
        self._going: dict[Future[Outcome], RunOptions] = {}
        self._broken: list[Future[Outcome]] = []

    def submit(self, cell: RunOptions) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self._going[future] = cell
        return future

    def wait(self, futures: Iterable[Future[Outcome]], return_when: str) -> object:
        """End one cell, or report that its worker died."""
        seeds = [cell.recipe.seed for cell in self._going.values()]
        self.seen.append(seeds)
        if not self._broken and 0 in seeds:
            self._broken = list(self._going)
            self.died.append(seeds)
        if self._broken:
            del self._going[self._broken[0]]
            self._broken.pop(0).set_exception(BrokenExecutor())
        else:
            future, cell = self._going.popitem()
            future.set_result(outcome(cell))
        return wait(futures, return_when=return_when)

    def close(self) -> None:
        """Do nothing."""


def test_only_deaths_of_a_cell_that_ran_by_itself_count(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, cells = Pool(), grid("quick", 4).cells()
    monkeypatch.setattr("analysis.sweeps.sweep.wait", pool.wait)
    runs = list(_sweep(cells, pool, RunStore(), "grid:tiny"))
    assert seeds_and_states(runs) == [(0, "failed"), (1, "done"), (2, "done"), (3, "done")]
    assert seeds_and_states(RunStore().runs()) == seeds_and_states(runs)
    assert pool.died == [[0, 1], *[[0]] * MOST_TRIES]
    assert [2, 3] in pool.seen
    (failed,) = (run for run in runs if run.state == "failed")
    assert f"ended {MOST_TRIES} times" in failed.error


def test_no_queue_sees_a_cell_before_it_has_ended(stand_in: Path) -> None:
    consumer = Consumer(sweep(grid("waits", 1)))
    wait_until(lambda: log_entries(stand_in))
    queue = RunQueue()
    try:
        assert queue.store.runs() == []
        (stand_in / "go").touch()
        consumer.finish()
        queue.recover()
        (run,) = queue.store.runs()
        assert run.state == "done"
        assert not queue.store.has_queued()
    finally:
        queue.close()
    assert len(log_entries(stand_in)) == 1


def test_a_cell_that_fails_is_tried_again_by_the_next_sweep_only(stand_in: Path) -> None:
    small = grid("training error", 2)
    runs = list(sweep(small))
    assert seeds_and_states(runs) == [(0, "failed"), (1, "failed")]
    assert {run.error for run in runs} == {"`train_samples` must be at most 7."}
    assert len(list(sweep(small))) == 2


def test_two_workers_run_two_cells_at_once(stand_in: Path) -> None:
    consumer = Consumer(sweep(grid("waits", 3), workers=2))
    wait_until(lambda: len(log_entries(stand_in)) == 2)
    (stand_in / "go").touch()
    assert len(consumer.finish()) == 3
    assert len({pid for _, pid in log_entries(stand_in)}) == 2


def command(*arguments: str) -> subprocess.Popen[str]:
    """The command line in a group of its own, as a terminal starts it."""
    base = ["--models", "pocket-vgg", "--datasets", "digits", "--strategies", "head"]
    return subprocess.Popen(
        [sys.executable, "-m", "analysis", "sweep", *base, "--epochs", "2", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=restore_ctrl_c,
    )  # fmt: skip


def test_ctrl_c_ends_everything_without_a_traceback(stand_in: Path) -> None:
    process = command("--train-samples", str(KINDS.index("starts a process")))
    wait_until(lambda: log_entries(stand_in, "has"))
    os.killpg(process.pid, signal.SIGINT)  # to the workers as well, as terminals do
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped"
    assert "Traceback" not in errors
    for _, pid in log_entries(stand_in) + log_entries(stand_in, "has"):
        wait_until(lambda pid=pid: has_ended(pid))  # type: ignore[misc]
    assert RunStore().runs() == []


def test_workers_end_when_their_sweep_is_killed(stand_in: Path) -> None:
    process = command("--train-samples", str(KINDS.index("starts a process")))
    wait_until(lambda: log_entries(stand_in, "has"))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    for _, pid in log_entries(stand_in) + log_entries(stand_in, "has"):
        wait_until(lambda pid=pid: has_ended(pid))  # type: ignore[misc]


def test_a_script_without_a_main_guard_gets_a_clear_error(home: Path) -> None:
    home.mkdir()
    script = home / "script.py"
    script.write_text(
        "from analysis.errors import TrainingError\n"
        "from analysis.sweeps.sweep import sweep\n"
        "from tests.analysis.sweeps.test_sweep import grid\n"
        "try:\n"
        "    list(sweep(grid('quick', 2)))\n"
        "except TrainingError as error:\n"
        "    print(error)\n"
    )
    process = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60,
        env=os.environ | {"PYTHONPATH": f"{STAND_IN}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert 'below `if __name__ == "__main__":`' in process.stdout
    assert RunStore().runs() == []


def test_an_own_pool_that_breaks_gives_one_sentence(stand_in: Path) -> None:
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(TrainingError, match="sweep again with a new executor"),
    ):
        list(sweep(grid("killed", 2), pool))


def test_threads_of_one_process_take_turns(stand_in: Path) -> None:
    """As in a Dask worker: they share random states."""
    program = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from analysis.sweeps.sweep import run_cell\n"
        "from tests.analysis.run_faults import run_of_kind\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    runs = [run_of_kind('quick', seed=seed) for seed in (0, 1)]\n"
        "    list(pool.map(run_cell, runs))\n"
    )
    folders = f"{STAND_IN}{os.pathsep}{ROOT}"
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60,
        env=os.environ | {"PYTHONPATH": folders},
    )  # fmt: skip
    events = [line.split()[2] for line in (stand_in / "log").read_text().splitlines()]
    assert events == ["begins", "ends", "begins", "ends"]


class Answers(Executor):
    """Gives each cell the answer of a function."""

    def __init__(self, answer: Callable[[RunOptions], Outcome]) -> None:
        self.submitted: list[RunOptions] = []
        self._answer = answer

    def submit(
        self, fn: Callable[..., Outcome], /, *args: RunOptions, **_: object
    ) -> Future[Outcome]:  # type: ignore[override]
        assert fn is run_cell
        self.submitted += args
        future: Future[Outcome] = Future()
        try:
            future.set_result(self._answer(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def test_another_executor_is_given_every_cell_at_once(home: Path) -> None:
    small = grid("quick", 3)
    executor = Answers(outcome)
    runs = sweep(small, executor)
    next(runs)
    assert executor.submitted == small.cells()
    assert len([*runs]) == 2
    assert list(sweep(small, executor)) == []
    assert len(executor.submitted) == 3


def test_a_cell_that_the_cluster_gives_up_fails_and_the_others_go_on(home: Path) -> None:
    class KilledWorker(Exception):
        """Dask's, by name."""

    def answer(cell: RunOptions) -> Outcome:
        if cell.recipe.seed == 0:
            raise KilledWorker
        return outcome(cell)

    runs = list(sweep(grid("quick", 2), Answers(answer)))
    assert seeds_and_states(runs) == [(0, "failed"), (1, "done")]
    assert "several times" in min(runs, key=lambda run: run.options.recipe.seed).error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CancelledError(), "connection to the scheduler was lost"),
        (ModuleNotFoundError("No module named 'analysis'"), "start them in its folder"),
    ],
)
def test_workers_that_cannot_run_cells_end_the_sweep(
    home: Path, error: Exception, sentence: str
) -> None:
    def answer(cell: RunOptions) -> Outcome:
        raise error

    with pytest.raises(TrainingError, match=sentence):
        list(sweep(grid("quick", 2), Answers(answer)))
    assert RunStore().runs() == []


def test_a_bad_grid_is_an_error_before_anything_starts(home: Path) -> None:
    with pytest.raises(OptionError, match="resnet5000"):
        sweep(replace(grid("quick", 1), models=("resnet5000",)))


def test_a_real_cell_is_found_again_by_its_fingerprints(home: Path) -> None:
    (cell,) = REAL.cells()
    result = run_cell(cell, threads=1)
    assert result.ending.error == ""
    runs = list(sweep(REAL, Answers(lambda _: result)))
    assert [run.state for run in runs] == ["done"]
    assert runs[0].options.deciding() == cell.deciding()
    assert len(RunStore().metrics(runs[0].id).steps) == 2
    assert list(sweep(REAL, Answers(lambda _: result))) == []


def test_a_real_cell_that_cannot_train_says_why(home: Path) -> None:
    nothing = replace(REAL.base, preset="released", rho=0.01)
    (cell,) = replace(REAL, strategies=("random",), base=nothing).cells()
    ending = run_cell(cell).ending
    assert ending.state == "failed"
    assert ending.error.startswith("Nothing would train")
