"""How alike the layers are: of each pair, by their images and by their persistence diagrams."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from analysis.errors import StoreError
from analysis.progress import Progress, ProgressCallback
from analysis.results import Float64, TopologyReport
from analysis.selection.criteria import linear_cka
from analysis.topology.store import load_analysis


@dataclass(frozen=True)
class Measure:
    title: str
    help: str
    most_alike: float  # its value for two layers that are the same


MEASURES = {
    "cka": Measure(
        "CKA",
        "Whether two layers arrange the images alike: 1 if they differ by a rotation and a scale "
        "only, 0 if nothing is common (Kornblith et al. 2019).",
        1.0,
    ),
    "wasserstein": Measure(
        "Wasserstein",
        "How far the loops of one diagram must move to become those of the other, all moves added "
        "up. The unit is each layer's largest distance.",
        0.0,
    ),
    "bottleneck": Measure(
        "Bottleneck",
        "The longest of those moves, if they are chosen to make it short. The unit is each "
        "layer's largest distance.",
        0.0,
    ),
}


@dataclass(frozen=True)
class ResemblanceRequest:
    """Compare the diagrams of all pairs of layers of a saved analysis."""

    key: str  # the analysis' fingerprint
    measure: str  # "wasserstein" or "bottleneck"
    cloud: int = 0  # which of its clouds


def cka_matrix(report: TopologyReport) -> Float64:
    """Linear CKA of each pair of layers, (layers, layers); NaN where a layer is not finite.

    Kornblith et al. (2019), as `criteria.linear_cka`, over all images of the report.
    """
    values = np.full((len(report.layers), len(report.layers)), np.nan)
    for (i, one), (j, other) in combinations(enumerate(report.layers), 2):
        if one.finite and other.finite:
            values[i, j] = values[j, i] = linear_cka(one.distances, other.distances)
    for i, layer in enumerate(report.layers):
        values[i, i] = 1.0 if layer.finite and layer.diameter else np.nan
    return values


def diagram_distances(
    report: TopologyReport,
    measure: str,
    *,
    cloud: int = 0,
    progress: ProgressCallback | None = None,
) -> Float64:
    """The distance between the H₁ diagrams of each pair of layers, by persim.

    Parameters
    ----------
    report : TopologyReport
    measure : str
        "wasserstein" (order 1, Euclidean between points) or "bottleneck" (maximum norm).
    cloud : int
        Which of each layer's diagrams.
    progress : callable (Progress), optional
        Called after each layer. An error that it raises ends the work.

    Returns
    -------
    ndarray (layers, layers)
        In shares of each layer's largest distance, so that scales do not matter. NaN where a layer
        is not finite, or all its images are one point.
    """
    import persim  # slow to import

    distance = {"wasserstein": persim.wasserstein, "bottleneck": persim.bottleneck}[measure]
    layers = report.layers
    values = np.full((len(layers), len(layers)), np.nan)
    scaled = [
        layer.diagrams[cloud] / layer.diameter if layer.finite and layer.diameter else None
        for layer in layers
    ]
    for i, one in enumerate(scaled):
        for j, other in enumerate(scaled[:i]):
            if one is not None and other is not None:
                values[i, j] = values[j, i] = distance(one, other)
        if one is not None:
            values[i, i] = 0.0
        if progress is not None:
            progress(
                Progress("Comparing diagrams", layers[i].name, i + 1, len(layers), len(layers))
            )
    return values


def requested_distances(
    request: ResemblanceRequest, *, progress: ProgressCallback | None = None
) -> Float64:
    """As `diagram_distances`, of a saved analysis.

    Raises
    ------
    StoreError
        If the analysis is no longer saved.
    """
    report = load_analysis(request.key)
    if report is None:
        raise StoreError("The analysis is no longer saved. Analyse again, then compare its layers.")
    return diagram_distances(report, request.measure, cloud=request.cloud, progress=progress)
