"""Fine-tune: train the selected layers and the alternatives to compare them with."""

from __future__ import annotations

import streamlit as st

from analysis.datasets import dataset_spec
from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions
from analysis.runs.store import Run
from analysis.text import plural
from app.cache import run_queue
from app.components.finetune.live import render_live
from app.components.finetune.plan import render_plan
from app.components.shared.memory_tile import classes_of
from app.components.shared.obtain import describe, render_obtained
from app.components.shared.run_charts import render_curves
from app.components.shared.subject_names import dataset_name
from app.components.shared.watch import watch_runs
from app.literal import literal, sentence
from app.state import Choice


def group_of(runs: list[Run]) -> list[Run]:
    """The group of runs to show: the running one, else a waiting one, else the last."""
    own = [run for run in runs if not run.is_grid_cell]  # the page Grid shows the others
    first = {state: run for run in reversed(own) for state in [run.state]}
    chosen = first.get("running") or first.get("queued") or next(iter(own), None)
    others = sum(run.active for run in runs if chosen is None or run.group != chosen.group)
    if others:
        st.caption(
            f"{plural(others, 'other run')} of this computer waiting or running: see the page "
            "**Runs**."
        )
    group = [run for run in own if chosen is not None and run.group == chosen.group]
    return sorted(group, key=lambda run: run.number)


controls: tuple[AnalysisOptions | None, Choice] = st.session_state["controls"]
options, choice = controls

st.title("Is training these layers worth it?", anchor=False)
shown = render_obtained(options)
if shown is not None and not classes_of(shown.options.dataset):
    st.warning(
        f"The images of {literal(dataset_name(shown.options.dataset))} are gone or have changed. "
        "Run another analysis before you train."
    )
    shown = None
if shown is not None:
    st.caption(
        f"{describe(shown.options)}; ρ = {choice.rho:.2f}. Each strategy trains its layers and "
        "the new classifier; the rest stays frozen.",
        help="All strategies start from the same weights and take the same images and steps. The "
        "sidebar sets the model, the data and the share ρ of layers.",
    )
try:
    runs = run_queue().store.runs()
    above, below = st.container(), st.container()
    with below:
        group = group_of(runs)
        watch_runs(runs)
    with above:
        busy = any(run.active for run in runs)
        if render_plan(shown, options, choice, busy=busy):
            st.rerun()
    if group:
        render_live(group)
    elif not (shown and dataset_spec(shown.options.dataset).why_untrainable):
        st.info("No run yet. Press **Start** to see the first points within seconds.")
        render_curves([])  # so that the browser loads the chart code now, not after the click
except AnalysisError as error:
    st.error(sentence(error))
