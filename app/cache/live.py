"""What the live microscope shows of one cloud."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike

from analysis.results import Float32, TopologyReport
from analysis.topology.cluster_curve import cluster_curve
from analysis.topology.embedding import embed
from analysis.topology.representatives import representative_cycles
from app.cache import DrawnImages, whole_cloud
from app.charts.live import image_data, live_data, look_of
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
    measured, members = _report.layer(layer), np.arange(_report.samples)
    if cloud is None:
        components, loops = whole_cloud(key, layer, _report)
    else:
        components, loops = measured.components[cloud], measured.diagrams[cloud]
        members = _report.clouds[cloud] if len(_report.clouds) else members
    distances = measured.distances[np.ix_(members, members)]
    data = cloud_data(
        f"{key} {layer} {cloud}",
        distances,
        embed(distances),
        (components, loops),
        min_samples=min_samples,
        min_persistence=min_persistence,
    )
    names, classes, pictures = [f"image {n}" for n in members], None, []
    if _images is not None:
        names = [f"image {_images.indices[n]}" for n in members]
        pictures = [_images.pictures[n] for n in members]
        if _images.classes:
            classes = [_images.names[n] for n in members]
            names = [f"{name}: {each}" for name, each in zip(names, classes, strict=True)]
    return data | image_data(names, classes, pictures) | {"look": look_of(PALETTES[appearance])}


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
