"""What the live microscope shows of one cloud."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike

from analysis.results import Float32, Float64, Integers, TopologyReport
from analysis.topology.alignment import aligned_maps
from analysis.topology.cluster_curve import cluster_curve
from analysis.topology.embedding import embed
from analysis.topology.representatives import representative_cycles
from app.cache import DrawnImages, whole_cloud
from app.charts.live import base64_floats, image_data, live_data, look_of, together_data, tour_data
from app.literal import visible
from app.theme import PALETTES

MOST_IMAGES = 400  # of a cloud; more would neither fit in a message nor be told apart
_MOST_CYCLES = 150  # of the longest loops; their paths take a third of a second


@st.cache_resource(max_entries=64, show_spinner=False)
def live_cloud(
    key: str,
    layer: str,
    cloud: int | None,
    min_samples: int,
    min_persistence: float,
    appearance: str,
    _images: DrawnImages | None,
    _report: TopologyReport,
) -> dict[str, Any]:
    """A cloud of a finite layer, counted from 0, with its images if they are there.

    None is the cloud of all images.
    """
    measured, members = _report.layer(layer), _members(cloud, _report)
    if cloud is None:
        components, loops = whole_cloud(key, layer, _report)
    else:
        components, loops = measured.components[cloud], measured.diagrams[cloud]
    distances = measured.distances[np.ix_(members, members)]
    data = cloud_data(
        f"{key} {layer} {cloud}",
        distances,
        embed(distances),
        (components, loops),
        min_samples=min_samples,
        min_persistence=min_persistence,
    )
    look = look_of(PALETTES[appearance])
    group = f"{key} {cloud}"
    return data | _images_of(members, _images) | {"look": look, "group": group}


@st.cache_resource(max_entries=32, show_spinner=False)
def live_layers(
    key: str,
    layers: tuple[str, ...],
    cloud: int | None,
    min_samples: int,
    appearance: str,
    _images: DrawnImages | None,
    _report: TopologyReport,
) -> dict[str, Any]:
    """A cloud of each of several finite layers, whose maps are turned to match each other."""
    drawn = []
    for name in layers:
        layer = _report.layer(name)
        least = _report.shortest_loop(layer)
        data = live_cloud(key, name, cloud, min_samples, least, appearance, _images, _report)
        drawn.append(data | {"title": visible(name) or "(model)", "diameter": layer.diameter})
    for data, points in zip(drawn, aligned_maps(_maps(layers, cloud, _report)), strict=True):
        data["points"] = base64_floats(points)
    return together_data(drawn)


@st.cache_resource(max_entries=16, show_spinner=False)
def live_tour(
    key: str,
    opened: str,
    cloud: int | None,
    appearance: str,
    _images: DrawnImages | None,
    _report: TopologyReport,
) -> dict[str, Any]:
    """The aligned maps of a cloud in all finite layers, of the same size; `opened` comes first."""
    names = tuple(layer.name for layer in _report.layers if layer.finite)
    maps = aligned_maps([points / (np.linalg.norm(points) or 1.0)
                         for points in _maps(names, cloud, _report)])  # fmt: skip
    images = _images_of(_members(cloud, _report), _images)
    titles = [visible(name) or "(model)" for name in names]
    return (
        tour_data(titles, maps)
        | images
        | {"id": f"{key} {cloud}", "open": visible(opened) or "(model)"}
        | {"look": look_of(PALETTES[appearance]), "group": f"{key} {cloud}"}
    )


def _maps(names: Iterable[str], cloud: int | None, report: TopologyReport) -> list[Float64]:
    members = _members(cloud, report)
    return [embed(report.layer(name).distances[np.ix_(members, members)]) for name in names]


def _members(cloud: int | None, report: TopologyReport) -> Integers:
    """The images of a cloud, as places in the analysis."""
    every = np.arange(report.samples)
    return every if cloud is None or not len(report.clouds) else report.clouds[cloud]


def _images_of(members: Integers, images: DrawnImages | None) -> dict[str, Any]:
    if images is None:
        return image_data([f"image {n}" for n in members], None, [])
    names = [f"image {images.indices[n]}" for n in members]
    classes = [images.names[n] for n in members] if images.classes else None
    if classes:
        names = [f"{name}: {each}" for name, each in zip(names, classes, strict=True)]
    return image_data(names, classes, [images.pictures[n] for n in members])


def cloud_data(
    name: str,
    distances: Float32,
    points: ArrayLike,
    diagrams: tuple[Float32, Float32],
    *,
    min_samples: int,
    min_persistence: float = 0.0,
) -> dict[str, Any]:
    """The numbers of a cloud, without its images; its diagrams are those of `persistence`."""
    components, loops = diagrams
    longest = np.argsort(loops[:, 0] - loops[:, 1], kind="stable")[:_MOST_CYCLES]
    cycles = dict(
        zip(longest.tolist(), representative_cycles(distances, loops[longest]), strict=True)
    )
    curve = cluster_curve(distances, min_samples=min_samples)
    known = [cycles.get(place) for place in range(len(loops))]
    return live_data(
        name=name,
        distances=distances,
        points=points,
        loops=loops,
        components=components,
        cycles=[cycle and cycle.images.tolist() for cycle in known],
        fills=[cycle is None or cycle.fills for cycle in known],
        radii=curve.eps,
        clusters=curve.counts.tolist(),
        min_samples=min_samples,
        min_persistence=min_persistence,
    )
