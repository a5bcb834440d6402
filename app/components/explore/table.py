"""All layers as a table that can be sorted and saved."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import streamlit as st

from app.cache import layer_table
from app.cache.worth import layer_gains
from app.components.explore.saving import render_csv_button
from app.components.shared.rho_parts import render_rho_part
from app.state import Choice, Shown

COLUMNS = {
    "layer": ("Layer", "The module's name in the model."),
    "kind": ("Kind", "The module's class."),
    "b1": ("b₁", "Loops in the layer's cloud of activations."),
    "b1_se": (
        "± b₁",
        "Standard error of b₁: how far that of other images would typically lie from it.",
    ),
    "score": (
        "Score",
        "Loops, or the summary chosen under More, divided by the chosen size.",
    ),
    "rank": (
        "Rank",
        "1 is the best score. Equal scores share a rank; those that run first are taken.",
    ),
    "worth": (
        "Worth",
        "Accuracy that training this layer alone gains, in points, measured. See Worth on Compare.",
    ),
    "selected": ("Selected", "Among the best ρ of the layers."),
    "probability": (
        "Chosen",
        "How often other images of the same dataset would choose this layer.",
    ),
    "head": ("Head", "The classifier, which trains without being ranked."),
    "clusters": ("Clusters", "DBSCAN clusters among all images."),
    "noise_share": ("Noise", "Share of images that are in no cluster."),
    "activation_size": ("Activations", "Numbers in all: images × activations per image."),
    "parameters": ("Parameters", "Numbers in this layer that training can change."),
    "flops": ("FLOPs", "Floating-point operations per image; a multiply-add counts as two."),
}
FORMATS = {
    "score": "%.3g",
    "noise_share": "%.1f %%",
    "b1": "%.4g",
    "b1_se": "%.2f",
    "probability": "percent",
    "worth": "%+.1f",
}


def render_table(shown: Shown, choice: Choice) -> None:
    """Draw the table and the button that saves it as CSV."""
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    left.subheader("All layers", anchor=False)
    with right:
        render_rho_part("csv", _render_csv, shown, choice)
    render_rho_part("table", _render_rows, shown, choice)


def _render_csv(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    render_csv_button(
        rows, "layers", shown, choice, width="stretch", help="Save every column of this table."
    )


def _render_rows(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    table, gains = layer_table(shown.key, choice, rows, shown.report), layer_gains(shown)
    if gains:
        worth = [gains.get(name) for name in table["layer"].to_pylist()]  # the head has none
        table = table.append_column("worth", pa.array(worth, pa.float64()))
    st.dataframe(
        table,
        hide_index=True,
        column_order=[name for name in COLUMNS if name != "worth" or gains],
        column_config={
            name: st.column_config.NumberColumn(
                title, help=text, format=FORMATS.get(name, "localized")
            )
            if name not in ("layer", "kind", "selected", "head")
            else st.column_config.Column(title, help=text)
            for name, (title, text) in COLUMNS.items()
        },
        alt="All layers with their measurements",
    )
