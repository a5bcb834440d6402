"""Runs: what was tried, what it cost, and what it achieved."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.errors import AnalysisError
from analysis.runs.store import Run
from analysis.text import plural
from app.cache import run_queue
from app.components.runs.details import render_comparison
from app.components.runs.table import (
    keep_compared,
    render_actions,
    render_filters,
    render_stop_all,
    render_table,
    render_undo,
)
from app.components.shared.run_actions import render_action_error
from app.components.shared.run_charts import render_tradeoff
from app.components.shared.run_groups import render_single_switch
from app.components.shared.verdict import render_verdict
from app.components.shared.watch import watch_runs
from app.literal import code, sentence
from app.state import remember_compared, toggle_compared


def render(runs: Sequence[Run]) -> None:
    """Draw the page for at least one run."""
    shown = render_filters(runs)
    if not shown:
        st.info("No run passes these filters. Remove one to see more.")
        return
    chosen = keep_compared(shown)
    remember_compared()  # before anything slow, so that a reload restores what is on the page
    if len(chosen) > 1:
        render_verdict(chosen, "Of the ticked runs: ")
    else:
        render_verdict(shown)
    render_table(shown)
    render_actions(shown, chosen)
    if not chosen:
        st.caption("To compare runs, tick them in the table or click their points.")
    render_single_switch(shown)
    render_tradeoff(shown, key="runs", on_pick=toggle_compared)
    if chosen:
        render_comparison(sorted(chosen, key=lambda run: run.number))


st.title("What has been tried?", anchor=False)
try:
    store = run_queue().store
    st.caption(f"All runs of this computer, whoever started them, from {code(store.path.parent)}.")
    for problem in run_queue().problems():
        st.warning(sentence(problem))
    render_action_error()
    render_undo()
    runs = store.runs()
    render_stop_all(runs)
    if runs:
        render(runs)
    else:
        st.info("No run yet. Start one on the page **Fine-tune**.")
    unreadable = store.unreadable()
    if unreadable:
        st.caption(
            f"{plural(len(unreadable), 'run')} of another version cannot be read. "
            "Nothing was deleted."
        )
    watch_runs(runs)
except AnalysisError as error:
    st.error(sentence(error))
