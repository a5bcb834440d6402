"""Slow imports leave the garbage collector as they found it."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from analysis.system.imports import slow_imports


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_rests_and_is_as_before(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with suppress(ImportError), slow_imports():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count()
    finally:
        gc.enable()
        gc.unfreeze()
