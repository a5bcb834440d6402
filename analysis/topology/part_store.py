"""Clouds of parts of the images on disk, beside their analysis, so that none is computed twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from analysis.errors import StoreError
from analysis.progress import ProgressCallback
from analysis.results import TopologyReport
from analysis.topology.cloud_store import clouds_path, load_clouds, save_clouds, saved_at
from analysis.topology.part_clouds import PartClouds, part_clouds, part_clouds_plan, subset_size
from analysis.topology.store import load_analysis

_VERSION = 1  # raise it whenever the same analysis and seed would give other clouds or numbers


@dataclass(frozen=True)
class PartsRequest:
    """Measure parts of the images of a saved analysis, or find what was measured."""

    key: str  # the analysis' fingerprint
    seed: int = 0


def saved_parts(
    request: PartsRequest,
    report: TopologyReport | None = None,
    *,
    progress: ProgressCallback | None = None,
) -> PartClouds:
    """The clouds of an analysis' parts: loaded, or computed and saved.

    Parameters
    ----------
    request : PartsRequest
    report : TopologyReport, optional
        The analysis; by default it is loaded.
    progress : callable (Progress), optional
        As for `part_clouds`; not called when the store has the clouds.

    Returns
    -------
    PartClouds
        Its `notes` say whether they could not be saved.

    Raises
    ------
    StoreError
        If the analysis is no longer saved.
    ModelError
        As for `part_clouds`.
    """
    report = report or load_analysis(request.key)
    if report is None:
        raise StoreError("The analysis is no longer saved. Analyse again, then compare its parts.")
    made = load_parts(request, report)
    if made is not None:
        return made
    parts = part_clouds(report, seed=request.seed, progress=progress)
    try:
        save_parts(request, parts)
    except StoreError as error:
        return replace(parts, notes=(str(error),))
    return parts


def save_parts(request: PartsRequest, parts: PartClouds) -> Path:
    """Write the clouds beside the analysis.

    Raises
    ------
    StoreError
        If the folder cannot be written to.
    """
    return save_clouds(_path(request), parts.layers, version=_VERSION, seconds=parts.seconds)


def load_parts(request: PartsRequest, report: TopologyReport) -> PartClouds | None:
    """The clouds that were saved; None if there are none, or their file cannot be read."""
    # The clouds follow from the seed.
    ways, images = part_clouds_plan(report.samples, size=subset_size(report), seed=request.seed)
    found = load_clouds(_path(request), report, clouds=len(images), version=_VERSION)
    return None if found is None else PartClouds(ways, images, *found)


def parts_saved_at(request: PartsRequest) -> float | None:
    """When the clouds were last saved or used, in seconds; None if there are none."""
    return saved_at(_path(request))


def _path(request: PartsRequest) -> Path:
    return clouds_path(request.key, f"parts-{request.seed}")
