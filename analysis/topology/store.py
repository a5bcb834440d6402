"""Analyses on disk: one file each, named by a key, and written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.datasets import dataset_spec
from analysis.errors import StoreError
from analysis.models import weights_fingerprint
from analysis.models.names import TIMM
from analysis.options import AnalysisOptions, ClusterOptions
from analysis.results import (
    Clustering,
    Float32,
    InputFormat,
    Integers,
    LayerTopology,
    TopologyReport,
    head_of,
)
from analysis.system.home import home, replacing
from analysis.topology.rounding import without_rounding
from analysis.topology.saved_checks import NOT_OF_THE_FILE, check_report
from analysis.topology.saved_limit import mark_used, remove_least_recent
from analysis.topology.subsets import images_of_clouds, with_errors
from analysis.topology.summaries import average
from analysis.version import ANALYSIS_VERSION


def fingerprint(options: AnalysisOptions) -> str:
    """Hash everything that decides an analysis' numbers, including the weights' checksum.

    It reads what it hashes, such as every file of a folder: call it once and pass the key on.
    """
    return fingerprints([options])[0]


def fingerprints(several: Sequence[AnalysisOptions]) -> list[str]:
    """The fingerprint of each; files that several of them share are read once."""
    weights = cache(weights_fingerprint)
    data = cache(lambda name: dataset_spec(name).fingerprint())
    return [
        _key(each, weights(each.model, each.weights, each.seed), data(each.dataset))
        for each in several
    ]


def _key(options: AnalysisOptions, weights: str, data: str) -> str:
    facts = asdict(options.deciding()) | {
        "weights": weights,
        "data": data,
        "version": ANALYSIS_VERSION,
    }
    # Saved files are named by this form: None for some idle fields, and no entry for others.
    for name in options.idle():
        if name in ("severity", "batch_size"):
            facts[name] = None
        else:
            del facts[name]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def save_analysis(key: str, report: TopologyReport) -> Path:
    """Write an analysis under its fingerprint, over an older one of the same.

    Others that were used longest ago are removed if all together take more than `saved_limit`.

    Parameters
    ----------
    key : str
        The `fingerprint` from before anything was read.
    report : TopologyReport

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    StoreError
        If the folder cannot be written to, when nothing half-written is left; or if the limit
        is none.
    """
    path = _path(key)
    try:
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **_arrays(report, path.stem))
    except OSError as error:
        raise StoreError(
            f"The analysis could not be saved in {path.parent} ({error.strerror}). It is shown, "
            "and will be computed again next time. Free some space, or set BETTISCOPE_HOME to a "
            "folder that can be written to."
        ) from error
    remove_least_recent(path)
    return path


def is_saved(key: str) -> bool:
    """Whether an analysis has a file; it is not read."""
    return _path(key).exists()


def is_preparation_unknown(report: TopologyReport, options: AnalysisOptions) -> bool:
    """Whether only a look at the network shows if a stored analysis' images were prepared as now.

    `pipeline.analyze_named` looks, in a process that has torch.
    """
    return report.input_format is None and options.model.startswith(TIMM)


def _is_unclipped(report: TopologyReport) -> bool:
    """Whether an earlier version let bicubic images go beyond black and white."""
    images = report.input_format
    return images is not None and images.interpolation == "bicubic" and not images.clipped


def load_analysis(key: str) -> TopologyReport | None:
    """Read the analysis with this `fingerprint`; None if it was never saved, or is out of date.

    Raises
    ------
    StoreError
        If the file is damaged, which is then set aside beside it, or cannot be read.
    """
    path = _path(key)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            report = _report(dict(arrays), path.stem)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # numpy, zipfile and json raise nearly anything for damage
        aside = path.with_suffix(".damaged")
        try:
            path.replace(aside)
        except OSError as failure:
            raise StoreError(f"{path} is damaged and cannot be moved: {failure}") from error
        raise StoreError(
            f"A saved analysis was damaged. It was set aside as {aside} and computed again."
        ) from error
    if _is_unclipped(report):
        return None
    mark_used(path)
    return report


def analyses_folder() -> Path:
    """The folder of all saved analyses."""
    return home() / "analyses"


def _path(key: str) -> Path:
    return analyses_folder() / f"{key}.npz"


def _arrays(report: TopologyReport, key: str) -> dict[str, Any]:
    layers = report.layers
    meta = {
        "fingerprint": key,
        # The file's own time becomes that of its last use.
        "made": (report.made or datetime.now().astimezone()).isoformat(timespec="seconds"),
        "report": {k: v for k, v in vars(report).items() if k not in NOT_OF_THE_FILE}
        | {"input_format": report.input_format and asdict(report.input_format)},
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "activation_shape": layer.activation_shape,
                "activation_size": layer.activation_size,
                "parameters": layer.parameters,
                "flops": layer.flops,
                "b1": layer.b1,
                "finite": layer.finite,
                "rounding": layer.rounding,
            }
            for layer in layers
        ],
        "clusters": asdict(ClusterOptions()),
        "eps": [layer.clustering.eps if layer.clustering else None for layer in layers],
        "loops": [[len(diagram) for diagram in layer.diagrams] for layer in layers],
        "components": [[len(diagram) for diagram in layer.components] for layer in layers],
    }
    missing = np.full(report.samples, -1)
    return {
        "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
        "distances": np.stack([layer.distances for layer in layers]),
        "labels": np.stack([c.labels if (c := layer.clustering) else missing for layer in layers]),
        "loops": _concatenate([d for layer in layers for d in layer.diagrams]),
        "components": _concatenate([d for layer in layers for d in layer.components]),
        "clouds": report.clouds,
    }


def _concatenate(diagrams: Sequence[Float32]) -> Float32:
    return np.concatenate([np.zeros((0, 2), np.float32), *diagrams])


def _report(arrays: dict[str, Any], key: str) -> TopologyReport:
    meta = json.loads(arrays["meta"].tobytes())
    if meta["fingerprint"] != key:
        raise ValueError("the file holds another analysis")
    loops = _split(arrays["loops"], meta["loops"])
    components = _split(arrays["components"], meta["components"])
    clusterings = [
        None if eps is None else Clustering(labels, eps)
        for labels, eps in zip(arrays["labels"], meta["eps"], strict=True)
    ]
    layers = [
        LayerTopology(
            **(facts | {"activation_shape": tuple(facts["activation_shape"])}),
            distances=arrays["distances"][i],
            diagrams=loops[i],
            components=components[i],
            clustering=clusterings[i],
        )
        for i, facts in enumerate(meta["layers"])
    ]
    facts = _with_tuples(meta["report"])
    facts["input_format"] = _input_format(facts.get("input_format"))
    report = TopologyReport(**({"head": head_of(layers)} | facts), layers=tuple(layers))
    clouds = arrays.get("clouds", report.clouds)
    clouds = clouds if len(clouds) else _clouds_before(report)
    report = replace(report, clouds=clouds)
    check_report(report)
    if meta.get("clusters") != asdict(ClusterOptions()):  # an older rule for the radius
        layers = list(map(_clustered, layers))
    shortest = report.min_persistence
    report = replace(
        report,
        layers=tuple(_without_rounding(each, shortest) for each in layers),
        stored=True,
        made=datetime.fromisoformat(meta["made"]) if "made" in meta else None,
    )
    return with_errors(report)


def _clouds_before(report: TopologyReport) -> Integers:
    """The images of the clouds in an older file, which does not say so: they were in order."""
    return images_of_clouds(report.samples, pooling=report.pooling, batch_size=report.batch_size)


def _without_rounding(layer: LayerTopology, shortest: float) -> LayerTopology:
    """The layer as it would be computed now: older files hold loops of rounding."""
    together = layer.diagram
    if len(without_rounding(together)) == len(together):  # at once, as there may be many diagrams
        return layer
    loops = tuple(map(without_rounding, layer.diagrams))
    return replace(layer, diagrams=loops, b1=average(loops, "b1", shortest))


def _clustered(layer: LayerTopology) -> LayerTopology:
    """The layer with the clusters that it would have now."""
    if not layer.finite:
        return layer
    from analysis.topology.clustering import dbscan  # scikit-learn is slow to import

    return replace(layer, clustering=dbscan(layer.distances))


def _input_format(facts: dict[str, Any] | None) -> InputFormat | None:
    return None if facts is None else InputFormat(**_with_tuples(facts))


def _with_tuples(facts: dict[str, Any]) -> dict[str, Any]:
    """Values read from JSON, which has lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}


def _split(diagrams: Float32, lengths: list[list[int]]) -> list[tuple[Float32, ...]]:
    """Undo `_concatenate`: the diagrams of each layer, whose lengths are given."""
    if len(diagrams) != sum(map(sum, lengths)):
        raise ValueError("diagrams are missing")
    parts = iter(np.split(diagrams, np.cumsum([n for layer in lengths for n in layer])[:-1]))
    return [tuple(next(parts) for _ in layer) for layer in lengths]
