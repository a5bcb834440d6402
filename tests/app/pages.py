"""Drive the pages without a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import app.cache
from analysis.errors import StoreError
from analysis.jobs.jobs import Job
from analysis.runs.store import RunStore

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
PATIENCE = 120  # seconds; the machine may be busy


def opened(view: str = "explore", **query: str | list[str]) -> AppTest:
    """A page in a fresh session, with the parameters of its link."""
    page = AppTest.from_file(str(MAIN), default_timeout=PATIENCE)
    for name, value in query.items():
        page.query_params[name] = value
    if view != "explore":
        page.switch_page(f"views/{view}.py")
    return page.run()


def settled(page: AppTest, condition: Callable[[AppTest], bool]) -> AppTest:
    """Run the page until a condition holds, as polling does in a browser."""
    end = time.monotonic() + PATIENCE
    while not condition(page):
        assert time.monotonic() < end, f"still waiting after {PATIENCE} s"
        # Drawing the page would slow down the job it waits for.
        wait_until(lambda: not app.cache.jobs()._running)
        page.run()
    return page


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition without drawing a page."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"still waiting after {PATIENCE} s"
        time.sleep(0.02)


@contextmanager
def busy_store() -> Iterator[None]:
    """No page that reads the runs can be drawn meanwhile."""

    def busy(store: RunStore, **_: object) -> NoReturn:
        raise StoreError("Another program has locked the run store.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "runs", busy)
        yield


def button(page: AppTest, label: str) -> Any:
    """The button with this label."""
    return page.button[[item.label for item in page.button].index(label)]


def tile(page: AppTest, label: str) -> str:
    return next(metric.value for metric in page.metric if metric.label == label)


def tiles(page: AppTest) -> list[str]:
    return [metric.label for metric in page.metric]


def table(page: AppTest) -> pd.DataFrame:
    return max((frame.value for frame in page.dataframe), key=len)


def texts(page: AppTest) -> str:
    kinds = (page.markdown, page.caption, page.warning, page.info, page.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@contextmanager
def endless() -> Iterator[Job]:
    """Work that never ends, and that everybody waits for who wants any."""
    job = Job(None, SimpleNamespace(kill=lambda: None))  # type: ignore[arg-type]

    def start(request: object, watcher: str = "") -> Job:
        job.request = request
        app.cache.jobs().watch(job, watcher)
        return job

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.cache.jobs(), "start", start)
        yield job
