"""What the server does before the first visit."""

from __future__ import annotations

import gc

import pytest

import app.server

pytestmark = pytest.mark.usefixtures("home")


def test_what_is_imported_is_not_searched_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit collects garbage after every run of a page."""
    monkeypatch.setattr(app.server, "_LATE", ())
    assert gc.get_freeze_count() == 0
    try:
        app.server._warm()
        assert gc.get_freeze_count() > 100_000
        assert len(gc.get_objects()) < 0.1 * gc.get_freeze_count()
    finally:
        gc.unfreeze()
