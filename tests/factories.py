"""Reports and clouds with known answers."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist, squareform

from analysis.clustering import cluster
from analysis.results import Float32, LayerTopology, TopologyReport
from analysis.topology import persistence


def distances_of(points: np.ndarray) -> Float32:
    return squareform(pdist(np.asarray(points, dtype=np.float64))).astype(np.float32)


def circle(count: int, *, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + noise * np.random.default_rng(seed).normal(size=points.shape)


def blobs(count: int, groups: int = 2, *, dimensions: int = 10, seed: int = 0) -> np.ndarray:
    """`count` points around each of `groups` centres that lie far apart."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(count, dimensions)) + 30 * g for g in range(groups)])


def layer(
    name: str,
    points: np.ndarray | None = None,
    *,
    kind: str = "Conv2d",
    width: int = 10,
    parameters: int = 100,
    flops: int = 1000,
) -> LayerTopology:
    """A layer whose cloud is `points`; without any it is not finite."""
    samples = 20 if points is None else len(points)
    if points is None:
        missing = np.full((samples, samples), np.nan, np.float32)
        return LayerTopology(
            name, kind, (width,), samples * width, parameters, flops, missing, (), (),
            float("nan"), None, finite=False,
        )  # fmt: skip
    distances = distances_of(points)
    components, loops = persistence(distances)
    return LayerTopology(
        name, kind, (width,), samples * width, parameters, flops, distances, (loops,),
        (components,), float(len(loops)), cluster(distances),
    )  # fmt: skip


def report(*layers: LayerTopology) -> TopologyReport:
    return TopologyReport(
        layers=layers,
        samples=len(layers[0].distances),
        batch_size=8,
        pooling="pooled",
        min_persistence=0.0,
        seed=0,
        seconds=0.1,
    )
