"""Clouds of parts of an analysis' images, to compare the choices that they make.

Nothing but Ripser on submatrices: the network does not run again. Only two halves of N images share
none, so a measured overlap reaches to N / 2. Beyond that it takes other images.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from joblib import Parallel, cpu_count, delayed

from analysis.errors import ModelError
from analysis.progress import Progress, ProgressCallback
from analysis.results import Float32, Integers, LayerTopology, TopologyReport
from analysis.topology.persistence import persistence
from analysis.topology.subsets import draw_subsets

Kind = Literal["whole", "subsets", "pooled", "averaged"]
KINDS: tuple[Kind, ...] = get_args(Kind)
BATCH = 8  # images
BATCHES = (1, 3, 5, 7, 10)  # pooled into one cloud, or averaged
SUBSETS = (1, 5, 20)  # of each half
SMALL = 20  # images: the smallest cloud
SIZE = 40  # images of a subset, where the analysis has no subsets
SHUFFLES = 3  # random orders of all images, each cut into parts
_MOST = 4  # parts of an order that are compared


@dataclass(frozen=True, eq=False)
class Way:
    """One way to measure the layers, by several parts of the images."""

    kind: Kind
    images: int  # of a part
    clouds: int  # of a part, over which b₁ is averaged
    # (shuffles, parts that share no image, clouds), numbers of `PartClouds.images`
    parts: Integers


@dataclass(frozen=True, eq=False)
class PartClouds:
    """What was measured in the parts of an analysis' images."""

    ways: tuple[Way, ...]
    images: tuple[Integers, ...]  # of each cloud, ascending positions
    layers: tuple[LayerTopology, ...]  # of the report, with the diagrams of these clouds
    seconds: float = 0.0
    notes: tuple[str, ...] = ()  # sentences for the user, such as of a failed save


@dataclass
class _Plan:
    images: list[Integers]
    ways: list[Way]

    def add(self, kind: Kind, parts: list[list[list[Integers]]]) -> None:
        """Add a way by the images of each cloud, in each part, in each shuffle."""
        first = len(self.images)
        shape = (len(parts), len(parts[0]), len(parts[0][0]))
        clouds = [cloud for shuffle in parts for part in shuffle for cloud in part]
        self.images += [np.sort(cloud) for cloud in clouds]
        size = len(np.unique(np.concatenate(parts[0][0])))
        numbers = np.arange(first, len(self.images), dtype=np.int64).reshape(shape)
        self.ways.append(Way(kind, size, shape[2], numbers))


def part_clouds_plan(
    samples: int, *, size: int = SIZE, seed: int = 0
) -> tuple[tuple[Way, ...], tuple[Integers, ...]]:
    """The ways to measure parts of so many images, and the images of each cloud.

    Parameters
    ----------
    samples : int
    size : int
        Images of each subset of a half.
    seed : int
        Decides the orders of the images.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(samples) for _ in range(SHUFFLES)]
    plan = _Plan([], [])
    for images in dict.fromkeys((SMALL, size)):
        if samples >= 2 * images:
            plan.add("whole", [[[part] for part in _cut(order, images)] for order in orders])
    half = samples // 2
    if half > size:
        drawn = [
            [part[draw_subsets(half, size, max(SUBSETS), seed + number)] for part in halves]
            for number, order in enumerate(orders)
            for halves in [(order[:half], order[half : 2 * half])]
        ]
        plan.add("subsets", [[list(part) for part in halves] for halves in drawn])
        every = plan.ways.pop()
        plan.ways += [Way("subsets", half, count, every.parts[:, :, :count]) for count in SUBSETS]
    for count in BATCHES:
        if samples < 2 * count * BATCH:
            continue
        cut = [_cut(order, count * BATCH) for order in orders]
        plan.add("pooled", [[[part] for part in parts] for parts in cut])
        plan.add("averaged", [[list(part.reshape(-1, BATCH)) for part in parts] for parts in cut])
    return tuple(plan.ways), tuple(plan.images)


def _cut(order: Integers, images: int) -> list[Integers]:
    """The first parts of an order, of so many images each."""
    parts = min(_MOST, len(order) // images)
    return list(order[: parts * images].reshape(parts, images))


def part_clouds(
    report: TopologyReport, *, seed: int = 0, progress: ProgressCallback | None = None
) -> PartClouds:
    """Measure the loops of parts of a report's images, in every layer.

    Parameters
    ----------
    report : TopologyReport
    seed : int
        Decides the parts.
    progress : callable (Progress), optional
        Called for each layer. An error that it raises ends the work and is passed on.

    Raises
    ------
    ModelError
        If no layer is finite, or there are too few images for two parts.
    """
    started = time.perf_counter()
    finite = [layer for layer in report.layers if layer.finite]
    ways, images = part_clouds_plan(report.samples, size=subset_size(report), seed=seed)
    if not finite:
        raise ModelError("No layer has finite activations, so there is nothing to compare.")
    if not ways:
        raise ModelError("Two parts of so few images show nothing. Analyse at least 16 images.")
    made: list[LayerTopology] = []
    for layer, diagrams in zip(finite, _loops(finite, images), strict=True):
        if progress is not None:
            progress(Progress("Parts of the images", layer.name, len(made), len(finite)))
        made.append(replace(layer, diagrams=diagrams))
    return PartClouds(ways, images, tuple(made), seconds=time.perf_counter() - started)


def subset_size(report: TopologyReport) -> int:
    """Images of each subset."""
    return report.batch_size if report.pooling == "subsets" else SIZE


def _loops(
    layers: list[LayerTopology], images: tuple[Integers, ...]
) -> Iterator[tuple[Float32, ...]]:
    """The diagrams of these clouds in each layer. Ripser keeps the interpreter's lock."""
    parallel = Parallel(n_jobs=min(cpu_count(), len(layers)), return_as="generator")
    diagrams: Iterator[tuple[Float32, ...]] = parallel(
        delayed(_loops_of_layer)(layer.distances, images) for layer in layers
    )
    return diagrams


def _loops_of_layer(distances: Float32, images: tuple[Integers, ...]) -> tuple[Float32, ...]:
    return tuple(persistence(distances[np.ix_(cloud, cloud)])[1] for cloud in images)
