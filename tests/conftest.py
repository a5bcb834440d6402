"""The order of the tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, or one process would work alone at the end."""
    items.sort(
        key=lambda item: (
            item.get_closest_marker("e2e") is None,
            item.path.name != "test_readme.py",  # every command of README
        )
    )
