"""The top of the Explore page: the result in a sentence, and a few key numbers."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.selection.ranking import NONE_CAN_BE_CHOSEN
from analysis.selection.totals import Totals
from analysis.text import count_text, first_of, percent_text, plural
from app.cache import best_layer_tests, certainty_sentence, selection
from app.components.explore.sentences import clusters_sentence, errors_sentence
from app.components.shared.glossary import linked
from app.components.shared.memory_tile import render_memory_tile
from app.literal import code, literal, sentence
from app.state import Choice, Shown, session

CORRELATION_HELP = (
    "Spearman's rank correlation: +1 if layers with more loops have more clusters, −1 if fewer. "
    "p is too small, because neighbouring layers are alike."
)
CAVEAT = (
    "b₁ is exact about these images. That it shows how well a layer can learn is a claim, not a "
    "theorem."
)
CAVEAT_HELP = (
    f"With few images b₁ is noisy, and even {linked('rotated clouds', 'random points')} have "
    f"loops. Treat the ranking as a hypothesis: compare it with {linked('normalisation', 'size')} "
    f"alone, {linked('draw')} other images, and measure the accuracy."
)


def render_overview(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    """Draw the decision and the tiles."""
    with st.container(gap="xsmall"):
        _render_selection(shown, rows, choice)


def _render_selection(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    _, totals = selection(shown.key, choice, rows, shown.report)
    if not totals.ranked:
        st.warning(NONE_CAN_BE_CHOSEN)
    elif not totals.chosen:
        st.warning(
            f"ρ = {choice.rho:.2f} of {totals.countable} layers rounds down to none "
            "under this preset. Raise ρ, or choose the preset “recommended”."
        )
    else:
        _render_decision(shown, rows, choice)
    _render_tiles(shown, totals, choice)
    for warning in shown.report.warnings():
        st.warning(sentence(warning))


def _render_decision(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    """Draw the selection, and what decided it."""
    decided, totals = selection(shown.key, choice, rows, shown.report)
    why = " ".join(decided.sentences(normalization=choice.normalization, summary=choice.summary))
    chosen = totals.chosen
    names = ", ".join(code(name or "(model)") for name in chosen[:12])
    more = f" and {len(chosen) - 12} more (see the table)" if len(chosen) > 12 else ""
    if decided.by_order_alone:
        st.warning(f"{why} First to run: {names}{more}.")
        return
    always = ""
    if totals.heads:
        always = f", and the new head {code(totals.heads[0])}, which always trains"
    sure = certainty_sentence(shown.key, choice, rows, shown.report, shown.options.dataset)
    st.markdown(f"**Train** {names}{more}{always}. {' '.join(filter(None, (sure, why)))}")


def render_sentences_below(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    """Draw what b₁ does not say, and whether it goes with the number of clusters.

    Below the profile, so that the first screen has room for the decision and the layers.
    """
    made = None if choice.min_persistence else best_layer_tests(shown.fingerprint)
    if text := errors_sentence(shown.report, made[1] if made else None):
        st.caption(text)
    if rows["rank"].notna().any():
        st.caption(CAVEAT, help=CAVEAT_HELP)
        st.page_link(
            "views/compare.py",
            label="Compare the ways to score layers",
            icon=":material/compare_arrows:",
            help="The same analysis by every normalisation at once, and how far they agree.",
        )
    st.caption(clusters_sentence(rows), help=CORRELATION_HELP)


def report_unknown_layers(model: str) -> None:
    """Name the layers of a link that the model does not have."""
    unknown, session().profile.unknown_layers = session().profile.unknown_layers, []
    if unknown:
        st.toast(
            f"The link names {first_of(code(name[:80]) for name in unknown)}, "
            f"which {literal(model)} does not have. The best layer is shown instead.",
            duration="infinite",
        )


def _render_tiles(shown: Shown, totals: Totals, choice: Choice) -> None:
    trained, total = totals.trained, totals.parameters
    report = shown.report
    with st.container(horizontal=True, key="tiles"):
        _tile(
            "Selected",
            f"{len(totals.chosen)} of {plural(totals.countable, 'layer')}",
            f"ρ = {choice.rho:.2f}",
            "The layers that train. A head that always trains is not counted.",
        )
        _tile(
            "Trained parameters",
            percent_text(trained, total),
            f"{count_text(trained)} of {count_text(total)}",
            "Share of the model's parameters that train, with a head that always trains.",
        )
        render_memory_tile(shown, (*totals.chosen, *totals.heads))
        _tile(
            "Analysed in",
            f"{report.seconds:.1f} s",
            f"{report.samples} images · no gradients",
            "Measured: forward pass, topology and clusters. No labels and no gradients were used.",
        )


def _tile(label: str, value: str, note: str, explanation: str) -> None:
    st.metric(
        label,
        value,
        delta=note,
        delta_color="off",
        delta_arrow="off",
        help=explanation,
        border=True,
    )
