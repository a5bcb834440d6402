"""What makes a selection surer: more images, more subsets, or another way to pool batches."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.selection.certainty import Certainty
from analysis.text import plural
from analysis.topology.part_clouds import BATCH, SIZE, PartClouds
from analysis.topology.part_store import PartsRequest
from app.cache import selection_certainty
from app.cache.luck import overlap_chart, parts_of_images, parts_table
from app.charts.once import drawn_once
from app.charts.overlap import Line
from app.components.shared.work import render_work, result_of_work
from app.literal import sentence
from app.state import Choice, Shown, appearance
from app.theme import chart_config

FEWEST = 2 * BATCH  # images of which two parts can be compared
OFFER = (
    "Parts of these images that share none choose for themselves. How far two choices overlap "
    "shows what more images, more subsets or larger batches would change."
)
OVERLAP = (
    "Overlap (Jaccard): of the layers that either of two choices has, the share that both have."
)
TEXTS = {
    "images": "More images. One cloud holds up to {size} images, and larger numbers random subsets "
    "of {size}. Hollow points are predicted.",
    "subsets": "More subsets of {size}, from images that stay the same.",
    "batches": f"Batches of {BATCH} images, pooled into one cloud as the paper does, or b₁ of each "
    "batch averaged as the released code does.",
}
FIGURE_12 = (
    "The paper says that the accuracy grows up to about 5 pooled batches. Shown here is whether "
    "other images choose the same layers, not the accuracy."
)


def render_more_images(
    shown: Shown, rows: pd.DataFrame, choice: Choice, drawn: pd.DataFrame | None
) -> None:
    """Draw the part; `drawn` are the overlaps of whole other draws, if these were analysed."""
    st.subheader("What would make it surer?", anchor=False)
    if shown.report.samples < FEWEST or not rows["selected"].any():
        st.caption(f"This needs a selection, from at least {FEWEST} images.")
        return
    request = PartsRequest(shown.fingerprint, shown.options.seed)
    parts = parts_of_images(request, shown.report) or _result_of_job(request)
    if parts is None:
        st.caption(OFFER)
        render_work("parts", request, label="Compare parts of the images", icon=":material/groups:")
        return
    for note in parts.notes:
        st.warning(sentence(note))
    table = parts_table(shown.key, choice, parts, rows, shown.report)
    known = selection_certainty(shown.key, choice, rows, shown.report)
    st.markdown(_sentence(table, known))
    _render_charts(table, known, drawn, shown)


def _result_of_job(request: PartsRequest) -> PartClouds | None:
    """What could not be saved is shown until the page is left."""
    result = result_of_work("parts", request)
    return result if isinstance(result, PartClouds) else None


def _render_charts(
    table: pd.DataFrame, known: Certainty | None, drawn: pd.DataFrame | None, shown: Shown
) -> None:
    size = shown.report.batch_size if shown.report.pooling == "subsets" else SIZE
    st.caption(OVERLAP, help=FIGURE_12)
    charts = {
        "images": (_by_images(table, known, drawn), "images"),
        "subsets": (_by_subsets(table, drawn), "subsets"),
        "batches": (_by_batches(table), "batches"),
    }
    filled = {name: chart for name, chart in charts.items() if chart[0]}
    for column, (name, (lines, title)) in zip(st.columns(len(filled)), filled.items(), strict=True):
        with column:
            st.caption(TEXTS[name].format(size=size))
            st.plotly_chart(
                drawn_once(overlap_chart(lines, title, appearance())),
                key=f"overlap_{name}",
                theme=None,
                config=chart_config(f"bettiscope-overlap-{name}"),
                alt=TEXTS[name].format(size=size),
            )


def _by_images(
    table: pd.DataFrame, known: Certainty | None, drawn: pd.DataFrame | None
) -> tuple[Line, ...]:
    """One cloud, then as many subsets as there are."""
    some = table[table["kind"].isin(("whole", "subsets"))]
    if drawn is not None:
        some = pd.concat([some, drawn])
    some = some.sort_values("clouds").drop_duplicates("images", keep="last")
    lines = [_line("measured", some.sort_values("images"), "images")]
    if known is not None:
        both = (known.now, known.doubled)
        lines.append(
            Line(
                "predicted",
                tuple(one.samples for one in both),
                tuple(one.overlap for one in both),
            )
        )
    return tuple(line for line in lines if line.x)


def _by_subsets(table: pd.DataFrame, drawn: pd.DataFrame | None) -> tuple[Line, ...]:
    some = table[table["kind"] == "subsets"]
    if drawn is not None and drawn["clouds"].max() > 1:
        some = pd.concat([some, drawn])
    return tuple(
        _line(f"of {images} images", group.sort_values("clouds"), "clouds")
        for images, group in some.groupby("images")
    )


def _by_batches(table: pd.DataFrame) -> tuple[Line, ...]:
    lines = []
    for kind in ("pooled", "averaged"):
        some = table[table["kind"] == kind].sort_values("images")
        lines.append(_line(kind, some.assign(batches=some["images"] // BATCH), "batches"))
    return tuple(line for line in lines if line.x)


def _line(name: str, some: pd.DataFrame, column: str) -> Line:
    return Line(name, tuple(some[column]), tuple(some["overlap"]), tuple(some["pairs"]))


def _sentence(table: pd.DataFrame, known: Certainty | None) -> str:
    """The overlap of the largest parts, and of as many images as there are."""
    some = table[table["kind"].isin(("whole", "subsets"))].sort_values(["images", "clouds"])
    if some.empty:
        some = table[table["kind"] == "pooled"].sort_values("images")
    last = some.iloc[-1]
    subsets = f", in {plural(int(last['clouds']), 'subset')} each," if last["clouds"] > 1 else ""
    text = (
        f"Two choices from **{last['images']}** images that share none{subsets} overlap by "
        f"**{last['overlap']:.2f}** (mean of {plural(int(last['pairs']), 'pair')})."
    )
    if known is not None:
        text += (
            f" Predicted for {known.now.samples} images: {known.now.overlap:.2f}; for "
            f"{known.doubled.samples}: {known.doubled.overlap:.2f}."
        )
    return text
