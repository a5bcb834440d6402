"""Rotation tests on disk, beside the analysis they belong to, so that none is made twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import StoreError
from analysis.progress import ProgressCallback
from analysis.results import TopologyReport
from analysis.system.home import replacing
from analysis.topology.layer_tests import ENOUGH, LayerTests, rotation_tests
from analysis.topology.rotation import RotationTest
from analysis.topology.saved_limit import mark_used, remove_least_recent
from analysis.topology.store import analyses_folder, load_analysis

_VERSION = 1  # raise it whenever the same analysis, draws and seed would give other numbers
_PARTS = ("ratios", "asymptotic", "null")  # of each layer's test; arrays of any length


@dataclass(frozen=True)
class RotationRequest:
    """Test the layers of a saved analysis, or find the tests that were made."""

    key: str  # the analysis' fingerprint
    draws: int
    seed: int = 0


def saved_tests(
    request: RotationRequest,
    report: TopologyReport | None = None,
    *,
    progress: ProgressCallback | None = None,
) -> LayerTests:
    """The tests of an analysis: loaded, or made and saved.

    Parameters
    ----------
    request : RotationRequest
    report : TopologyReport, optional
        The analysis; by default it is loaded.
    progress : callable (Progress), optional
        As for `rotation_tests`; not called when the store has the tests.

    Returns
    -------
    LayerTests
        Its `notes` say whether they could not be saved.

    Raises
    ------
    StoreError
        If the analysis is no longer saved.
    OptionError, ModelError
        As for `rotation_tests`.
    """
    made = load_tests(request)
    if made is not None:
        return made
    report = report or load_analysis(request.key)
    if report is None:
        raise StoreError("The analysis is no longer saved. Analyse again, then test its layers.")
    tests = rotation_tests(report, draws=request.draws, seed=request.seed, progress=progress)
    try:
        save_tests(request, tests)
    except StoreError as error:
        return replace(tests, notes=(str(error),))
    return tests


def save_tests(request: RotationRequest, tests: LayerTests) -> Path:
    """Write the tests beside the analysis; they count towards `saved_limit` as it does.

    Raises
    ------
    StoreError
        If the folder cannot be written to.
    """
    path = _path(request)
    of_layers = list(tests.tests.values())
    meta = {
        "version": _VERSION,
        "layers": list(tests.tests),
        "lengths": [[len(getattr(test, part)) for part in _PARTS] for test in of_layers],
        "groups": tests.groups,
        "size": tests.size,
        "seconds": tests.seconds,
    }
    arrays = {part: np.concatenate([getattr(test, part) for test in of_layers]) for part in _PARTS}
    arrays |= {"observed": np.stack([test.observed for test in of_layers]), "noise": tests.noise}
    try:
        with replacing(path) as file:
            text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
            np.savez(file, allow_pickle=False, meta=text, **arrays)
    except OSError as error:
        raise StoreError(
            f"The tests could not be saved in {path.parent} ({error.strerror}). Free some space "
            "or set BETTISCOPE_HOME to a folder that can be written to."
        ) from error
    remove_least_recent(path)
    return path


def load_tests(request: RotationRequest) -> LayerTests | None:
    """The tests that were saved; None if there are none, or their file cannot be read."""
    path = _path(request)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            tests = _tests(dict(arrays), request)
    except Exception:  # numpy, zipfile and json raise nearly anything for damage
        return None
    mark_used(path)
    return tests


def made_at(request: RotationRequest) -> float | None:
    """When the tests were last saved or used, in seconds; None if there are none."""
    try:
        return _path(request).stat().st_mtime
    except OSError:
        return None


def made_tests(key: str) -> RotationRequest | None:
    """The saved tests of an analysis with the most draws; None if there are none."""
    requests = []
    for path in analyses_folder().glob(f"{key}.rotations-*.npz"):
        numbers = path.stem.partition(".rotations-")[2].split("-")
        if len(numbers) == 2 and all(map(str.isdecimal, numbers)):
            requests.append(RotationRequest(key, *map(int, numbers)))
    return max(requests, key=lambda request: (request.draws, -request.seed), default=None)


def _path(request: RotationRequest) -> Path:
    return analyses_folder() / f"{request.key}.rotations-{request.draws}-{request.seed}.npz"


def _tests(arrays: dict[str, Any], request: RotationRequest) -> LayerTests | None:
    meta = json.loads(arrays["meta"].tobytes())
    if meta["version"] != _VERSION:
        return None
    lengths = np.array(meta["lengths"]).reshape(-1, len(_PARTS))
    parts = {
        part: np.split(arrays[part], np.cumsum(lengths[:, i])[:-1]) for i, part in enumerate(_PARTS)
    }
    tests = {
        name: RotationTest(
            observed=arrays["observed"][i],
            asked=request.draws,
            enough=ENOUGH,
            **{part: values[i] for part, values in parts.items()},
        )
        for i, name in enumerate(meta["layers"])
    }
    return LayerTests(
        tests,
        request.draws,
        request.seed,
        meta["groups"],
        meta["size"],
        meta["seconds"],
        noise=arrays.get("noise", np.zeros((0, 0))),
    )
