"""A real Dask cluster, one of whose workers is killed in the middle of a cell.

The training in the workers is `stand_in/training.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest

import analysis.sweeps.dask_cluster
from analysis.errors import OptionError, TrainingError
from analysis.runs.store import RunStore
from analysis.sweeps.dask_cluster import dask_cluster
from analysis.sweeps.progress import _Fingerprints
from analysis.sweeps.sweep import sweep
from tests.analysis.run_faults import ROOT, STAND_IN, wait_until
from tests.analysis.sweeps.test_sweep import Consumer, grid, log_entries, seeds_and_states


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[distributed.LocalCluster]:
    """Two worker processes, as an operator starts them in the project's folder."""
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{STAND_IN}{os.pathsep}{ROOT}")
    fingerprints = {"model": "m", "data": "d"}  # those of the stand-in
    monkeypatch.setattr(_Fingerprints, "of", lambda self, cell: fingerprints)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50,
        local_directory=str(tmp_path),
    ) as cluster:  # fmt: skip
        yield cluster
        (tmp_path / "go").touch()  # so that no cell waits for ever after a failed test


def test_the_other_worker_runs_the_cells_of_a_killed_one(
    cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    small = grid("waits", 3)
    with dask_cluster(cluster.scheduler_address) as connected:
        assert connected.workers == 2
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
        consumer = Consumer(sweep(small, connected.executor))
        wait_until(lambda: len(log_entries(tmp_path)) == 2)
        (killed, pid), _ = log_entries(tmp_path)
        os.kill(pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        runs = consumer.finish()
    assert [seed for seed, _ in log_entries(tmp_path)].count(killed) == 2
    assert cluster.scheduler.task_prefixes["run_cell"].suspicious, "a cell died with its worker"
    assert seeds_and_states(runs) == [(0, "done"), (1, "done"), (2, "done")]
    assert len(RunStore().runs()) == 3
    assert all(run.result is not None and run.selection is not None for run in runs)
    assert logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
    assert list(sweep(small)) == [], "what the cluster did is not done again here"


def test_a_silent_scheduler_gives_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert analysis.sweeps.dask_cluster._ANSWER_SECONDS < 10
    monkeypatch.setattr(analysis.sweeps.dask_cluster, "_ANSWER_SECONDS", 0.5)
    with (
        pytest.raises(TrainingError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9 "),
        dask_cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_an_invalid_address_is_an_error() -> None:
    with pytest.raises(OptionError, match="got 'nonsense'"), dask_cluster("nonsense"):
        pass


def test_another_program_at_the_address_is_an_error() -> None:
    """For example the scheduler's web page, whose port is one digit away."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 100)

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TrainingError, match="is not a Dask scheduler"), dask_cluster(address):
            pass
        thread.join()


def test_without_dask_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with (
        pytest.raises(OptionError, match=r"pip install -r requirements-cluster\.txt"),
        dask_cluster("tcp://127.0.0.1:8786"),
    ):
        pass
    assert (ROOT / "requirements-cluster.txt").exists()
