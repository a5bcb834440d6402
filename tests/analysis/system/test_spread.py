"""Work spread over threads: in order, one torch thread each, and few results held."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from analysis.system.spread import spread


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_though_a_later_task_ends_first() -> None:
    later = threading.Event()

    def task(number: int) -> int:
        if number == 0:
            assert later.wait(60)
        if number == 1:
            later.set()
        return number**2

    assert list(spread(task, range(50))) == [number**2 for number in range(50)]
    assert list(spread(task, [])) == []


def test_each_task_computes_with_one_thread_and_the_caller_gets_its_own_back() -> None:
    assert set(spread(lambda _: torch.get_num_threads(), range(9))) == {1}
    assert torch.get_num_threads() == 2


def test_no_more_tasks_start_than_results_may_be_held() -> None:
    started: list[int] = []
    results = spread(started.append, range(100))
    for _ in range(10):
        next(results)
    results.close()
    assert 10 <= len(started) <= 10 + 2 + 2
    assert torch.get_num_threads() == 2


def test_an_error_in_a_task_reaches_the_caller() -> None:
    def task(number: int) -> float:
        return 1 / (3 - number)

    with pytest.raises(ZeroDivisionError):
        list(spread(task, range(9)))
    assert torch.get_num_threads() == 2
    assert list(spread(task, [1, 2])) == [0.5, 1]
