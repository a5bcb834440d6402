"""Fine-tune: train the selection and what it is to be compared with."""

from __future__ import annotations

import streamlit as st

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions
from analysis.runs import Run
from app.cache import run_queue
from app.components.live import render_live
from app.components.obtain import describe, render_obtained
from app.components.plan import render_plan
from app.state import Choice


def latest_group() -> list[Run]:
    """The runs that were started together and are under way, or were last, in their order."""
    try:
        runs = run_queue().store.runs()
    except AnalysisError as error:
        st.error(str(error))
        return []
    if not runs:
        return []
    group = next((run for run in runs if run.active), runs[0]).group
    others = sum(run.active for run in runs if run.group != group)
    if others:
        st.caption(f"{others} other run{'' if others == 1 else 's'} on the way: see **Runs**.")
    return sorted((run for run in runs if run.group == group), key=lambda run: run.number)


controls: tuple[AnalysisOptions | None, Choice] = st.session_state["controls"]
options, choice = controls

st.title("Does training these layers pay?", anchor=False)
shown = render_obtained(options)
if shown is not None:
    st.caption(
        f"{describe(shown.options)}; ρ = {choice.rho:.2f}. Each strategy trains its layers and "
        "the new classifier; the rest stays frozen.",
        help="A short training on the images of the dataset, from the same start, with the same "
        "budget. The sidebar decides the model, the data and the share ρ of layers.",
    )
above, below = st.container(), st.container()
with below:
    group = latest_group()
with above:
    if render_plan(shown, options, choice, busy=any(run.active for run in group)):
        st.rerun()
if group:
    render_live(group)
else:
    st.info("No run yet. Press **Start**: the first points come within seconds.")
