"""Whether it matters how loops are counted: the layers ranked by each definition."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.text import plural
from analysis.topology.layer_tests import OF_TESTS
from analysis.topology.summaries import SUMMARIES
from app.cache import best_layer_tests
from app.cache.compare import (
    DEFINITIONS,
    definition_figures,
    definition_rankings,
    over_title,
    rankings_agreement,
)
from app.charts.once import drawn_once
from app.components.shared.help_texts import bullet_list
from app.state import Choice, Shown, appearance, choose_clicked
from app.theme import chart_config

RANKS = (
    "Each column is one way to count the loops, each line one layer, the best at the top; all are "
    "divided as the sidebar says. Large points are selected, the sidebar's own count is shaded."
)
ORDERS = "How far two columns order the layers alike (Kendall's τ): 1 is the same, 0 unrelated."
SHORTEST_HELP = (
    "Moves the second column only. Loops that live no longer than this share of the layer's "
    "largest distance do not count there."
)
UNTESTED = (
    "Two more definitions appear once the loops are tested in the section Topology: b₁ against "
    "rotated clouds, and the number of loops that pass."
)


def render_definitions(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section."""
    percent = st.slider(
        "Shortest loop that counts, in % of the layer's largest distance",
        0.0,
        10.0,
        1.0,
        0.25,
        key="shortest",
        bind="query-params",
        help=SHORTEST_HELP,
    )
    tested = best_layer_tests(shown.fingerprint)
    rankings = definition_rankings(shown.key, choice, percent, tested, shown.report)
    st.markdown(_sentence(rankings, percent))
    if tested is None:
        st.caption(UNTESTED)
    key = f"{shown.key} {percent} {tested and tested[0]}"
    agreement = rankings_agreement(f"{key} definitions", choice, rankings)
    ranks, orders = definition_figures(key, choice, layer, appearance(), rankings, agreement)
    st.caption(RANKS)
    st.plotly_chart(
        ranks,
        key="definitions",
        on_select=lambda: choose_clicked("definitions"),
        selection_mode="points",
        theme=None,
        config=chart_config("bettiscope-definitions"),
        alt="The rank of each layer by every definition of its loops",
    )
    helps = {name: summary.help for name, summary in SUMMARIES.items()}
    helps |= {name: of_test.help for name, of_test in OF_TESTS.items()}
    heads = {DEFINITIONS[name]: text for name, text in helps.items()}
    st.caption(ORDERS, help="What the columns count:" + bullet_list(heads))
    st.plotly_chart(
        drawn_once(orders),
        key="definition_orders",
        theme=None,
        config=chart_config("bettiscope-definition-orders"),
        alt=ORDERS,
    )


def _sentence(rankings: dict[str, pd.DataFrame], percent: float) -> str:
    """How far the selection depends on the definition, and on the slider."""
    chosen = {name: set(rows.loc[rows["selected"], "layer"]) for name, rows in rankings.items()}
    either, always = set.union(*chosen.values()), set.intersection(*chosen.values())
    every, over = chosen[DEFINITIONS["b1"]], chosen[over_title(percent)]
    share = len(every & over) / len(every | over) if every | over else 1.0
    return (
        f"The {plural(len(chosen), 'definition')} select {plural(len(either), 'layer')} between "
        f"them, of which **{len(always)}** by all. Without loops shorter than {percent:g} %, b₁ "
        f"selects {len(every & over)} of the {len(every)} layers again (overlap {share:.2f})."
    )
