"""Permuted features beside the rotated clouds: the offer of a further pass, and what it says."""

from __future__ import annotations

import streamlit as st

from analysis.costs.permuted_cost import permuted_seconds
from analysis.text import duration_text
from analysis.topology.permuted import DRAWS, PermutedLoops
from analysis.topology.permuted_store import PermutedRequest
from app.cache import jobs
from app.cache.compare import permuted_loops
from app.components.shared.work import render_work, result_of_work
from app.literal import sentence
from app.state import Shown

LABEL = "Permute the features"
OFFER = (
    f"One more pass of the network counts loops in {DRAWS} clouds of each layer with **permuted "
    "features**: the values of each activation are dealt to the images anew."
)
MEANING = (
    "Permuting keeps what each activation does alone, and removes what activations do together. "
    "b₁ outside all draws shows that they depend on each other, not that their shape is a loop."
)


def request_of(shown: Shown) -> PermutedRequest:
    """What the page asks for."""
    return PermutedRequest(shown.options, shown.fingerprint)


def counted(shown: Shown) -> PermutedLoops | None:
    """The loops of permuted clouds: saved ones, or what could not be saved."""
    request = request_of(shown)
    saved = permuted_loops(request, shown.report)
    if saved is not None:
        return saved
    result = result_of_work("permuted", request)
    return result if isinstance(result, PermutedLoops) else None


def render_sentence(permuted: PermutedLoops) -> None:
    """Say what was counted, and what that means."""
    for note in permuted.notes:
        st.warning(sentence(note))
    st.markdown(permuted.sentence())
    st.caption(MEANING)


def render_offer(shown: Shown) -> None:
    """Draw the button that permutes the features, with its predicted time, or its progress."""
    request = request_of(shown)
    if not jobs().is_running(request):
        seconds = duration_text(permuted_seconds(shown.report))
        st.caption(f"{OFFER} Predicted for this machine: about {seconds}.")
    render_work("permuted", request, label=LABEL, icon=":material/shuffle:", primary=False)
