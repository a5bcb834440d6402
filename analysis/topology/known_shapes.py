"""Clouds of points from shapes whose loops are known, and a rule that counts long loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from analysis.results import Float32, Float64

_CANDIDATES = 10  # random points per point that is kept
LEAST_RATIO = 2.0  # death / birth of a loop that counts as long

Draw = Callable[[int, np.random.Generator], Float64]


@dataclass(frozen=True)
class Shape:
    """One shape."""

    loops: int  # its b₁ by theory
    dimension: int  # of the space that it needs
    why: str  # a sentence that explains its b₁
    draw: Draw | None  # so many points at random, (points, dimension); None for pure noise


def shape_points(name: str, points: int, *, noise: float, dimension: int, seed: int = 0) -> Float64:
    """Points spread over a shape, with noise.

    Of ten times as many random points those are kept that lie farthest from each other, so that
    no gap of chance looks like a hole. Pure noise is not spread.

    Parameters
    ----------
    name : str
        Of `SHAPES`.
    points : int
    noise : float
        Standard deviation of the noise in each coordinate; the shape's root mean square distance
        from its centre is 1. Without effect on pure noise.
    dimension : int
        Coordinates of a point, at least. Pure noise has as many, a shape those that it needs.
    seed : int

    Returns
    -------
    ndarray (points, max(dimension, shape's dimension))
    """
    shape = SHAPES[name]
    rng = np.random.default_rng(seed)
    if shape.draw is None:
        return rng.normal(size=(points, dimension))
    cloud = _spread(shape.draw(_CANDIDATES * points, rng), points)
    cloud = (cloud - cloud.mean(axis=0)) / np.sqrt(cloud.var(axis=0).sum())
    missing = max(0, dimension - shape.dimension)
    cloud = np.pad(cloud, ((0, 0), (0, missing)))
    noisy: Float64 = cloud + noise * rng.normal(size=cloud.shape)
    return noisy


def long_loops(diagram: Float32, least_ratio: float = LEAST_RATIO) -> int:
    """How many loops die at more than `least_ratio` times the scale at which they are born."""
    births, deaths = diagram.astype(np.float64).T
    return int((deaths > least_ratio * births).sum())


def _spread(cloud: Float64, points: int) -> Float64:
    """Those of many points that lie far from each other: each next one farthest from all before."""
    kept = [0]
    nearest = cdist(cloud[:1], cloud)[0]
    while len(kept) < points:
        kept.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, cdist(cloud[kept[-1:]], cloud)[0])
    spread: Float64 = cloud[kept]
    return spread


def _circle(points: int, rng: np.random.Generator) -> Float64:
    angle = rng.uniform(0, 2 * np.pi, points)
    circle: Float64 = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return circle


def _pair(apart: float) -> Draw:
    """Two circles of radius 1, with their centres so far apart."""

    def draw(points: int, rng: np.random.Generator) -> Float64:
        side = np.where(np.arange(points) % 2, 0.5, -0.5)
        circles: Float64 = _circle(points, rng) + np.stack([apart * side, 0 * side], axis=1)
        return circles

    return draw


def _disc(points: int, rng: np.random.Generator) -> Float64:
    radius = np.sqrt(rng.uniform(size=(points, 1)))
    return radius * _circle(points, rng)


def _torus(points: int, rng: np.random.Generator) -> Float64:
    return np.concatenate([_circle(points, rng), _circle(points, rng)], axis=1)


def _sphere(points: int, rng: np.random.Generator) -> Float64:
    cloud = rng.normal(size=(points, 3))
    sphere: Float64 = cloud / np.linalg.norm(cloud, axis=1, keepdims=True)
    return sphere


def _swiss_roll(points: int, rng: np.random.Generator) -> Float64:
    """Rolled up to its middle: with a hole there, a ring would form between the windings."""
    turn = 4 * np.pi * np.sqrt(rng.uniform(size=points))
    width = rng.uniform(0, 10, points)
    return np.stack([turn * np.cos(turn), turn * np.sin(turn), width], axis=1)


SHAPES = {
    "Circle": Shape(1, 2, "There is one way round.", _circle),
    "Figure eight": Shape(2, 2, "Each half is a ring, and they share one point.", _pair(2)),
    "Two circles": Shape(2, 2, "Two rings that do not touch.", _pair(4)),
    "Disc": Shape(
        0, 2, "It has a round edge, but its inside is full: every ring can shrink.", _disc
    ),
    "Torus": Shape(2, 4, "The skin of a ring doughnut: one way round it, one way through.", _torus),
    "Sphere": Shape(
        0, 3, "It is hollow, yet every ring on its skin slides off and shrinks.", _sphere
    ),
    "Swiss roll": Shape(
        0,
        3,
        "A rolled-up sheet is still a sheet, and a sheet has no hole.",
        _swiss_roll,
    ),
    "Gaussian noise": Shape(0, 0, "There is no shape at all behind it.", None),
}
