"""The time and memory that an analysis will take, shown before it starts."""

from __future__ import annotations

import streamlit as st

from analysis.costs.analysis_cost import (
    AnalysisCost,
    CostRequest,
    analysis_cost,
    megabytes_to_fetch,
)
from analysis.options import AnalysisOptions
from analysis.text import duration_text, size_text
from app.cache import estimates
from app.components.shared.polling import poll_until
from app.literal import sentence

POLL_EVERY = 0.3  # seconds
LONG = 600.0  # seconds; more brings a warning
HELP = (
    "Predicted by sending a few images through the model on this machine. The time leaves out "
    "loading and downloading; the memory is that of the whole process."
)


def render_cost(options: AnalysisOptions, *, analyses: int = 1) -> None:
    """Show the time and memory of one or more analyses; the first prediction takes a moment."""
    request = CostRequest(options)

    pending = estimates().get(request) is None

    def draw() -> bool:
        answer = estimates().get(request)
        if answer is None:
            st.caption("Predicting the time and memory …")
        elif pending:
            return True
        elif isinstance(answer, str):
            st.warning(f"The time and memory could not be predicted. {sentence(answer)}")
        else:
            _render_prediction(analysis_cost(answer, options), options, analyses)
        return False

    poll_until(draw, pending=pending, every=POLL_EVERY)


def _render_prediction(cost: AnalysisCost, options: AnalysisOptions, analyses: int) -> None:
    if not cost.fits:
        st.warning(sentence(cost.suggestion), title="This will not fit into memory")
        return
    download = megabytes_to_fetch(options)
    first = f" About {download:,.0f} MB will be downloaded first." if download else ""
    passes = f" in {cost.passes} passes" if cost.passes > 1 else ""
    seconds = analyses * cost.seconds
    st.caption(
        f"Predicted for this machine: about {duration_text(seconds)} and "
        f"{size_text(cost.peak_bytes)} of memory{passes}.{first}",
        help=HELP,
    )
    if seconds > LONG:
        st.warning(
            sentence(cost.suggestion) or "Use fewer images.", title="This will take a long time"
        )
    elif cost.suggestion:
        st.caption(sentence(cost.suggestion))
