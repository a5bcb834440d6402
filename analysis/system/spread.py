"""Work on the processor spread over threads, each of which computes alone.

A step that torch itself spreads over all threads ends when the slowest is done. Beside other
programs that is long after the others, and a thousand small steps wait a thousand times. Here a
thread takes the next task as soon as it is free, and nobody waits before the end.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

MOST_THREADS = 8  # each holds a result; reading memory takes no more of them
_AHEAD = 2  # tasks that wait for a thread, so that none is idle

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results in the order of the items, computed by as many threads as torch has.

    No more than `MOST_THREADS` and two further results are held at a time. The threads know
    nothing of the caller's modes: gradients, autocast, or a ledger that watches its tensors.
    """
    waiting: deque[Future[Result]] = deque()
    workers = min(torch.get_num_threads(), MOST_THREADS)
    with _single_threads():
        pool = _pool(workers, os.getpid())
        try:
            for item in items:
                if len(waiting) == workers + _AHEAD:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)


@contextmanager
def _single_threads() -> Iterator[None]:
    """MKL has one number of threads for the whole process: with more, each of ours would start as
    many again."""
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


@cache
def _pool(workers: int, _process: int) -> ThreadPoolExecutor:
    """Kept, since a thread that ends takes its buffers with it. A forked process has none."""
    return ThreadPoolExecutor(workers, "spread", initializer=torch.set_num_threads, initargs=(1,))
