"""One layer at close range, and up to four of them side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.errors import AnalysisError
from analysis.results import LayerTopology
from analysis.text import plural, share_text
from analysis.topology.summaries import SUMMARIES, average, betti_curve, long_intervals
from app.cache import DrawnImages, diagram, drawn_images, embedding, image_map
from app.charts.diagram import barcode_figure, betti_curve_figure, common_span
from app.components.explore.groups import groups
from app.components.explore.saving import render_csv_button, to_save
from app.components.explore.thumbnails import render_thumbnails
from app.literal import literal, sentence, visible
from app.state import MAX_PINNED, Choice, Shown, appearance, choose_layer, session
from app.theme import PALETTES

DIAGRAM_HELP = (
    "Each dot is one loop of images: it is born when growing balls around them close a ring, and "
    "dies when they fill it. Dots far above the diagonal live long."
)
MAP_HELP = (
    "Images that are close here are close in this layer, as far as two dimensions allow. The axes "
    "have no meaning of their own."
)
BARCODE_HELP = "The same loops as bars, from birth to death."
CURVE_HELP = "Betti curve: how many loops are alive at each distance."


def render_microscope(shown: Shown, rows: pd.DataFrame, choice: Choice, layer: str) -> None:
    """Draw the open layer with its controls."""
    profile = session().profile
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    left.selectbox(
        "Layer under the microscope",
        rows["layer"].tolist(),
        key="layer",
        on_change=_choose_layer,
        format_func=lambda name: visible(name) or "(model)",
        help="Choose a layer here, or click its row in the profile.",
    )
    pinned = layer in profile.pinned_layers
    full = not pinned and len(profile.pinned_layers) >= MAX_PINNED
    right.button(
        "Unpin" if pinned else "Pin",
        key="pin",
        icon=":material/keep_off:" if pinned else ":material/keep:",
        on_click=_toggle_pin,
        args=(layer,),
        disabled=full,
        width="stretch",
        help=f"Show up to {MAX_PINNED} layers side by side, further down the page.",
    )
    measured = shown.report.layer(layer)
    st.caption(_facts(rows, measured))
    if not measured.finite:
        st.warning("Some activations of this layer are not finite, so it has no topology.")
        return
    shapes, curve, bars = st.tabs(
        ["Persistence diagram", "Betti curve", "Barcode"], key="loops", on_change="rerun"
    )
    if shapes.open:
        with shapes:
            _render_diagram(shown, measured, choice, "diagram", 260)
            _offer(_intervals(measured), "diagram", shown, choice, measured)
    if curve.open:
        with curve:
            _render_curve(shown, measured, choice)
    if bars.open:
        with bars:
            _render_barcode(shown, measured, choice)
    _render_images(shown, choice, measured)


def render_pinned(shown: Shown, rows: pd.DataFrame, choice: Choice) -> None:
    """Draw the pinned layers side by side."""
    profile = session().profile
    if not profile.pinned_layers:
        return
    st.subheader("Pinned layers", anchor=False)
    finite = [layer for layer in map(shown.report.layer, profile.pinned_layers) if layer.finite]
    span = common_span([layer.diagram for layer in finite])
    if len(finite) > 1:
        st.caption(
            "All diagrams have the same axes. The maps have no unit."
            if span
            else "Each diagram has its own axes, because the layers' distances differ too much. "
            "The maps have no unit."
        )
    for column, name in zip(
        st.columns(max(2, len(profile.pinned_layers))), profile.pinned_layers, strict=False
    ):
        with column, st.container(border=True, key=f"pinned_{name}"):
            layer = shown.report.layer(name)
            st.markdown(f"**{literal(name or '(model)')}**")
            st.caption(_facts(rows, layer, "\n\n"))
            st.button("Unpin", key=f"unpin_{name}", on_click=_toggle_pin, args=(name,))
            if not layer.finite:
                st.warning("Some activations are not finite: no topology.")
                continue
            _render_diagram(shown, layer, choice, f"diagram_{name}", 240, span)
            _render_map(shown, choice, layer, "cluster", f"map_{name}", 240)


def _render_diagram(
    shown: Shown,
    layer: LayerTopology,
    choice: Choice,
    key: str,
    height: int,
    span: tuple[float, float] | None = None,
) -> None:
    batches = len(layer.diagrams)
    of = f" (mean of {batches} batches; all are drawn)" if batches > 1 else ""
    st.caption(f"b₁ = {plural(layer.b1, 'loop')}{of}", help=DIAGRAM_HELP)
    shortest = shown.report.shortest_loop(layer)
    drawn = diagram(shown.key, layer.name, shortest, span, appearance(), height, shown.report)
    figure, config = to_save(drawn, "diagram", shown, choice, layer.name)
    st.plotly_chart(
        figure,
        key=key,
        theme=None,
        config=config,
        alt=f"Persistence diagram of {layer.name}",
    )


def _render_curve(shown: Shown, layer: LayerTopology, choice: Choice) -> None:
    batches = len(layer.diagrams)
    of = f" (mean of {batches} batches)" if batches > 1 else ""
    st.caption(f"Loops alive at each distance{of}", help=CURVE_HELP)
    scales, counts = betti_curve(long_intervals(layer.diagram, shown.report.shortest_loop(layer)))
    alive = counts / batches
    figure = betti_curve_figure(scales, alive, palette=PALETTES[appearance()], height=300)
    figure, config = to_save(figure, "betti-curve", shown, choice, layer.name)
    st.plotly_chart(figure, key="curve", theme=None, config=config)
    table = pd.DataFrame({"distance": scales, "loops": alive})
    _offer(table, "curve", shown, choice, layer)
    shortest = shown.report.shortest_loop(layer)
    values = [average(layer.diagrams, name, shortest) for name in SUMMARIES]
    titles = [summary.title for summary in SUMMARIES.values()]
    table = pd.DataFrame({"summary": titles, "value": np.round(values, 3)})
    st.dataframe(table, hide_index=True, height="content")


def _render_barcode(shown: Shown, layer: LayerTopology, choice: Choice) -> None:
    st.caption("Each loop from birth to death", help=BARCODE_HELP)
    figure = barcode_figure(
        layer.diagram,
        min_persistence=shown.report.shortest_loop(layer),
        palette=PALETTES[appearance()],
        height=300,
    )
    figure, config = to_save(figure, "barcode", shown, choice, layer.name)
    st.plotly_chart(figure, key="barcode", theme=None, config=config)
    _offer(_intervals(layer), "loops", shown, choice, layer)


def _intervals(layer: LayerTopology) -> pd.DataFrame:
    return pd.DataFrame(layer.diagram, columns=["birth", "death"])


def _render_images(shown: Shown, choice: Choice, layer: LayerTopology) -> None:
    plane, pictures = st.tabs(["Map of the images", "The images"], key="images", on_change="rerun")
    if plane.open:
        with plane:
            colour = st.segmented_control(
                "Colour by",
                ["cluster", "class"],
                default="cluster",
                required=True,
                key="colour",
                bind="query-params",
                help="The DBSCAN cluster in this layer, or the image's true class, which the "
                "analysis never uses.",
            )
            _render_map(shown, choice, layer, colour or "cluster", "map", 330)
    if pictures.open:
        with pictures:
            data = _images_of(shown)
            if data is not None:
                render_thumbnails(data.pictures, groups(layer))


def _images_of(shown: Shown) -> DrawnImages | None:
    try:
        return drawn_images(shown.options, shown.key.partition(" ")[0])
    except AnalysisError as error:  # the images behind a saved analysis are gone
        st.warning(sentence(error))
        return None


def _render_map(
    shown: Shown, choice: Choice, layer: LayerTopology, colour: str, key: str, height: int
) -> None:
    data = _images_of(shown)
    if data is None:
        return
    assert layer.clustering is not None
    count, noise = layer.clustering.count, layer.clustering.noise_share
    # A pinned card is too narrow for the radius.
    radius = f" · radius {layer.clustering.eps:.4g}" if key == "map" else ""
    clusters = f"{plural(count, 'DBSCAN cluster')}, {share_text(noise)} noise"
    st.caption(clusters + radius, help=MAP_HELP)
    members = groups(layer) if colour == "cluster" else data.names
    drawn = image_map(
        shown.key, layer.name, colour, appearance(), height, data, members, shown.report
    )
    figure, config = to_save(drawn, "map", shown, choice, layer.name)
    st.plotly_chart(
        figure,
        key=key,
        theme=None,
        config=config,
        alt=f"The images by their distances in {layer.name}",
    )
    if key == "map":
        points = embedding(shown.key, layer.name, shown.report)
        table = pd.DataFrame(points, columns=["x", "y"])
        table = table.assign(image=data.indices, label=data.names, cluster=groups(layer))
        _offer(table, "map", shown, choice, layer)


def _offer(
    table: pd.DataFrame, what: str, shown: Shown, choice: Choice, layer: LayerTopology
) -> None:
    render_csv_button(
        table.assign(layer=layer.name),
        f"{what}-{layer.name}",
        shown,
        choice,
        key=f"save_{what}",
        type="tertiary",
        help="Save the numbers in this figure.",
    )


def _facts(rows: pd.DataFrame, layer: LayerTopology, separator: str = " · ") -> str:
    row = rows.loc[rows["layer"] == layer.name].iloc[0]
    rank = "always trained" if row["head"] else "not ranked"
    if pd.notna(row["rank"]):
        rank = f"rank {row['rank']} of {rows['rank'].notna().sum()}"
        alike = int((rows["rank"] == row["rank"]).sum())
        rank += f", shared by {alike}" if alike > 1 else ""
    shape = " × ".join(map(str, layer.activation_shape))
    facts = (literal(layer.kind), f"{shape} activations", f"{layer.parameters:,} parameters", rank)
    return separator.join(facts)


def _toggle_pin(name: str) -> None:
    pinned = session().profile.pinned_layers
    if name in pinned:
        pinned.remove(name)
    elif len(pinned) < MAX_PINNED:
        pinned.append(name)


def _choose_layer() -> None:
    choose_layer(st.session_state["layer"])
    session().profile.figure_key = None  # the profile shows the open row when it is next drawn
