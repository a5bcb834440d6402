"""The loops of permuted clouds on disk, beside their analysis, so that none is computed twice."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.errors import StoreError
from analysis.options import AnalysisOptions
from analysis.progress import ProgressCallback
from analysis.results import TopologyReport
from analysis.topology.cloud_store import clouds_path, load_clouds, save_clouds, saved_at
from analysis.topology.layer_tests import images_to_test
from analysis.topology.permuted import DRAWS, PermutedLoops, observed_loops
from analysis.topology.rotation import check_draws
from analysis.topology.store import fingerprint, load_analysis

_VERSION = 1  # raise it whenever the same analysis and draws would give other loops


@dataclass(frozen=True)
class PermutedRequest:
    """Permute the features of a saved analysis' layers, or find what was counted."""

    options: AnalysisOptions
    key: str  # their fingerprint
    draws: int = DRAWS


def saved_permuted(
    request: PermutedRequest,
    report: TopologyReport | None = None,
    *,
    progress: ProgressCallback | None = None,
) -> PermutedLoops:
    """The loops of permuted clouds: loaded, or counted in a further pass and saved.

    Parameters
    ----------
    request : PermutedRequest
    report : TopologyReport, optional
        The analysis; by default it is loaded.
    progress : callable (Progress), optional
        As for `permuted_pass.permute_layers`; not called when the store has the loops.

    Returns
    -------
    PermutedLoops
        Its `notes` say whether they could not be saved.

    Raises
    ------
    StoreError
        If the analysis is no longer saved, or is not of what the options name now.
    OptionError, AssetError, ModelError
        With a sentence for the user.
    """
    check_draws(request.draws, 0)
    report = report or load_analysis(request.key)
    if report is None:
        raise StoreError("The analysis is no longer saved. Analyse again, then permute features.")
    made = load_permuted(request, report)
    if made is not None:
        return made
    _check_unchanged(request)
    from analysis.topology.permuted_pass import permute_named  # torch is slow to import

    started = time.perf_counter()
    layers = permute_named(request.options, report, draws=request.draws, progress=progress)
    _check_unchanged(request)
    seconds = time.perf_counter() - started
    loops = PermutedLoops(layers, observed_loops(report, layers), request.draws, seconds)
    try:
        save_permuted(request, loops)
    except StoreError as error:
        return replace(loops, notes=(str(error),))
    return loops


def save_permuted(request: PermutedRequest, loops: PermutedLoops) -> Path:
    """Write the loops beside the analysis.

    Raises
    ------
    StoreError
        If the folder cannot be written to.
    """
    return save_clouds(_path(request), loops.layers, version=_VERSION, seconds=loops.seconds)


def load_permuted(request: PermutedRequest, report: TopologyReport) -> PermutedLoops | None:
    """The loops that were saved; None if there are none, or their file cannot be read."""
    clouds = request.draws * len(images_to_test(report))
    found = load_clouds(_path(request), report, clouds=clouds, version=_VERSION)
    if found is None:
        return None
    layers, seconds = found
    return PermutedLoops(layers, observed_loops(report, layers), request.draws, seconds)


def permuted_saved_at(request: PermutedRequest) -> float | None:
    """When the loops were last saved or used, in seconds; None if there are none."""
    return saved_at(_path(request))


def _check_unchanged(request: PermutedRequest) -> None:
    if fingerprint(request.options) != request.key:
        raise StoreError(
            "The images, the weights or the code changed since this analysis. Analyse again, then "
            "permute features."
        )


def _path(request: PermutedRequest) -> Path:
    return clouds_path(request.key, f"permuted-{request.draws}")
