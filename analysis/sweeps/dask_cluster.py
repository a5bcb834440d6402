"""An existing Dask cluster, as an executor. `distributed` is an optional requirement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from analysis.errors import OptionError, TrainingError

_ANSWER_SECONDS = 8.0  # for the scheduler to answer, including the name look-up


@dataclass(frozen=True)
class Cluster:
    """A cluster that answered."""

    executor: Executor
    workers: int  # processes now; more may join, some may leave


@contextmanager
def dask_cluster(address: str) -> Iterator[Cluster]:
    """Connect to a Dask scheduler for the duration of the block; the cluster itself stays up.

    Dask handles workers that die: it runs their cells elsewhere, until one cell has lost more
    workers than the setting `distributed.scheduler.allowed-failures` allows (3).

    Parameters
    ----------
    address : str
        Of the scheduler, such as "tcp://10.0.0.1:8786".

    Raises
    ------
    OptionError
        If Dask is not installed, or the address is invalid.
    TrainingError
        If the scheduler does not answer within `_ANSWER_SECONDS`.
    """
    try:
        import distributed
    except ImportError as error:
        raise OptionError(
            "`dask` needs the package distributed: pip install -r requirements-cluster.txt"
        ) from error
    _check_address(address)
    with _silence("distributed", "distributed.client"):  # the user gets a sentence instead
        client = _connect(distributed.Client, address)
        try:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            # Not pure: Dask would reuse an earlier result for a cell that is to run again.
            yield Cluster(client.get_executor(pure=False), workers)
        finally:
            client.close(timeout=_ANSWER_SECONDS)


@contextmanager
def _silence(*names: str) -> Iterator[None]:
    """Silence the loggers of these names; each has its own level."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_address(address: str) -> None:
    from distributed.comm.addressing import get_address_host_port, normalize_address

    try:  # given an invalid address, a client tries all the same, and logs errors for seconds
        get_address_host_port(normalize_address(address), strict=True)
    except ValueError as error:
        raise OptionError(
            f"`dask` must be a scheduler's address like tcp://10.0.0.1:8786, got {address!r}"
        ) from error


def _connect(connect: Callable[..., Any], address: str) -> Any:
    try:
        return connect(address, timeout=_ANSWER_SECONDS, set_as_default=False)
    except OSError as error:  # a timeout among them
        raise TrainingError(
            f"No Dask scheduler answers at {address} within {_ANSWER_SECONDS:g} s. Check the "
            "address, or leave out `--dask` to run the sweep on this machine."
        ) from error
    except Exception as error:  # whatever another protocol's bytes turn into
        raise TrainingError(
            f"The program at {address} is not a Dask scheduler. Check the address."
        ) from error
