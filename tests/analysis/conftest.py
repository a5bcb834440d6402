"""A home folder of its own for a test that asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
