"""An analysis without some of its images, by Ripser on submatrices: no network runs again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from joblib import Parallel, cpu_count, delayed

from analysis.errors import ModelError
from analysis.progress import Progress, ProgressCallback
from analysis.results import Float32, Integers, LayerTopology, TopologyReport
from analysis.topology.persistence import persistence
from analysis.topology.summaries import average


def clouds_without(report: TopologyReport, images: tuple[int, ...], seed: int = 0) -> Integers:
    """The report's random subsets, with other images in place of some.

    Each is replaced by a random image that the subset does not hold, so that all else stays as it
    was: the difference has far less noise than that of other subsets.

    Raises
    ------
    ModelError
        If the report has no random subsets, or too few images are left.
    """
    left = np.setdiff1d(np.arange(report.samples), images)
    if report.pooling != "subsets" or len(report.clouds) < 2:
        raise ModelError("This analysis has no random subsets. Choose the preset “recommended”.")
    if len(left) < report.clouds.shape[1]:
        raise ModelError(f"Only {len(left)} images are left, fewer than a subset has.")
    rng = np.random.default_rng(seed)
    clouds: Integers = report.clouds.copy()
    for cloud in clouds:
        gone = np.isin(cloud, images)
        if gone.any():
            others = np.setdiff1d(left, cloud)
            cloud[gone] = rng.choice(others, int(gone.sum()), replace=False)
            cloud.sort()
    return clouds


def without_images(
    report: TopologyReport,
    images: tuple[int, ...],
    *,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> TopologyReport:
    """The report as it would be without some of its images.

    Parameters
    ----------
    report : TopologyReport
        Of random subsets.
    images : tuple of int
        Positions to leave out.
    seed : int
        Decides what stands in their place.
    progress : callable (Progress), optional
        Called for each layer. An error that it raises ends the work and is passed on.

    Returns
    -------
    TopologyReport
        The same layers and distances, with other clouds and their loops. `b1_se` is missing.

    Raises
    ------
    ModelError
        As for `clouds_without`.
    """
    clouds = clouds_without(report, images, seed)
    changed = np.flatnonzero((clouds != report.clouds).any(axis=1))
    finite = [layer for layer in report.layers if layer.finite]
    parallel = Parallel(n_jobs=min(cpu_count(), len(finite) or 1), return_as="generator")
    found = parallel(delayed(_loops_of)(layer.distances, clouds[changed]) for layer in finite)
    made: dict[str, LayerTopology] = {}
    for number, (layer, loops) in enumerate(zip(finite, found, strict=True)):
        if progress is not None:
            progress(Progress("Without these images", layer.name, number, len(finite)))
        diagrams = list(layer.diagrams)
        for cloud, diagram in zip(changed.tolist(), loops, strict=True):
            diagrams[cloud] = diagram
        made[layer.name] = with_diagrams(report, layer, tuple(diagrams))
    return replace(report, layers=tuple(made.get(e.name, e) for e in report.layers), clouds=clouds)


def with_diagrams(
    report: TopologyReport, layer: LayerTopology, diagrams: tuple[Float32, ...]
) -> LayerTopology:
    """The layer with other loops, and the b₁ of these."""
    b1 = average(diagrams, "b1", report.shortest_loop(layer))
    return replace(layer, diagrams=diagrams, b1=b1, b1_se=float("nan"))


def _loops_of(distances: Float32, clouds: Integers) -> list[Float32]:
    return [persistence(distances[np.ix_(cloud, cloud)])[1] for cloud in clouds]
