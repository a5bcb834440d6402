"""Loops of further clouds on disk, beside the analysis whose distances they come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import StoreError
from analysis.results import LayerTopology, TopologyReport
from analysis.system.home import replacing
from analysis.topology.saved_limit import mark_used, remove_least_recent
from analysis.topology.store import analyses_folder


def clouds_path(key: str, what: str) -> Path:
    """The file of further clouds of the analysis with this fingerprint."""
    return analyses_folder() / f"{key}.{what}.npz"


def saved_at(path: Path) -> float | None:
    """When a file was last saved or used, in seconds; None if there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def save_clouds(
    path: Path, layers: Sequence[LayerTopology], *, version: int, seconds: float = 0.0
) -> Path:
    """Write the diagrams of some layers; they count towards `saved_limit` as analyses do.

    Raises
    ------
    StoreError
        If the folder cannot be written to.
    """
    diagrams = [diagram for layer in layers for diagram in layer.diagrams]
    meta = {
        "version": version,
        "layers": [layer.name for layer in layers],
        "seconds": seconds,
    }
    try:
        with replacing(path) as file:
            np.savez(
                file,
                allow_pickle=False,
                meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                lengths=np.array([len(diagram) for diagram in diagrams], np.int64),
                loops=np.concatenate([np.zeros((0, 2), np.float32), *diagrams]),
            )
    except OSError as error:
        raise StoreError(
            f"The comparison could not be saved in {path.parent} ({error.strerror}). Free some "
            "space or set BETTISCOPE_HOME to a folder that can be written to."
        ) from error
    remove_least_recent(path)
    return path


def load_clouds(
    path: Path, report: TopologyReport, *, clouds: int, version: int
) -> tuple[tuple[LayerTopology, ...], float] | None:
    """The layers with so many diagrams each, and the seconds that these took.

    None if there is no such file, it cannot be read, or it is of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = _layers(dict(arrays), report, clouds, version)
    except Exception:  # numpy, zipfile and json raise nearly anything for damage
        return None
    mark_used(path)
    return found


def _layers(
    arrays: dict[str, Any], report: TopologyReport, clouds: int, version: int
) -> tuple[tuple[LayerTopology, ...], float] | None:
    meta = json.loads(arrays["meta"].tobytes())
    loops = np.split(arrays["loops"], np.cumsum(arrays["lengths"])[:-1])
    if meta["version"] != version or len(loops) != clouds * len(meta["layers"]):
        return None
    starts = range(0, len(loops), clouds)
    layers = tuple(
        replace(report.layer(name), diagrams=tuple(loops[start : start + clouds]))
        for name, start in zip(meta["layers"], starts, strict=True)
    )
    return layers, float(meta["seconds"])
