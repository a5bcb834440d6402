"""Which images decide the selection, and what it is without some of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import AnalysisError
from analysis.results import TopologyReport
from analysis.selection.influence import Influence, lead_between
from analysis.text import first_of, plural
from analysis.topology.removal_store import RemovalRequest
from analysis.topology.summaries import SUMMARIES
from app.cache import DrawnImages, drawn_images, ranked_rows
from app.cache.luck import influence_chart, influence_of, report_without
from app.charts.once import drawn_once
from app.components.shared.work import render_work, result_of_work
from app.literal import code, literal, sentence, visible
from app.state import Choice, Shown, appearance
from app.theme import chart_config

OFFERED = 8  # images that may be left out
SIDE = 84  # px of the place of a thumbnail
NO_SUBSETS = (
    "This needs random subsets, and a selection of some of the layers. Choose the preset "
    "**recommended** in the sidebar."
)
CHART = (
    "Each point is the lead without one image, with its standard error; the dotted line is the "
    "lead of all images. Below 0 the two layers change places."
)
CHART_HELP = (
    "The random subsets without an image are compared with those that hold it, so a small "
    "influence is lost in the noise of the others. The lead is the difference of the two scores, "
    "in loops of the last selected layer."
)
NO_CLASS = "No class decides."
CLASSES = "The lead without each class, by how many of its images a subset holds."
OFFER = "Without these images the lead seems to shrink most. Tick some and measure it."
MEASURED_HELP = (
    "In every subset that held one of these images, another random image takes its place and the "
    "loops are counted again. All other subsets stay as they were."
)


def render_deciding_images(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the part."""
    st.subheader("Which images decide?", anchor=False)
    influence = influence_of(shown.key, choice, rows, shown.report)
    if influence is None:
        st.caption(NO_SUBSETS)
        return
    images = _images(shown)
    names = [f"image {number}" for number in range(shown.report.samples)]
    if images is not None:
        names = [
            f"image {index}: {name}"
            for index, name in zip(images.indices, images.names, strict=True)
        ]
    st.markdown(_sentence(influence, names, choice))
    st.markdown(_changes_sentence(influence))
    st.caption(CHART, help=CHART_HELP)
    _render_chart(influence, names, "images", shown, choice)
    if images is not None and images.classes:
        _render_classes(images, shown, rows, choice)
    _render_table(influence, names, layer)
    _render_removal(influence, names, images, shown, rows, choice)


def _images(shown: Shown) -> DrawnImages | None:
    try:
        return drawn_images(shown.options, shown.fingerprint)
    except AnalysisError:  # the images behind a saved analysis are gone: their numbers remain
        return None


def _sentence(influence: Influence, names: list[str], choice: Choice) -> str:
    """Whether any image decides."""
    unit = "loops" if choice.summary == "b1" else f"in {SUMMARIES[choice.summary].phrase}"
    lead = (
        f"The last selected layer, {code(influence.last or '(model)')}, leads the next one, "
        f"{code(influence.following or '(model)')}, by {influence.lead:.2f} {unit}."
    )
    if not influence.decisive:
        return f"{lead} **No single image decides**: none changes this by more than chance does."
    which = first_of([literal(names[i]) for i in influence.decisive], 5)
    return f"{lead} **More than chance** change this: {which}."


def _changes_sentence(influence: Influence) -> str:
    return (
        f"Without one image the choice would differ for {influence.changes.sum()} of "
        f"{len(influence.without)}. Images without any influence would give about "
        f"{influence.by_chance:.0f}, because fewer subsets are left."
    )


def _render_chart(
    influence: Influence, names: list[str], what: str, shown: Shown, choice: Choice
) -> None:
    st.plotly_chart(
        drawn_once(influence_chart(shown.key, choice, what, appearance(), influence, names)),
        key=f"influence_{what}",
        theme=None,
        config=chart_config(f"bettiscope-influence-{what}"),
        alt=f"The lead of the last selected layer without each of the {what}",
    )


def _render_classes(images: DrawnImages, shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    classes, groups = np.unique(images.names, return_inverse=True)
    if len(classes) < 2:
        return
    influence = influence_of(shown.key, choice, rows, shown.report, tuple(groups.tolist()))
    if influence is None:
        return
    names = [str(name) for name in classes]
    which = first_of([literal(names[i]) for i in influence.decisive])
    said = f"More than chance changes it: class {which}." if influence.decisive else NO_CLASS
    st.caption(f"{CLASSES} {said}")
    _render_chart(influence, names, "classes", shown, choice)


def _render_table(influence: Influence, names: list[str], layer: str) -> None:
    """Draw the numbers of each image, and what the marked layer would be without it."""
    with st.expander("Every image", key="influence_numbers"):
        table = pd.DataFrame(
            {
                "without": names,
                "lead": influence.without,
                "± error": influence.error,
                "p, Holm": influence.p,
                "choice differs": influence.changes,
            }
        )
        if layer in influence.layers:
            row = influence.layers.index(layer)
            table["b₁ of the marked layer"] = influence.means[row]
            table["± its error"] = influence.means_error[row]
            table["its rank"] = influence.ranks[row]
        st.dataframe(
            table.round(3),
            hide_index=True,
            alt="The lead without each image, and the marked layer's loops and rank",
        )


def _render_removal(
    influence: Influence,
    names: list[str],
    images: DrawnImages | None,
    shown: Shown,
    rows: pd.DataFrame,
    choice: Choice,
) -> None:
    """Offer the images that may tip the selection, and show what it is without the ticked ones."""
    st.markdown("**Leave images out**")
    st.caption(OFFER)
    ticked = []
    with st.container(horizontal=True, key="left_out"):
        for number in influence.strongest[:OFFERED]:
            with st.container(width=SIDE + 36, gap="xsmall"):
                if images is not None:
                    st.image(images.pictures[number])
                label = names[number].removeprefix("image ")
                if st.checkbox(literal(label), key=f"without_{shown.fingerprint}_{number}"):
                    ticked.append(number)
    if images is not None and images.classes:
        ticked += _class_to_leave_out(images)
    if not ticked:
        return
    request = RemovalRequest(shown.fingerprint, tuple(ticked))
    smaller = report_without(request, shown.report) or _result_of_job(request)
    if smaller is None:
        count = plural(len(request.images), "image")
        label = f"Measure without {count}"
        render_work("removal", request, label=label, icon=":material/content_cut:")
        return
    for note in smaller.notes:
        st.warning(sentence(note))
    how = {"normalization": choice.normalization, "summary": choice.summary}
    lead = lead_between(smaller, influence.last, influence.following, **how)
    after = ranked_rows(smaller, choice)
    st.markdown(_removal_sentence(rows, after, influence.lead, lead), help=MEASURED_HELP)


def _class_to_leave_out(images: DrawnImages) -> list[int]:
    """Draw the choice of a class, and return the positions of its images."""
    name = st.selectbox(
        "A whole class",
        sorted(set(images.names)),
        index=None,
        key="without_class",
        placeholder="none",
        format_func=visible,
        help="All its images are left out, with those that are ticked.",
        width=240,
    )
    return [number for number, other in enumerate(images.names) if other == name]


def _result_of_job(request: RemovalRequest) -> TopologyReport | None:
    """What could not be saved is shown until the page is left."""
    result = result_of_work("removal", request)
    return result if isinstance(result, TopologyReport) else None


def _removal_sentence(before: pd.DataFrame, after: pd.DataFrame, led: float, lead: float) -> str:
    """What changes; the lead was `led` and is `lead`."""
    old, new = (rows.loc[rows["selected"], "layer"].tolist() for rows in (before, after))
    change = f"{lead:.2f} instead of {led:.2f}".replace("-", "−")
    gone, come = [n for n in old if n not in new], [n for n in new if n not in old]
    if not gone:
        return (
            f"Measured without them: **the same {plural(len(old), 'layer')}**. The lead is "
            f"{change}."
        )
    odds = before.set_index("layer")["probability"]

    def named(layers: list[str]) -> str:
        return first_of(
            f"{code(name or '(model)')} (chosen by {100 * odds[name]:.0f} % of other draws)"
            if not pd.isna(odds[name])
            else code(name or "(model)")
            for name in layers
        )

    verb, other = ("leaves", "leave")[len(gone) > 1], ("enters", "enter")[len(come) > 1]
    return (
        f"Measured without them: **the selection changes**. {named(gone)} {verb}, "
        f"{named(come)} {other}. The lead is {change}."
    )
