"""Whether the selection is luck: what other images of the same dataset would select."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.selection.certainty import INTERVAL
from analysis.text import first_of
from app.cache import certainty_sentence, selection
from app.cache.luck import drawn_overlaps, luck_chart, luck_table, other_draws
from app.components.compare.deciding_images import render_deciding_images
from app.components.compare.more_images import render_more_images
from app.components.compare.other_draws import render_other_draws
from app.literal import code, sentence
from app.state import Choice, Shown, appearance, choose_clicked
from app.theme import chart_config

ONE_CLOUD = (
    "One cloud of images does not show what others would select. Choose the preset "
    "**recommended** in the sidebar, or analyse other draws below."
)
ORDER = "These layers were not chosen by their loops, so other images cannot change the choice."
CHART = (
    "Each column is a layer. Above: how probable it is that other images choose it. Below: its "
    "rank, and the ranks that 90 % of other draws of images would give it."
)
COUNTED = " Diamonds: the share of {draws} other draws that choose it, counted."
CHART_HELP = (
    "Predicted, not measured: b₁ differs between the random subsets of these images, which shows "
    "how far it would differ with other images. The choice is then repeated with 1,000 pretended "
    "draws."
)


_STYLE = "<style>.st-key-verdict h2 { font-size: 2rem; line-height: 1.25; }</style>"
_NAMED = 8  # layers in a sentence


def render_luck(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section."""
    _render_verdict(shown, rows, choice)
    table = luck_table(shown.key, choice, rows, shown.report)
    others = other_draws(shown)
    overlaps = None
    if others and rows["selected"].any():
        overlaps, shares = drawn_overlaps(shown.key, choice, others, rows, shown.report)
        table = table.assign(drawn=shares)
    _render_selected(rows)
    _render_chart(shown, table, choice, layer, len(others))
    _render_table(table)
    render_other_draws(shown, table, choice, overlaps)
    render_more_images(shown, rows, choice, overlaps)
    render_deciding_images(shown, rows, choice, layer)


def _render_verdict(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    """Say how sure the selection is, or why that is not known."""
    decided, totals = selection(shown.key, choice, rows, shown.report)
    if not totals.chosen:
        st.warning("Nothing is selected. Raise ρ, or choose another preset.")
    elif decided.by_order_alone:
        how = {"normalization": choice.normalization, "summary": choice.summary}
        st.warning(f"{ORDER} {' '.join(decided.sentences(**how))}")
    elif text := certainty_sentence(shown.key, choice, rows, shown.report, shown.options.dataset):
        st.html(_STYLE)
        with st.container(key="verdict"):
            st.header(sentence(text), anchor=False)
    else:
        st.info(ONE_CLOUD)


def _render_selected(rows: pd.DataFrame) -> None:
    """Name the selected layers, each with how probable its choice is."""
    chosen = rows.loc[rows["selected"]].sort_values("rank", kind="stable")
    if chosen["probability"].isna().all():
        return
    named = [
        f"{code(name or '(model)')} {100 * share:.0f} %"
        for name, share in zip(chosen["layer"], chosen["probability"], strict=True)
    ]
    st.markdown(f"How probable each is: {first_of(named, _NAMED)}.")


def _render_chart(
    shown: Shown, table: pd.DataFrame, choice: Choice, layer: str, draws: int
) -> None:
    if table["probability"].isna().all() and "drawn" not in table:
        return
    counted = COUNTED.format(draws=draws) if "drawn" in table else ""
    st.caption(CHART + counted, help=CHART_HELP)
    st.plotly_chart(
        luck_chart(shown.key, choice, layer, appearance(), draws, table),
        key="luck",
        on_select=lambda: choose_clicked("luck"),
        selection_mode="points",
        theme=None,
        config=chart_config("bettiscope-luck"),
        alt="How probable the choice of each layer is, and its rank with other images",
    )


def _render_table(table: pd.DataFrame) -> None:
    """Draw every number."""
    with st.expander("All numbers", key="luck_numbers"):
        percent = [f"{100 * share:.0f} %" for share in INTERVAL]
        shown = pd.DataFrame(
            {
                "layer": table.index,
                "b₁": table["b1"].to_numpy(),
                "± error": table["b1_se"].to_numpy(),
                "rank": table["rank"].array,
                f"rank, {percent[0]}": table["low"].to_numpy(),
                f"rank, {percent[1]}": table["high"].to_numpy(),
                "chosen, %": 100 * table["probability"].to_numpy(dtype=float),
                "selected": table["selected"].to_numpy(),
            }
        )
        if "drawn" in table:
            shown["counted, %"] = 100 * table["drawn"].to_numpy(dtype=float)
        st.dataframe(
            shown.round(2),
            hide_index=True,
            alt="Each layer's loops, ranks and the probability that it is chosen",
        )
