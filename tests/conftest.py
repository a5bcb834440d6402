"""The order of the tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser tests first: they take longest, and one process would be idle at the end."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)
