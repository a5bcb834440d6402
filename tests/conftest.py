"""The order of the tests."""

from __future__ import annotations

from itertools import groupby

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the longest files over the first two thirds of the others.

    A browser test keeps a core busy, most others wait for processes: side by side they take less
    time than one kind after the other. At the end none is left that would work alone.
    """
    files = [list(group) for _, group in groupby(items, key=lambda item: item.path)]
    long = [file for file in files if _is_long(file[0])]
    others = [file for file in files if not _is_long(file[0])]
    step = 2 / 3 * len(others) / max(len(long), 1)
    places = [(step * number, file) for number, file in enumerate(long)]
    places += list(enumerate(others))
    places.sort(key=lambda place: place[0])
    items[:] = [item for _, file in places for item in file]


def _is_long(item: pytest.Item) -> bool:
    """Whether an item lies in a browser test, or in the file that runs README's commands."""
    return item.get_closest_marker("e2e") is not None or item.path.name == "test_readme.py"
