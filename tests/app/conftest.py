"""A folder of analyses and runs for each file of tests, with the default analysis in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import streamlit as st

import app.cache
import app.components.sidebar.subject
from analysis.jobs.estimates import Estimates
from analysis.options import AnalysisOptions
from analysis.runs.store import RunStore
from analysis.system.processes import WorkerPool
from analysis.topology.pipeline import analyze_named
from tests.predictions import get


@pytest.fixture(scope="session")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the default analysis in it, to be copied."""
    folder = tmp_path_factory.mktemp("analysed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTISCOPE_HOME", str(folder))
        analyze_named(AnalysisOptions())
    return folder


@pytest.fixture(scope="module")
def home(analysed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = shutil.copytree(analysed, tmp_path_factory.mktemp("home") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTISCOPE_HOME", str(folder))
        # The start of a worker takes longer than what most tests ask of it.
        patch.setattr(app.cache, "WorkerPool", partial(WorkerPool, idle=3))
        # Most files ask nothing of a worker, and its start takes seconds of a core.
        patch.setattr(WorkerPool, "warm", lambda *_: None)
        yield folder
    app.cache.run_queue().close()
    app.cache.jobs().close()
    app.cache._pool().close()
    st.cache_resource.clear()


@pytest.fixture
def store(home: Path) -> Iterator[RunStore]:
    """The store of the page, emptied afterwards."""
    store = app.cache.run_queue().store
    yield store
    store.delete([run.id for run in store.runs()])
    store.purge(older_than=0)


@pytest.fixture(autouse=True)
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page as most users have it; the test environment has timm."""
    monkeypatch.setattr(app.components.sidebar.subject, "TIMM", False)


@pytest.fixture(autouse=True)
def made_up_predictions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions come at once, except in a test that asks for real ones."""
    if "real_predictions" not in request.fixturenames:
        monkeypatch.setattr(Estimates, "get", get)


@pytest.fixture
def real_predictions(home: Path) -> Iterator[None]:
    """A worker makes the predictions."""
    app.cache.estimates.clear()
    yield
    app.cache.estimates.clear()
