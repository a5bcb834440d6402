"""Other draws of images, analysed on request, to count how often they choose the same layers."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.results import SavedAnalysis
from analysis.text import duration_text, plural
from analysis.topology.redraws import REDRAWS, RedrawRequest, images_to_draw
from app.cache import selection_certainty
from app.cache.luck import other_draws, why_no_other_draws
from app.components.shared.work import render_work, result_of_work
from app.literal import sentence
from app.state import Choice, Shown

LABEL = f"Analyse {REDRAWS} other draws"


def render_other_draws(
    shown: Shown, table: pd.DataFrame, choice: Choice, overlaps: pd.DataFrame | None
) -> None:
    """Draw the part.

    Parameters
    ----------
    shown : Shown
    table : DataFrame
        Of `luck_table`, with drawn if there are draws.
    choice : Choice
    overlaps : DataFrame, optional
        Of `draw_overlaps`; None before other draws are analysed.
    """
    st.subheader("Do other images choose the same layers?", anchor=False)
    why = why_no_other_draws(shown)
    if why:
        st.caption(sentence(why))
        return
    if overlaps is not None and not overlaps.empty:
        st.markdown(_sentence(shown, table, choice, overlaps))
        return
    if other_draws(shown):
        st.caption("Nothing is selected, or not by what subsets give.")
        return
    request = RedrawRequest(shown.options)
    seconds = duration_text(REDRAWS * shown.report.seconds)
    st.caption(
        f"Each draw is {shown.report.samples} images of another seed, analysed and saved as usual. "
        f"This analysis took {shown.report.seconds:.1f} s, so expect about {seconds} here."
    )
    answers = result_of_work("draws", request)
    if isinstance(answers, tuple):  # done, but not saved
        notes = [note for a in answers if isinstance(a, SavedAnalysis) for note in a.notes]
        for note in dict.fromkeys(notes):
            st.warning(sentence(note))
    render_work("draws", request, label=LABEL, icon=":material/casino:")


def _sentence(shown: Shown, table: pd.DataFrame, choice: Choice, overlaps: pd.DataFrame) -> str:
    """What was counted, beside what was predicted."""
    chosen = table.loc[table["selected"], "drawn"]
    last = overlaps.iloc[-1]
    rows = table.reset_index()
    known = selection_certainty(shown.key, choice, rows, shown.report)
    predicted = f"; predicted were {known.now.kept:.1f}" if known is not None else ""
    samples = shown.report.samples
    shared = samples**2 / images_to_draw(shown.options)
    return (
        f"Counted: {REDRAWS} other draws choose **{chosen.sum():.1f}** of "
        f"{plural(len(chosen), 'layer')} on average{predicted}. Each two of these draws, which "
        f"share about {shared:.0f} of {samples} images, overlap by **{last['overlap']:.2f}** "
        f"(Jaccard, mean of {plural(int(last['pairs']), 'pair')})."
    )
