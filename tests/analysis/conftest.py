"""A home folder of its own for a test that asks for it; no worker that only predicts a cost."""

from __future__ import annotations

from pathlib import Path

import pytest

import analysis.commands.analyze


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def without_predicted_cost(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process start no worker for a prediction that no test reads but one."""
    if "predicted_cost" not in request.fixturenames:
        monkeypatch.setattr(analysis.commands.analyze, "_print_cost", lambda _: None)


@pytest.fixture
def predicted_cost() -> None:
    """The command `analyze` predicts its cost, as it does for users."""
