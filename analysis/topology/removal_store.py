"""Analyses without some images on disk, so that none is computed twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.errors import OptionError, StoreError
from analysis.progress import ProgressCallback
from analysis.results import TopologyReport
from analysis.topology.cloud_store import clouds_path, load_clouds, save_clouds, saved_at
from analysis.topology.removal import clouds_without, with_diagrams, without_images
from analysis.topology.store import load_analysis

_VERSION = 1  # raise it whenever the same analysis and images would give other numbers


@dataclass(frozen=True)
class RemovalRequest:
    """Measure a saved analysis without some images, or find what was measured.

    Raises
    ------
    OptionError
        If no image is named, or one by a negative position.
    """

    key: str  # the analysis' fingerprint
    images: tuple[int, ...]  # positions among its images; kept in ascending order
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", tuple(sorted(set(self.images))))
        if not self.images or self.images[0] < 0:
            raise OptionError(f"`images` must name positions from 0, got {self.images}")


def saved_removal(
    request: RemovalRequest,
    report: TopologyReport | None = None,
    *,
    progress: ProgressCallback | None = None,
) -> TopologyReport:
    """An analysis without some images: loaded, or computed and saved.

    Parameters
    ----------
    request : RemovalRequest
    report : TopologyReport, optional
        The analysis; by default it is loaded.
    progress : callable (Progress), optional
        As for `without_images`; not called when the store has the result.

    Returns
    -------
    TopologyReport
        Its `notes` say whether it could not be saved.

    Raises
    ------
    StoreError
        If the analysis is no longer saved.
    ModelError
        As for `without_images`.
    """
    report = report or load_analysis(request.key)
    if report is None:
        raise StoreError("The analysis is no longer saved. Analyse again, then leave images out.")
    made = load_removal(request, report)
    if made is not None:
        return made
    smaller = without_images(report, request.images, seed=request.seed, progress=progress)
    try:
        save_removal(request, smaller)
    except StoreError as error:
        return replace(smaller, notes=(str(error),))
    return smaller


def save_removal(request: RemovalRequest, smaller: TopologyReport) -> Path:
    """Write what `without_images` gave.

    Raises
    ------
    StoreError
        If the folder cannot be written to.
    """
    finite = [layer for layer in smaller.layers if layer.finite]
    return save_clouds(_path(request), finite, version=_VERSION)


def load_removal(request: RemovalRequest, report: TopologyReport) -> TopologyReport | None:
    """What was saved of the report; None if there is nothing, or it cannot be read."""
    path = _path(request)
    if not path.exists():
        return None
    clouds = clouds_without(report, request.images, request.seed)
    found = load_clouds(path, report, clouds=len(clouds), version=_VERSION)
    if found is None:
        return None
    by_name = {e.name: with_diagrams(report, e, e.diagrams) for e in found[0]}
    return replace(
        report, layers=tuple(by_name.get(e.name, e) for e in report.layers), clouds=clouds
    )


def removal_saved_at(request: RemovalRequest) -> float | None:
    """When it was last saved or used, in seconds; None if it was not."""
    return saved_at(_path(request))


def _path(request: RemovalRequest) -> Path:
    images = hashlib.sha256(" ".join(map(str, request.images)).encode()).hexdigest()[:12]
    return clouds_path(request.key, f"without-{images}-{request.seed}")
