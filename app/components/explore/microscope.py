"""One layer at close range, and up to four of them side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.results import LayerTopology
from analysis.selection.export import caption, file_stem, of_a_layer
from analysis.text import plural, share_text
from analysis.topology.layer_test_store import RotationRequest
from analysis.topology.rotation import LEVEL, Truths
from analysis.topology.summaries import (
    SUMMARIES,
    average,
    betti_curve,
    cloud_values,
    long_intervals,
)
from app.cache import (
    best_layer_tests,
    diagram,
    drawn_loops,
    embedding,
    image_map,
    passing_loops,
)
from app.charts.diagram import barcode_figure, betti_curve_figure, common_span
from app.charts.once import drawn_once
from app.charts.subsets import subset_counts_figure
from app.components.explore.groups import groups
from app.components.explore.layer_parts import MICROSCOPE, redraw_layer_parts
from app.components.explore.layout import set_open_row
from app.components.explore.profile import forget_clicks
from app.components.explore.saving import render_csv_button, settings_of, to_save
from app.components.explore.thumbnails import render_thumbnails
from app.components.shared.cloud_choice import (
    chosen_cloud,
    chosen_subset,
    cloud_name,
    render_batch,
    render_subset,
)
from app.components.shared.cluster_curve import render_cluster_curve
from app.components.shared.glossary import linked
from app.components.shared.layer_control import open_in_part, take_choice
from app.components.shared.live_microscope import (
    render_live_layers,
    render_live_microscope,
    render_live_tour,
)
from app.components.shared.obtain import images_of
from app.components.shared.polling import redraw_page
from app.literal import literal, visible
from app.state import (
    MAX_PINNED,
    Choice,
    Shown,
    appearance,
    session,
)
from app.theme import PALETTES

DIAGRAM_HELP = (
    f"Each dot is one {linked('loop')} of images: it is born when growing balls around them close "
    "a ring, and dies when they fill it. Dots far above the diagonal live long."
)
MAP_HELP = (
    f"Images that are close here are close in this {linked('cloud', 'layer')}, as far as two "
    "dimensions allow. The axes have no meaning of their own."
)
TOUR_HELP = (
    "The maps of all layers one after the other, each of the same size, and turned or reflected to "
    "match the one before it best (Procrustes). Choose a class or an image to follow it."
)
BARCODE_HELP = f"The same loops as bars, from {linked('birth and death', 'birth to death')}."
CURVE_HELP = f"{linked('Betti curve')}: how many loops are alive at each distance."


def render_microscope(shown: Shown, rows: pd.DataFrame, choice: Choice, best: str) -> None:
    """Draw the open layer with its controls; it is `best` unless another one is chosen."""
    st.fragment(_render, key=MICROSCOPE)(shown, rows, choice, best)


def _render(shown: Shown, rows: pd.DataFrame, choice: Choice, best: str) -> None:
    profile, layer = session().profile, open_in_part(MICROSCOPE, best)
    set_open_row(rows["layer"].tolist().index(layer))
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
    shapes, curve, bars, live = st.tabs(
        ["Persistence diagram", "Betti curve", "Barcode", "Live"],
        key="loops",
        on_change="rerun",
        bind="query-params",
    )
    if live.open:
        with live:
            render_live_microscope(shown, measured, choice, images_of(shown))
        return
    render_subset(shown)
    if shapes.open:
        with shapes:
            _render_diagram(shown, measured, choice, "diagram", 240)
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
    if len(finite) > 1 and _wants_live_layers():
        _render_live_layers(shown, [layer.name for layer in finite], choice)
        return
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


def _wants_live_layers() -> bool:
    """Draw the choice between figures and the live view of all pinned layers."""
    chosen = st.segmented_control(
        "Show them",
        ["as figures", "live"],
        default="as figures",
        required=True,
        key="pins_as",
        bind="query-params",
        help="Live: one ε moves all pinned layers, and images that you choose in one light up in "
        "the others.",
    )
    return chosen == "live"


def _render_live_layers(shown: Shown, layers: list[str], choice: Choice) -> None:
    render_batch(shown, "pins")
    settings = of_a_layer(settings_of(shown, choice))
    render_live_layers(
        shown,
        tuple(layers),
        choice,
        images_of(shown),
        cloud=chosen_cloud(shown),
        title=f"{', '.join(name or '(model)' for name in layers)}, {caption(settings)}",
        file_name=f"{file_stem(cloud_name('live-layers', shown), settings)}.html",
    )


def _render_diagram(
    shown: Shown,
    layer: LayerTopology,
    choice: Choice,
    key: str,
    height: int,
    span: tuple[float, float] | None = None,
) -> None:
    clouds, number = len(layer.diagrams), chosen_subset(shown)
    of = f" (mean of {clouds} batches; all are drawn)" if clouds > 1 else ""
    if number is not None:
        drawn = f"is subset {number}" if number else _whole(shown, layer)
        of = f" (mean of {clouds} subsets; drawn {drawn})"
    tested, passes = _passing(shown, layer)
    st.caption(f"b₁ = {plural(layer.b1, 'loop')}{of}{_tested(passes)}", help=DIAGRAM_HELP)
    shortest = shown.report.shortest_loop(layer)
    look = appearance()
    plain = diagram(
        shown.key, layer.name, number, shortest, span, look, height, tested, passes, shown.report
    )
    figure, config = to_save(plain, "diagram", shown, choice, layer.name)
    st.plotly_chart(
        drawn_once(figure),
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
    st.plotly_chart(drawn_once(figure), key="curve", theme=None, config=config)
    table = pd.DataFrame({"distance": scales, "loops": alive})
    _offer(table, "curve", shown, choice, layer)
    if (number := chosen_subset(shown)) is not None:
        loops = cloud_values(layer, "b1", shown.report.shortest_loop(layer))
        st.caption(f"b₁ of each subset; the dashed line is their mean, {layer.b1:.4g}")
        counts = subset_counts_figure(loops, shown=number, palette=PALETTES[appearance()])
        st.plotly_chart(drawn_once(counts), key="subset_counts", theme=None)
    render_cluster_curve(shown, layer, choice)
    shortest = shown.report.shortest_loop(layer)
    values = [average(layer.diagrams, name, shortest) for name in SUMMARIES]
    titles = [summary.title for summary in SUMMARIES.values()]
    table = pd.DataFrame({"summary": titles, "value": np.round(values, 3)})
    st.dataframe(table, hide_index=True, height="content")


def _render_barcode(shown: Shown, layer: LayerTopology, choice: Choice) -> None:
    _, passes = _passing(shown, layer)
    st.caption(f"Each loop from birth to death{_tested(passes)}", help=BARCODE_HELP)
    figure = barcode_figure(
        drawn_loops(shown.key, layer.name, chosen_subset(shown), shown.report),
        min_persistence=shown.report.shortest_loop(layer),
        passes=passes,
        palette=PALETTES[appearance()],
        height=300,
    )
    figure, config = to_save(figure, "barcode", shown, choice, layer.name)
    st.plotly_chart(drawn_once(figure), key="barcode", theme=None, config=config)
    _offer(_intervals(layer), "loops", shown, choice, layer)


def _whole(shown: Shown, layer: LayerTopology) -> str:
    """What the loops of all images as one cloud are, after "drawn"."""
    loops = drawn_loops(shown.key, layer.name, 0, shown.report)
    count = len(long_intervals(loops, shown.report.shortest_loop(layer)))
    return f"are all {shown.report.samples} images as one cloud: {plural(count, 'loop')}"


def _passing(shown: Shown, layer: LayerTopology) -> tuple[RotationRequest | None, Truths | None]:
    """The test of the loops, if it was made on Compare, and which of the drawn ones pass it."""
    made = best_layer_tests(shown.fingerprint)
    test = made[1].tests.get(layer.name) if made else None
    if made is None or test is None:
        return None, None
    number = chosen_subset(shown)
    if number == 0:  # no test is of all images as one cloud
        return None, None
    if number:
        return made[0], passing_loops(made[0], layer.name, number, shown.report)
    if len(test.bars) != len(layer.diagram):
        return None, None
    return made[0], test.bars <= LEVEL


def _tested(passes: Truths | None) -> str:
    """What filled and hollow marks mean, once the loops were tested."""
    if passes is None or not len(passes):
        return ""
    return f" · {passes.sum()} filled: longer than in rotated clouds (p ≤ {LEVEL:g})"


def _intervals(layer: LayerTopology) -> pd.DataFrame:
    return pd.DataFrame(layer.diagram, columns=["birth", "death"])


def _render_images(shown: Shown, choice: Choice, layer: LayerTopology) -> None:
    plane, pictures, tour = st.tabs(
        ["Map of the images", "The images", "Through the layers"],
        key="images",
        on_change="rerun",
        bind="query-params",
    )
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
            data = images_of(shown)
            if data is not None:
                render_thumbnails(data.pictures, groups(layer))
    if tour.open:
        with tour:
            render_batch(shown, "tour")
            st.caption("Where each image goes from layer to layer", help=TOUR_HELP)
            what = cloud_name("through-the-layers", shown)
            stem = file_stem(what, of_a_layer(settings_of(shown, choice)))
            render_live_tour(
                shown,
                layer.name,
                images_of(shown),
                cloud=chosen_cloud(shown),
                file_name=f"{stem}.html",
            )


def _render_map(
    shown: Shown, choice: Choice, layer: LayerTopology, colour: str, key: str, height: int
) -> None:
    data = images_of(shown)
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
        drawn_once(figure),
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
        what,
        shown,
        choice,
        layer.name,
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
    redraw_page()


def _choose_layer() -> None:
    if take_choice(MICROSCOPE):
        redraw_layer_parts(*forget_clicks())
