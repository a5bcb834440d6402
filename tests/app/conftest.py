"""A folder of analyses and runs for each file of tests, with the default analysis in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

import app.cache
import app.components.sidebar.subject
from analysis.options import AnalysisOptions
from analysis.runs.store import RunStore
from analysis.topology.pipeline import analyze_named


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTISCOPE_HOME", str(folder))
        analyze_named(AnalysisOptions())
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
