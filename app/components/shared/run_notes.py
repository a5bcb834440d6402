"""What runs have to say of how their layers were chosen and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from analysis.runs.store import Run
from app.literal import literal, sentence


def render_notes(runs: Sequence[Run], names: Mapping[str, str]) -> None:
    """Draw the notes of all runs in one box; `names` has the runs' names by their ids."""
    notes = [
        f"**{literal(names[run.id])}**: {sentence(run.selection.note)}"
        for run in runs
        if run.selection is not None and run.selection.note
    ]
    if notes:
        st.warning("\n\n".join(notes))
