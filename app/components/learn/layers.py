"""The third step: each layer of a network is a cloud of images, with loops of its own."""

from __future__ import annotations

import streamlit as st

from analysis.results import TopologyReport
from analysis.text import plural
from app.cache import DrawnImages
from app.cache.learn import neighbours
from app.cache.live import live_cloud
from app.charts.layer_bars import layer_bars_figure
from app.charts.once import drawn_once
from app.components.learn.frame import ask, step_columns
from app.components.learn.lesson import images_of_lesson, obtain_lesson
from app.components.shared.glossary import linked
from app.components.shared.live_microscope import draw_live
from app.literal import code, visible
from app.pictures import mosaic
from app.state import Shown, appearance, is_large
from app.theme import PALETTES, chart_config

TITLE = "Each layer is a cloud of images"
TEXT = (
    "A layer turns every image into a list of numbers: one point. Images that the layer finds "
    f"alike lie close together, and their {linked('cloud')} has {linked('loop', 'loops')}."
)
_ANSWERS = ["rises", "falls", "up and down"]
_NEAREST = 5


def render_layers() -> None:
    """Draw the step."""
    shown = obtain_lesson()
    if shown is not None:
        st.fragment(_render, key="learn_layers_step")(shown)


def _render(shown: Shown) -> None:
    report, images = shown.report, images_of_lesson(shown)
    left, right = step_columns()
    with right:
        layer, image = _choose(report)
    with left:
        guess = ask("layers", "From the first layer to the last, b₁ …", _ANSWERS)
        if guess is not None:
            _render_answer(guess, report, layer)
        if images is not None:
            _render_followed(report, layer, image, images)
    with right:
        least = report.shortest_loop(report.layer(layer))
        data = live_cloud(shown.key, layer, 0, 3, least, appearance(), images, report)
        place = report.clouds[0].tolist().index(image)
        settings = {"quiet": guess is None, "short": True, "followed": place}
        draw_live(data | settings, key="learn_layer")


def _choose(report: TopologyReport) -> tuple[str, int]:
    """Draw the choice of the layer and of the image to follow."""
    names = [layer.name for layer in report.layers if layer.finite]
    layers, images = st.columns([3, 2])
    layer = layers.select_slider(
        "Layer, from the first to the last",
        names,
        format_func=lambda name: visible(name) or "(model)",
        key="learn_at",
        bind="query-params",
    )
    image = images.number_input(
        f"Follow an image, 1 to {len(report.clouds[0])}",
        1,
        len(report.clouds[0]),
        key="followed",
        bind="query-params",
    )
    return layer, int(report.clouds[0][image - 1])


def _render_answer(guess: str, report: TopologyReport, layer: str) -> None:
    counts = [each.b1 for each in report.layers]
    most = max((each for each in report.layers if each.finite), key=lambda each: each.b1)
    with st.container(key="answer", gap="small"):
        st.metric("b₁ of this layer", f"{report.layer(layer).b1:.1f}")
        st.markdown(
            f"You said “{guess}”: b₁ starts at {counts[0]:.1f}, is at most **{most.b1:.1f}** "
            f"(in {code(most.name)}) and ends at {counts[-1]:.1f}. It is the mean over "
            f"{plural(len(report.clouds), 'draw')} of {report.clouds.shape[1]} images."
        )
        figure = layer_bars_figure(
            report.names,
            counts,
            [name == layer for name in report.names],
            title="b₁",
            palette=PALETTES[appearance()],
            height=90 if is_large() else 120,
        )
        st.plotly_chart(
            drawn_once(figure),
            key="learn_counts",
            theme=None,
            config=chart_config("bettiscope-loops-by-layer"),
            alt="b₁ of each layer, from the first to the last",
        )


def _render_followed(report: TopologyReport, layer: str, image: int, images: DrawnImages) -> None:
    """Draw an image and those that this layer puts next to it."""
    near = neighbours(report, layer, image, _NEAREST)
    same = sum(images.names[each] == images.names[image] for each in near)
    st.markdown(
        f"The image that you follow (circled) and its {_NEAREST} nearest in this layer: "
        f"**{same} of {_NEAREST}** are of its class."
    )
    st.image(mosaic([images.pictures[each] for each in (image, *near)]), width="content")
