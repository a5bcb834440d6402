"""An existing Dask cluster, as an executor. `distributed` is an optional requirement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from analysis.errors import OptionError, TrainingError

_ANSWER_SECONDS = 8.0  # for the scheduler to answer, name look-up included


@dataclass(frozen=True)
class Cluster:
    """A cluster that answered."""

    executor: Executor
    workers: int  # processes at the moment; more may come, and some may go


@contextmanager
def dask_cluster(address: str) -> Iterator[Cluster]:
    """Connect to a Dask scheduler for as long as the block lasts; the cluster itself stays.

    A worker that dies is the cluster's matter: Dask runs its cells elsewhere, until more workers
    have died under one cell than its setting `distributed.scheduler.allowed-failures` says (3).

    Parameters
    ----------
    address : str
        Of the scheduler, such as "tcp://10.0.0.1:8786".

    Raises
    ------
    OptionError
        If Dask is not installed, or the address is none.
    TrainingError
        If the scheduler does not answer within `_ANSWER_SECONDS`.
    """
    try:
        import distributed
    except ImportError as error:
        raise OptionError(
            "`dask` needs the package distributed: pip install -r requirements-cluster.txt"
        ) from error
    _check(address)
    with _silent("distributed", "distributed.client"):  # what matters is told as a sentence
        client = _connected(distributed.Client, address)
        try:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            # Not pure: Dask would take an earlier answer for a cell that is to run again.
            yield Cluster(client.get_executor(pure=False), workers)
        finally:
            client.close(timeout=_ANSWER_SECONDS)


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Loggers of these names, each of which has a level of its own, say nothing."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _check(address: str) -> None:
    from distributed.comm.addressing import get_address_host_port, normalize_address

    try:  # a client that is given less tries to connect all the same, and complains for seconds
        get_address_host_port(normalize_address(address), strict=True)
    except ValueError as error:
        raise OptionError(
            f"`dask` must be a scheduler's address like tcp://10.0.0.1:8786, got {address!r}"
        ) from error


def _connected(connect: Callable[..., Any], address: str) -> Any:
    try:
        return connect(address, timeout=_ANSWER_SECONDS, set_as_default=False)
    except OSError as error:  # a timeout among them
        raise TrainingError(
            f"No Dask scheduler answers at {address} within {_ANSWER_SECONDS:g} s. Without "
            "`--dask` the sweep runs on this machine."
        ) from error
    except Exception as error:  # whatever the bytes of another protocol are read as
        raise TrainingError(f"What answers at {address} is no Dask scheduler.") from error
