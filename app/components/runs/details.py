"""The chosen runs in detail: curves, memory, settings, and what can be exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import streamlit as st

from analysis.runs.store import Run
from analysis.selection.export import file_stem
from analysis.training.snippet import snippet
from app.cache import run_queue
from app.charts.memory import MemoryRow, comparison_memory_figure
from app.components.shared.motion import render_motion
from app.components.shared.run_charts import MEMORY_HELP, draw_chart, render_curves
from app.components.shared.run_names import names_of, peak_use
from app.components.shared.run_notes import render_notes
from app.components.shared.saving import settings_of_run
from app.literal import literal, sentence
from app.state import appearance
from app.theme import PALETTES


def render_comparison(runs: Sequence[Run]) -> None:
    """Draw the chosen runs over each other, and how they differ."""
    names = names_of(runs)
    title = names[runs[0].id] if len(runs) == 1 else f"{len(runs)} runs side by side"
    st.subheader(literal(title), anchor=False)
    for run in runs:
        if run.error:
            st.warning(f"**{literal(names[run.id])}**: {sentence(run.error)}")
    render_notes(runs, names)
    render_curves(runs)
    render_motion(runs, names)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Peak memory by kind**", help=MEMORY_HELP)
        rows = [
            MemoryRow(
                names[run.id], peak_use(run), run.selection.predicted if run.selection else None
            )
            for run in runs
        ]
        draw_chart(
            comparison_memory_figure(rows, palette=PALETTES[appearance()]),
            "compared_memory",
            "Peak memory of each run by kind",
            runs,
        )
    with right:
        _render_settings(runs, names)
    st.fragment(_render_export, key="export")(runs, names)


def settings_frame(runs: Sequence[Run], *, all_of_them: bool = False) -> pd.DataFrame:
    """One row per setting, one column per run; by default only settings that differ."""
    names = names_of(runs)
    columns = {names[run.id]: _flat(_facts(run)) for run in runs}
    frame = pd.DataFrame(columns).map(lambda value: "" if value is None else str(value))
    if all_of_them or len(runs) < 2:
        return frame
    return frame.loc[frame.nunique(axis=1) > 1]


def _render_settings(runs: Sequence[Run], names: dict[str, str]) -> None:
    heading = "**Settings**" if len(runs) == 1 else "**What differs**"
    st.markdown(heading, help="Each run keeps every setting that decides its numbers.")
    everything = len(runs) == 1 or st.toggle(
        "All settings", key="all_settings", help="Also show settings that all runs share."
    )
    frame = settings_frame(runs, all_of_them=everything)
    if frame.empty:
        st.caption("These runs have the same settings.")
    else:
        st.dataframe(
            frame.rename_axis("setting").reset_index(),
            hide_index=True,
            height=min(420, 38 + 35 * len(frame)),
            column_config={name: st.column_config.Column(width="medium") for name in frame.columns},
            alt="Settings of the chosen runs",
        )


def _render_export(runs: Sequence[Run], names: dict[str, str]) -> None:
    chosen = runs[0]
    st.markdown(
        "**Export**",
        help="Save the trained weights, or copy PyTorch code that trains exactly these layers in "
        "your own project.",
    )
    if len(runs) > 1:
        by_name = {names[run.id]: run for run in runs}
        name = st.selectbox("Run", list(by_name), key="take_away", label_visibility="collapsed")
        chosen = by_name[name]
    path = run_queue().store.weights_path(chosen.id)
    if path.is_file():
        st.download_button(
            "Trained weights",
            data=path.read_bytes,
            file_name=f"{file_stem('weights', settings_of_run(chosen))}.safetensors",
            mime="application/octet-stream",
            icon=":material/download:",
            key="save_weights",
            on_click="ignore",
            help="Save all weights of the network after the last step, as safetensors.",
        )
    else:
        st.caption("This run saved no weights.")
    if chosen.selection is None:
        st.caption("This run ended before it chose its layers.")
        return
    # Only once it is opened: the browser takes a quarter of a second to colour it.
    with st.expander("PyTorch code", key="export_code", on_change="rerun") as code:
        if code.open:
            st.code(snippet(chosen.options, chosen.selection), language="python", height=360)


def _facts(run: Run) -> dict[str, Any]:
    facts: dict[str, Any] = asdict(run.options)
    if run.selection is not None:
        facts["layers"] = ", ".join(run.selection.layers)
        facts["trained parameters"] = f"{run.selection.trainable_parameters:,}"
        if run.selection.frozen_part is not None:
            facts["frozen layers"] = run.selection.frozen_part.text
        facts["used labels to choose"] = "yes" if run.selection.used_labels else "no"
    facts |= {"versions": dict(run.versions), "fingerprint": dict(run.fingerprints)}
    return facts


def _flat(facts: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{name} · ")
        else:
            flat[before + name.replace("_", " ")] = value
    return flat
