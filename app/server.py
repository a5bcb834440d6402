"""The dashboard as `make app` serves it: the first view is prepared while the server starts."""

from __future__ import annotations

import gc
import importlib
import inspect
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions
from app.origins import OwnOriginOnly

# What the first visit imports, the slow ones first; together they take two seconds.
_LATE = (
    "sklearn.model_selection",
    "sklearn.datasets",
    "sklearn.manifold",
    "app.components.explore.microscope",
    "app.components.sidebar.sidebar",
)


def _warm() -> None:
    from analysis.topology.store import fingerprint, load_analysis
    from app.cache import jobs, run_queue

    try:
        if load_analysis(fingerprint(AnalysisOptions())) is None:
            job = jobs().start(AnalysisOptions())
            while job.state == "running":  # the imports below would take its cores
                time.sleep(0.05)
        run_queue()  # takes over, or reports, runs that another server left
    except AnalysisError:
        pass  # the page asks again and shows the error
    for name in _LATE:
        importlib.import_module(name)
    # With the first element of a page Streamlit looks at the stack, for which Python asks where
    # each module lies: a sixth of the first visit. The answers are kept.
    inspect.stack()
    # Streamlit collects garbage after each run of a page, which took longer than the run itself.
    # What has been imported is no garbage, and need not be searched again.
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    threading.Thread(target=_warm, daemon=True).start()
    yield


app = st.App(
    str(Path(__file__).with_name("main.py")),
    lifespan=lifespan,
    middleware=[Middleware(OwnOriginOnly)],
)
