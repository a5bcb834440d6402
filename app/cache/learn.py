"""What the page Learn draws: points, measured at that moment, and one usual analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from analysis.options import AnalysisOptions
from analysis.results import Float32, Float64, TopologyReport
from analysis.selection.overlap import choices_of_clouds, shared_layers
from analysis.topology.embedding import embed
from analysis.topology.known_shapes import shape_points
from analysis.topology.persistence import persistence
from analysis.topology.rotation import RotationTest, coordinates, null_statistics, observe
from analysis.topology.store import fingerprint, load_analysis
from app.cache.live import cloud_data
from app.charts.live import live_data, look_of, toy_data
from app.state import Choice, Shown
from app.theme import PALETTES

RING_POINTS = 24
_RING_NOISE = 0.09
_JOINED = 2  # points that make a group on the map: they are joined
_DRAWS = 99
_AT_ONCE = 11  # of them

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points and their loops, as Ripser finds them."""

    distances: Float32  # (N, N)
    places: Float64  # (N, 2): the points, or a map of them
    components: Float32
    loops: Float32  # (k, 2)


@dataclass(frozen=True)
class Known:
    """Which points are drawn from a shape."""

    shape: str
    points: int = 100
    noise: float = 0.05
    dimension: int = 3
    seed: int = 0


def ring(seed: int) -> Points:
    """A noisy circle, the same for the same seed."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, RING_POINTS, endpoint=False)
    cloud = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cloud = np.round(cloud + _RING_NOISE * rng.normal(size=cloud.shape), 3)
    return tuple((float(x), float(y)) for x, y in cloud)


@st.cache_resource(max_entries=64, show_spinner=False)
def plane_cloud(points: Points) -> Cloud:
    """Points in the plane."""
    places = np.array(points, dtype=np.float64).reshape(-1, 2)
    return _cloud(places, places)


@st.cache_resource(max_entries=64, show_spinner=False)
def known_cloud(known: Known) -> Cloud:
    """Points from a shape, with a map of them in the plane."""
    cloud = shape_points(
        known.shape, known.points, noise=known.noise, dimension=known.dimension, seed=known.seed
    )
    return _cloud(cloud)


def _cloud(points: Float64, places: Float64 | None = None) -> Cloud:
    if len(points) < 2:  # which have no distance
        components = np.array([[0, np.inf]] * len(points), np.float32).reshape(-1, 2)
        empty = np.zeros((len(points), len(points)), np.float32)
        return Cloud(empty, points[:, :2], components, np.zeros((0, 2), np.float32))
    distances = squareform(pdist(points)).astype(np.float32)
    return Cloud(distances, embed(distances) if places is None else places, *persistence(distances))


def known_test(known: Known, report: Callable[[float], object]) -> RotationTest:
    """The loops of a shape's points against those of rotated clouds.

    `report` gets the share that is done, a few times a second.
    """
    parts = []
    for first in range(0, _DRAWS, _AT_ONCE):
        report(first / _DRAWS)
        parts.append(_noise(known, first))
    return observe([known_cloud(known).loops], null=np.concatenate(parts), asked=_DRAWS)


@st.cache_resource(max_entries=64 * _DRAWS // _AT_ONCE, show_spinner=False)
def _noise(known: Known, first: int) -> Float64:
    """The loops of the rotated clouds from the `first` one on."""
    points = coordinates(known_cloud(known).distances[None])
    draws = range(first, min(first + _AT_ONCE, _DRAWS))
    return null_statistics([points], draws, known.seed)[:, 0]


def toy(
    name: str, cloud: Cloud, appearance: str, *, version: str = "", **settings: Any
) -> dict[str, Any]:
    """A cloud for the microscope.

    Its name and version belong to these points and no others; the settings are those of
    `toy_data`.
    """
    numbers = _numbers(f"{name} {version}", name, cloud)
    extras = toy_data(len(cloud.distances), version=version, **settings)
    return numbers | extras | {"look": look_of(PALETTES[appearance])}


@st.cache_resource(max_entries=64, show_spinner=False)
def _numbers(key: str, name: str, _cloud: Cloud) -> dict[str, Any]:
    if len(_cloud.distances) > 1:
        diagrams = _cloud.components, _cloud.loops
        return cloud_data(name, _cloud.distances, _cloud.places, diagrams, min_samples=_JOINED)
    return live_data(
        name=name, distances=_cloud.distances, points=_cloud.places, loops=_cloud.loops,
        components=_cloud.components, cycles=[], fills=[], radii=[], clusters=[],
        min_samples=_JOINED,
    )  # fmt: skip


@st.cache_resource(max_entries=4, show_spinner=False)
def _saved_lesson(key: str) -> TopologyReport | None:
    return load_analysis(key)


def lesson(answer: object = None) -> Shown | None:
    """The usual analysis of the usual model; None if it has not been made.

    Parameters
    ----------
    answer : object
        What a worker gave: the report itself where it could not be saved.

    Raises
    ------
    AnalysisError
        If its files are damaged.
    """
    options = AnalysisOptions()
    key = fingerprint(options)
    report = answer if isinstance(answer, TopologyReport) else _saved_lesson(key)
    if report is None:
        _saved_lesson.clear()
        return None
    return Shown(options, report, key)


@st.cache_resource(max_entries=64, show_spinner=False)
def cloud_choices(
    key: str, choice: Choice, _rows: pd.DataFrame, _report: TopologyReport
) -> tuple[Float64, NDArray[np.bool_], float]:
    """Of `choices_of_clouds`, with how many layers two of the choices share."""
    scores, chosen = choices_of_clouds(_report, _rows, normalization=choice.normalization)
    return scores, chosen, shared_layers(chosen)


def neighbours(report: TopologyReport, layer: str, image: int, count: int) -> list[int]:
    """The images nearest to one in a layer, the nearest first, among those of the first cloud."""
    members = report.clouds[0]
    near = report.layer(layer).distances[image, members]
    ordered = members[np.argsort(near, kind="stable")]
    return [int(each) for each in ordered if each != image][:count]
