"""What the selection does while a growing share of the images is shifted."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions, option_of
from analysis.topology.mixtures import STEPS, MixtureRequest
from analysis.topology.shift_series import ShiftRequest, ShiftSeries
from app.cache import jobs
from app.cache.shift import mixture_chart, mixture_series, series_drift
from app.charts.once import drawn_once
from app.components.shared.cost import render_cost
from app.components.shared.work import render_work
from app.literal import sentence
from app.state import Choice, appearance
from app.theme import chart_config

LABEL = "Mix the images"
STEP = 100 // (STEPS - 1)
WHAT = (
    "The same images, of which a growing share is replaced by their version at severity "
    "{severity}. All mixtures come from one pass over both versions."
)
SHARE_HELP = "Every mixture is saved, so that moving this computes nothing."


def render_mixture(
    key: str, request: ShiftRequest, series: ShiftSeries, choice: Choice, severity: int
) -> None:
    """Draw the button that mixes the images, or the slider of the share and what it shows."""
    st.markdown("**What if only some images are shifted?**")
    st.caption(WHAT.format(severity=severity))
    mixture = MixtureRequest(request.severities[severity])
    try:
        with st.spinner("Loading the mixtures …"):
            mixed = mixture_series(key, request, severity, series)
    except AnalysisError as error:  # a damaged file; the images are mixed again
        st.warning(sentence(error))
        mixed = None
    if mixed is None:
        if not jobs().is_running(mixture):  # a prediction would slow it down
            render_cost(_cost_options(mixture.options))
        render_work("mixture", mixture, label=LABEL, icon=":material/tune:", primary=False)
        return
    share = st.slider(
        "Shifted images, in %", 0, 100, 50, STEP, key="mixture_share", bind="query-params",
        help=SHARE_HELP, width=420,
    )  # fmt: skip
    step = int(share) // STEP
    of_mixtures = f"{key} mixed {severity}"
    st.markdown(sentence(series_drift(of_mixtures, choice, mixed).sentence(step)))
    st.plotly_chart(
        drawn_once(mixture_chart(of_mixtures, choice, step, appearance(), mixed)),
        key="mixture",
        theme=None,
        config=chart_config("bettiscope-mixture"),
        alt="Layers that are selected at each share of shifted images as without the shift",
    )


def _cost_options(options: AnalysisOptions) -> AnalysisOptions:
    """An analysis of as many images and clouds as all mixtures have."""
    most = int(option_of(AnalysisOptions, "subsets").high or 1)
    subsets = min(most, STEPS * options.subsets)
    return replace(options, samples=2 * options.samples, subsets=subsets)
