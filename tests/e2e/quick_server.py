"""The dashboard with made-up predictions, each of which takes a fifth of a second.

How a page waits and draws is the real thing, and so is how the server prepares itself.
"""

from __future__ import annotations

import time

import streamlit as st

import app.cache
from analysis.jobs.estimates import Estimates
from app.server import lifespan
from tests.predictions import PREDICTIONS
from tests.serving import ROOT


def _ask(self: Estimates, request: object) -> tuple[object, str]:
    time.sleep(0.2)
    return PREDICTIONS[type(request)], ""


app.cache.WARM_AFTER = 0.0
Estimates._ask = _ask  # type: ignore[method-assign]
app = st.App(str(ROOT / "app" / "main.py"), lifespan=lifespan)
