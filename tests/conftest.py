"""The order of the tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the browser's: they take longest, and at the end one process would wait idle."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)
