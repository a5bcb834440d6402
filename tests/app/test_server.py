"""What the server does before the first visit."""

from __future__ import annotations

import gc
import inspect
import os

import pytest

import app.server

pytestmark = pytest.mark.usefixtures("home")


def test_what_is_imported_is_not_searched_for_garbage_or_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streamlit collects garbage after every run of a page, and looks at the stack in the first."""
    monkeypatch.setattr(app.server, "_LATE", ())
    monkeypatch.setattr(inspect, "modulesbyfile", {})
    monkeypatch.setattr(inspect, "_filesbymodname", {})
    gc.unfreeze()  # a command of another test froze what it imported
    assert gc.get_freeze_count() == 0
    try:
        app.server._warm()
        assert gc.get_freeze_count() > 100_000
        assert len(gc.get_objects()) < 0.1 * gc.get_freeze_count()
        assert os.path.realpath(app.server.__file__) in inspect.modulesbyfile
    finally:
        gc.unfreeze()
