"""Which layers are alike: by their images, by their diagrams, and by their loops at every scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.results import Float64, LayerTopology
from analysis.selection.resemblance import MEASURES, ResemblanceRequest
from app.cache.alike import alike_images, pair_charts, pairs_chart, surface_chart
from app.charts.once import drawn_once
from app.components.shared.cloud_choice import chosen_cloud
from app.components.shared.help_texts import bullet_list
from app.components.shared.live_microscope import render_live_microscope
from app.components.shared.obtain import images_of
from app.components.shared.work import render_work, result_of_work
from app.literal import literal, visible
from app.state import (
    Choice,
    Shown,
    appearance,
    choose_clicked,
    choose_height,
    choose_layer,
    clicked_height,
)
from app.theme import chart_config

_BESIDE = "beside"
PAIRS = (
    "Each cell is a pair of layers, in the order in which they run. The stronger its colour, the "
    "more alike they are. Click one to compare the pair."
)
SURFACE = (
    "Each column is a layer, each height a scale: the stronger the colour, the more loops are "
    "alive there. Click to move the live view to that layer and scale."
)


def render_alike(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the section."""
    images = alike_images(shown.key, shown.report)
    st.markdown(_sentence(images))
    names = shown.report.names
    with st.container(horizontal=True, vertical_alignment="bottom"):
        measure = st.segmented_control(
            "Alike by",
            list(MEASURES),
            format_func=lambda name: MEASURES[name].title,
            default="cka",
            required=True,
            key="alike_by",
            bind="query-params",
            help=bullet_list({one.title: one.help for one in MEASURES.values()}),
        )
        beside = _choose_beside(names, layer)
    values = images if measure == "cka" else _distances(shown, str(measure))
    if values is not None:
        _render_pairs(shown, str(measure), values, (layer, beside))
    above = st.container()
    st.markdown("**Loops at every scale**")
    share, clicks = clicked_height(layer) or (None, 0)
    figure, most = surface_chart(shown.key, layer, share, appearance(), shown.report)
    st.caption(f"{SURFACE} Over all layers most loops live at {most:.0f} %.")
    left, right = st.columns([5, 4], gap="medium")
    with left:
        st.plotly_chart(
            figure,
            key="surface",
            on_select=_scrub,
            selection_mode="points",
            theme=None,
            config=chart_config("bettiscope-betti-surface"),
            alt="Loops of each layer at each scale",
        )
    with right:
        _render_live(shown, shown.report.layer(layer), choice, share, clicks)
    with above:  # drawn last, since the live view has the choice of the cloud
        _render_pair(shown, (layer, beside), {"cka": images, str(measure): values})


def _scrub() -> None:
    """Open the layer that was clicked, at that scale."""
    choose_clicked("surface")
    points = st.session_state["surface"].selection.points
    if points:
        choose_height(*points[-1]["customdata"])


def _render_live(
    shown: Shown, layer: LayerTopology, choice: Choice, share: float | None, clicks: int
) -> None:
    """Draw the live view of the layer, at the scale of the last click on it.

    Without clicks in this session, at the scale that the link says.
    """
    st.markdown(f"**{literal(layer.name or '(model)')}, live**")
    if not layer.finite:
        st.caption("Some activations of this layer are not finite, so it has no topology.")
        return
    clicked = (share * layer.diameter, clicks) if share is not None and clicks else None
    render_live_microscope(shown, layer, choice, images_of(shown), clicked=clicked)


def _sentence(images: Float64) -> str:
    """How much more alike neighbours are than any two layers."""
    neighbours = np.diagonal(images, 1)
    pairs = images[np.triu_indices(len(images), 1)]
    if not np.isfinite(neighbours).any():
        return "**There are no two layers to compare.**"
    return (
        f"**Layers that follow each other arrange the images alike: CKA "
        f"{np.nanmean(neighbours):.2f} on average, against {np.nanmean(pairs):.2f} over all "
        "pairs.** 1 means that they do so in the same way, 0 that nothing is common."
    )


def _choose_beside(names: list[str], layer: str) -> str:
    place = names.index(layer)
    if st.session_state.get(_BESIDE) not in names:
        st.session_state[_BESIDE] = names[place - 1 if place else min(1, len(names) - 1)]
    return st.selectbox(
        "Compare it with",
        names,
        key=_BESIDE,
        format_func=lambda name: visible(name) or "(model)",
        help="The other layer of the pair. A click on a cell chooses both.",
        width=340,
    )


def _distances(shown: Shown, measure: str) -> Float64 | None:
    """The distances of all pairs of diagrams, once they are computed."""
    request = ResemblanceRequest(shown.fingerprint, measure)
    found = result_of_work(measure, request)
    if isinstance(found, np.ndarray):
        return found
    render_work(measure, request, label="Compare all diagrams", icon=":material/compare_arrows:")
    return None


def _render_pairs(shown: Shown, measure: str, values: Float64, pair: tuple[str, str]) -> None:
    st.caption(PAIRS)
    st.plotly_chart(
        pairs_chart(shown.key, measure, pair, appearance(), values, shown.report.names),
        key="pairs",
        on_select=_choose_pair,
        selection_mode="points",
        theme=None,
        config=chart_config(f"bettiscope-{measure}"),
        alt=f"{MEASURES[measure].title} of each pair of layers",
    )


def _choose_pair() -> None:
    points = st.session_state["pairs"].selection.points
    if points:
        row, column = points[-1]["customdata"]
        choose_layer(row)
        st.session_state[_BESIDE] = column


def _render_pair(shown: Shown, pair: tuple[str, str], known: dict[str, Float64 | None]) -> None:
    row, column = map(shown.report.names.index, pair)
    texts = [
        f"{MEASURES[name].title} {values[row, column]:.3g}"
        for name, values in known.items()
        if values is not None and np.isfinite(values[row, column])
    ]
    st.markdown("**The pair**")
    whose = f" The diagrams are those of {_cloud(shown)}." if len(shown.report.clouds) > 1 else ""
    st.caption(f"{', '.join(texts) or 'Nothing to compare'}.{whose}")
    columns = st.columns(2)
    figures = pair_charts(shown.key, pair, chosen_cloud(shown), appearance(), shown.report)
    for side, (name, figure) in enumerate(zip(pair, figures, strict=True)):
        with columns[side]:
            st.markdown(literal(name or "(model)"))
            st.plotly_chart(
                drawn_once(figure),
                key=f"pair_{side}",
                theme=None,
                config=chart_config(f"bettiscope-diagram-{name}"),
                alt=f"The persistence diagram of {name}",
            )


def _cloud(shown: Shown) -> str:
    """Which of several clouds the live view shows, and so the pair."""
    cloud = chosen_cloud(shown)
    if cloud is None:
        return f"all {shown.report.samples} images as one cloud"
    return f"{'subset' if shown.report.pooling == 'subsets' else 'batch'} {cloud + 1}"
