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
from tests.analysis.sweeps.test_sweep import Consumer, begun, grid, seeds_and_states


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[distributed.LocalCluster]:
    """Two worker processes, as an operator starts them in the project's folder."""
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{STAND_IN}{os.pathsep}{ROOT}")
    told = {"model": "m", "data": "d"}  # as the stand-in does
    monkeypatch.setattr(_Fingerprints, "of", lambda self, cell: told)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50,
        local_directory=str(tmp_path),
    ) as found:  # fmt: skip
        yield found
        (tmp_path / "go").touch()  # lest a test that failed leave a cell that waits for ever


def test_the_cells_of_a_killed_worker_are_done_by_the_other(
    cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    asked = grid("waits", 3)
    with dask_cluster(cluster.scheduler_address) as found:
        assert found.workers == 2
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
        consumer = Consumer(sweep(asked, found.executor))
        wait_until(lambda: len(begun(tmp_path)) == 2)
        (killed, pid), _ = begun(tmp_path)
        os.kill(pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        runs = consumer.finish()
    assert [seed for seed, _ in begun(tmp_path)].count(killed) == 2
    assert cluster.scheduler.task_prefixes["run_cell"].suspicious, "a cell died with its worker"
    assert seeds_and_states(runs) == [(0, "done"), (1, "done"), (2, "done")]
    assert len(RunStore().runs()) == 3
    assert all(run.result is not None and run.selection is not None for run in runs)
    assert logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)
    assert list(sweep(asked)) == [], "what the cluster did is not done again here"


def test_a_scheduler_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert analysis.sweeps.dask_cluster._ANSWER_SECONDS < 10
    monkeypatch.setattr(analysis.sweeps.dask_cluster, "_ANSWER_SECONDS", 0.5)
    with (
        pytest.raises(TrainingError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9 "),
        dask_cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(OptionError, match="got 'nonsense'"), dask_cluster("nonsense"):
        pass


def test_something_else_at_the_address_is_told() -> None:
    """Such as the scheduler's own web page, whose port is one digit away."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 100)

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TrainingError, match="is no Dask scheduler"), dask_cluster(address):
            pass
        thread.join()


def test_without_dask_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with (
        pytest.raises(OptionError, match=r"pip install -r requirements-cluster\.txt"),
        dask_cluster("tcp://127.0.0.1:8786"),
    ):
        pass
    assert (ROOT / "requirements-cluster.txt").exists()
