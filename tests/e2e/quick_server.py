"""The dashboard with made-up predictions, each of which takes a fifth of a second.

How a page waits and draws is the real thing.
"""

from __future__ import annotations

import time

import streamlit as st

from analysis.costs.training_memory import MemoryEstimate
from analysis.instruments.memory_use import MemoryUse
from analysis.jobs.estimates import Estimates
from tests.serving import ROOT

PREDICTION = MemoryEstimate(MemoryUse(parameters=1_000_000), 1000)


def _ask(self: Estimates, request: object) -> tuple[object, str]:
    time.sleep(0.2)
    return PREDICTION, ""


Estimates._ask = _ask  # type: ignore[method-assign]
app = st.App(str(ROOT / "app" / "main.py"))
