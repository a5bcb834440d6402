"""All normalisations at once: how each ranks the layers, where it selects, and how far they agree.

The sidebar's own choice is one of them, or one more if its powers have no name.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from analysis.selection.ranking import best_layer
from app.cache import layer_rows, selection
from app.cache.compare import (
    agreement_figures,
    places,
    rankings_agreement,
    rankings_of,
    ranks,
    size_dominance,
)
from app.charts.once import drawn_once
from app.components.compare.costs import render_costs
from app.components.compare.dominance import dominance_sentence, render_dominance
from app.components.compare.powers import current_choice, render_powers
from app.components.shared.polling import redraw_page
from app.components.shared.power_parts import RANKINGS
from app.literal import code
from app.state import Choice, Shown, appearance, choose_clicked, chosen_or
from app.theme import chart_config

RANKS = (
    "Each column is one score, each line one layer, the best at the top; where lines cross, scores "
    "disagree. Large points are selected, the thick line is the marked layer, your score is shaded."
)
PLACES = (
    "One strip per score, from the network's first layer at the left to its last. Squares are the "
    "layers that it selects, the diamond is the head, which trains anyway."
)
ORDERS = "The whole order (Kendall's τ): 1 is the same, 0 unrelated, −1 the reverse."
SELECTIONS = (
    "The selection (Jaccard): of the layers that either score selects, the share that both do."
)
COSTS = "What the selection of each score would need while it trains."


def render_normalisations(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section, which a moved power draws again without the rest of the page."""
    with st.container():  # for the reason given in `poll_until`
        st.fragment(_render, key=RANKINGS)(shown, choice)


def _render(shown: Shown, choice: Choice) -> None:
    choice = current_choice(choice)
    rows = layer_rows(shown.key, choice, shown.report)
    layer = chosen_or(best_layer(rows))
    render_powers(choice)
    _render_selection(shown, rows, choice)
    rankings = rankings_of(shown.key, choice, shown.report)
    look = appearance()
    # One after the other: the browser draws the first while the next is computed.
    figure = ranks(shown.key, choice, layer, look, rankings)
    _render_chart("Rank of each layer", RANKS, figure, "ranks")
    figure = places(shown.key, choice, layer, look, rankings)
    _render_chart("Where each score selects", PLACES, figure, "places")
    agreement = rankings_agreement(shown.key, choice, rankings)
    orders, choices = agreement_figures(shown.key, choice, look, agreement)
    st.markdown("**How far the scores agree**")
    for column, figure, text, key in zip(
        st.columns(2), (orders, choices), (ORDERS, SELECTIONS), ("orders", "choices"), strict=True
    ):
        with column:
            st.caption(text)
            st.plotly_chart(
                drawn_once(figure),
                key=key,
                theme=None,
                config=chart_config(f"bettiscope-{key}"),
                alt=text,
            )
    st.markdown("**What each selection costs**")
    st.caption(COSTS)
    render_costs(shown, rankings, choice.normalization)
    render_dominance(
        {
            name: size_dominance(shown.key, replace(choice, normalization=name), table)
            for name, table in rankings.items()
        }
    )


def _render_selection(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    """Say what the chosen score selects, and how far its size alone would."""
    chosen = rows.loc[rows["selected"]].sort_values("rank", kind="stable")["layer"].tolist()
    names = ", ".join(code(name or "(model)") for name in chosen[:8])
    more = f" and {len(chosen) - 8} more" if len(chosen) > 8 else ""
    dominance = size_dominance(shown.key, choice, rows)
    selects = f"**Selects** {names}{more}. " if chosen else ""
    st.markdown(selects + dominance_sentence(dominance))
    if rows["rank"].nunique() == 1 and len(chosen) < rows["rank"].notna().sum():
        decided, _ = selection(shown.key, choice, rows, shown.report)
        how = {"normalization": choice.normalization, "summary": choice.summary}
        st.warning(" ".join(decided.sentences(**how)))


def _choose(chart: str) -> None:
    choose_clicked(chart)
    redraw_page()


def _render_chart(title: str, text: str, figure: go.Figure, key: str) -> None:
    with st.container(gap="xsmall"):
        st.markdown(f"**{title}**")
        st.caption(text)
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: _choose(key),
        selection_mode="points",
        theme=None,
        config=chart_config(f"bettiscope-{key}"),
        alt=f"{title}. {text}",
    )
