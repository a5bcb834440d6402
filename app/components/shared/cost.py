"""What an analysis will take, told before it starts."""

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

POLL_EVERY = 0.3  # seconds
LONG = 600.0  # seconds; a person is warned of more
HELP = (
    "Predicted: a few images are sent through the model on this machine, and the rest is reckoned "
    "from that. The time counts from the first layer on; loading or fetching the model and the "
    "images comes before it. The memory is that of the whole process."
)


def render_cost(options: AnalysisOptions) -> None:
    """Tell the time and memory of an analysis; measuring the machine takes a moment once."""
    request = CostRequest(options)

    pending = estimates().get(request) is None

    def draw() -> bool:
        answer = estimates().get(request)
        if answer is None:
            st.caption("Measuring what this will take …")
        elif pending:
            return True
        elif isinstance(answer, str):
            st.warning(f"What it will take could not be predicted. {answer}")
        else:
            _tell(analysis_cost(answer, options), options)
        return False

    poll_until(draw, pending=pending, every=POLL_EVERY)


def _tell(cost: AnalysisCost, options: AnalysisOptions) -> None:
    if not cost.fits:
        st.warning(cost.suggestion, title="This will not fit into memory")
        return
    fetched = megabytes_to_fetch(options)
    before = f" First about {fetched:,.0f} MB are fetched." if fetched else ""
    passes = f" in {cost.passes} passes" if cost.passes > 1 else ""
    st.caption(
        f"Predicted for this machine: about {duration_text(cost.seconds)} and "
        f"{size_text(cost.peak_bytes)} of memory{passes}.{before}",
        help=HELP,
    )
    if cost.seconds > LONG:
        st.warning(cost.suggestion or "Fewer images would be faster.", title="This will take long")
    elif cost.suggestion:
        st.caption(cost.suggestion)
