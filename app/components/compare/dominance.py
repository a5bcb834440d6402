"""How far the size of the layers makes a ranking, in a sentence and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from analysis.selection.agreement import SizeDominance
from analysis.selection.scores import normalization_of
from analysis.text import percent_text, plural, signed

STRONG = 0.8  # of a rank correlation that is called nearly the same order
WEAK = 0.4
ROUNDED = 0.05  # a smaller part of a layer is not shown
TABLE = (
    "1 means that the score ranks the layers in the same order as this column does, 0 that it has "
    "nothing to do with it."
)
COLUMNS = {
    "Size": "Spearman's correlation of the score with 1/|a|, the smallest layer first.",
    "Loops": "Spearman's correlation of the score with b₁.",
    "Loops, equal size": "The same for layers of equal |a| (partial rank correlation). It is "
    "missing where size alone sets the whole order.",
}


def dominance_sentence(found: SizeDominance) -> str:
    """Say it for somebody who has not met rank correlation."""
    if not found.chosen:
        return "Nothing is selected, so there is nothing to compare with size."
    if math.isnan(found.size.coefficient):
        return "All layers have the same score or the same size, so size decides nothing here."
    order = f"{_order(found.size.coefficient)} (Spearman {signed(found.size.coefficient, 2)})"
    if found.chosen == 1:
        chance = percent_text(found.by_size, 1)
        finds = {0.0: "finds another one", 1.0: "finds the same one"}.get(
            found.by_size, f"finds this one with a chance of {chance}"
        )
        by_lot = f"has a chance of {percent_text(1, found.ranked)}"
        return (
            f"{order}. Choosing by size alone, without the loops, {finds}; a random draw {by_lot}."
        )
    exact = abs(found.by_size - round(found.by_size)) < ROUNDED
    average = "" if exact else f" on average, because {found.tied} layers have one size"
    return (
        f"{order}. Choosing {plural(found.chosen, 'layer')} by size alone, without the loops, "
        f"finds {_count(found.by_size)} of these {found.chosen}{average}; a random draw finds "
        f"{_count(found.chosen**2 / found.ranked)}."
    )


def render_dominance(found: Mapping[str, SizeDominance]) -> None:
    """Draw a table with one row per normalisation, by its name."""
    st.markdown("**Loops or size?**")
    st.caption(TABLE)
    numbers = {
        title: st.column_config.NumberColumn(title, help=text, format="%.2f")
        for title, text in COLUMNS.items()
    }
    st.dataframe(
        pd.DataFrame(
            {
                "Score": [normalization_of(name).title for name in found],
                "Size": [one.size.coefficient for one in found.values()],
                "Loops": [one.loops.coefficient for one in found.values()],
                "Loops, equal size": [
                    one.loops_at_equal_size.coefficient for one in found.values()
                ],
                "Chosen by size": [
                    f"{_count(one.by_size)} of {one.chosen}" for one in found.values()
                ],
            }
        ),
        hide_index=True,
        height="content",
        column_config=numbers,
        alt="How far each score follows the size of the layers, and how far the loops",
    )


def _order(coefficient: float) -> str:
    if coefficient >= STRONG:
        return "This order is nearly that of size, the smallest layers first"
    if coefficient >= WEAK:
        return "This order follows size, as small layers tend to come first"
    if coefficient > -WEAK:
        return "This order has little to do with size"
    return "In this order large layers tend to come first"


def _count(number: float) -> str:
    return f"{number:.0f}" if abs(number - round(number)) < ROUNDED else f"{number:.1f}"
