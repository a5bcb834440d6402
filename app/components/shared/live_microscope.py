"""The live microscope: one scale drives all views of a cloud, in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from analysis.results import LayerTopology
from analysis.selection.export import caption, file_stem, of_a_layer
from analysis.selection.export import settings as settings_of
from app.cache import DrawnImages
from app.cache.live import MOST_IMAGES, live_cloud, live_layers, live_tour
from app.charts.live import MODULE, layers_module, live_page
from app.components.shared.cloud_choice import (
    chosen_cloud,
    cloud_name,
    render_batch,
    render_subset,
)
from app.components.shared.glossary import linked
from app.state import Choice, Shown, appearance

_draw = st.components.v2.component("live_microscope", js=MODULE.read_text("utf-8"))
_draw_layers = st.components.v2.component("live_layers", js=layers_module())
HELP = (
    f"Move {linked('ε')}, or press play: edges join images that are no further apart than ε, and "
    "triangles fill three that are joined. The arrow keys move ε, with Shift from event to event. "
    "Click a bar or a dot of the diagram for its loop, an image for its cluster, or draw a line "
    "round images to light them everywhere on the page. The map keeps "
    "distances only as far as two dimensions allow, so discs of radius ε / 2 may touch "
    "without an edge."
)


def render_live_microscope(
    shown: Shown,
    layer: LayerTopology,
    choice: Choice,
    images: DrawnImages | None,
    *,
    clicked: tuple[float, int] | None = None,
) -> None:
    """Draw a cloud of a finite layer, the choice of it, and a button that saves it as a page.

    `clicked` is a scale to move to once, and a number that differs for another click.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        render_subset(shown)
        render_batch(shown, "live")
        st.caption("One ε, every view", help=HELP, width="content")
    cloud = chosen_cloud(shown)
    if _says_too_many(shown, cloud):
        return
    data = live_cloud(
        shown.key,
        layer.name,
        cloud,
        choice.clusters.min_samples,
        shown.report.shortest_loop(layer),
        appearance(),
        images,
        shown.report,
    )
    scale, clicks = clicked or (0.0, 0)
    draw_live(data | {"link": True, "scale": scale, "clicks": clicks}, key="live")
    settings = of_a_layer(settings_of(shown.options, choice.settings()))
    title = f"{layer.name or '(model)'}, {caption(settings)}"
    stem = file_stem(cloud_name(f"live-{layer.name}", shown), settings)
    _render_save(data, title, f"{stem}.html")


def render_live_layers(
    shown: Shown,
    layers: tuple[str, ...],
    choice: Choice,
    images: DrawnImages | None,
    *,
    cloud: int | None,
    title: str,
    file_name: str,
) -> None:
    """Draw a cloud in several finite layers under one scale, and a button that saves it."""
    if _says_too_many(shown, cloud):
        return
    least = choice.clusters.min_samples
    data = live_layers(shown.key, layers, cloud, least, appearance(), images, shown.report)
    _draw_layers(data=data | {"link": True}, key="live_layers")
    _render_save(data, title, file_name, key="save_layers")


def render_live_tour(
    shown: Shown, layer: str, images: DrawnImages | None, *, cloud: int | None, file_name: str
) -> None:
    """Draw the maps of a cloud in all finite layers one after the other, from `layer` on."""
    if _says_too_many(shown, cloud):
        return
    data = live_tour(shown.key, layer, cloud, appearance(), images, shown.report)
    _draw_layers(data=data | {"link": True}, key="live_tour")
    _render_save(data, "The images through the layers", file_name, key="save_tour")


def _says_too_many(shown: Shown, cloud: int | None) -> bool:
    points = shown.report.samples
    if cloud is not None:
        points = shown.report.clouds.shape[1] or points
    if points > MOST_IMAGES:
        st.info(
            f"The live view shows up to {MOST_IMAGES} images at a time, and here are {points}. "
            "Choose random subsets, or fewer images, in the sidebar."
        )
    return points > MOST_IMAGES


def draw_live(data: dict[str, Any], *, key: str, on_move: Callable[[], None] | None = None) -> None:
    """Draw a cloud; `on_move` is called when points were moved: `moved_points` has where to."""
    _draw(data=data, key=key, on_moved_change=on_move or _ignore)


def moved_points(key: str) -> tuple[tuple[tuple[float, float], ...], int]:
    """Where the points are now, and the number of that report; for the callback `on_move`."""
    moved = st.session_state[key]["moved"]
    return tuple((float(x), float(y)) for x, y in moved["points"]), int(moved["report"])


def _ignore() -> None: ...


def _render_save(data: dict[str, Any], title: str, file_name: str, key: str = "save_live") -> None:
    st.download_button(
        "Save as a page",
        data=lambda: live_page(data, title),
        file_name=file_name,
        mime="text/html",
        icon=":material/download:",
        key=key,
        on_click="ignore",
        type="tertiary",
        help="One file that shows this view in any browser, without BettiScope.",
    )
