"""What runs have to say of how their layers were chosen and trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from analysis.runs.store import Run
from app.literal import literal, sentence


def render_notes(runs: Sequence[Run], names: Mapping[str, str]) -> None:
    """Draw the notes of all runs in one box; `names` has the runs' names by their ids."""
    runs_of: dict[str, list[str]] = {}  # one note may be that of many cells of a grid
    for run in runs:
        if run.selection is not None and run.selection.note:
            runs_of.setdefault(run.selection.note, []).append(f"**{literal(names[run.id])}**")
    if runs_of:
        st.warning(
            "\n\n".join(f"{'; '.join(which)}: {sentence(note)}" for note, which in runs_of.items())
        )
