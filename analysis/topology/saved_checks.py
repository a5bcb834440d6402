"""Whether a report that was read from a file is one that an analysis could have written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import numpy as np

from analysis.options import Pooling
from analysis.results import Clustering, Float32, InputFormat, LayerTopology, TopologyReport

NOT_OF_THE_FILE = ("layers", "clouds", "notes", "stored", "made")


def check_report(report: TopologyReport) -> None:
    """Raise ValueError, naming the first fault, unless types, shapes and ranges are right."""
    _check_fields(report, {"samples": 1, "batch_size": 1, "min_persistence": 0, "seconds": 0})
    if report.input_format is not None:
        _check_fields(report.input_format, {"channels": 1, "height": 1, "width": 1})
    if report.pooling not in get_args(Pooling):
        raise ValueError(f"unknown pooling {report.pooling!r}")
    if not report.layers or len(set(report.names)) < len(report.layers):
        raise ValueError("layers are missing or have the same name")
    _check_clouds(report)
    for layer in report.layers:
        _check_layer(layer, report.samples)
        several = report.pooling != "pooled" and layer.finite
        if several and len(layer.diagrams) != len(report.clouds):
            raise ValueError(f"{layer.name} has other clouds than the report")


def _check_clouds(report: TopologyReport) -> None:
    """Positions of images, ascending in each cloud."""
    clouds = report.clouds
    _check_array(clouds, (len(clouds), clouds.shape[-1]), "i")
    known = clouds.size and clouds.min() >= 0 and clouds.max() < report.samples
    if not known or not (np.diff(clouds, axis=1) > 0).all():
        raise ValueError("impossible images of a cloud")


def _check_layer(layer: LayerTopology, samples: int) -> None:
    _check_fields(layer, {"activation_size": 0, "parameters": 0, "flops": 0, "rounding": 0})
    _check_array(layer.distances, (samples, samples), "f")
    for diagram in (*layer.diagrams, *layer.components):
        _check_array(diagram, (len(diagram), 2), "f")
    if not layer.finite:
        if not math.isnan(layer.b1) or layer.clustering is not None or layer.diagrams:
            raise ValueError(f"{layer.name} is not finite and has a topology")
        return
    if not (0 <= layer.b1 < math.inf) or layer.clustering is None or not layer.diagrams:
        raise ValueError(f"{layer.name} is finite and has no topology")
    # Comparisons with NaN are false.
    if not (layer.distances.min() >= 0 and layer.distances.max() < np.inf):
        raise ValueError(f"the distances of {layer.name} are not numbers from 0")
    _check_lives(layer.diagrams, most=np.inf)
    _check_lives(layer.components, most=None)
    _check_clustering(layer.clustering, samples)


def _check_lives(diagrams: tuple[Float32, ...], *, most: float | None) -> None:
    """Births from 0, deaths not before them, and below `most` if that is given."""
    # All at once: a layer with a hundred subsets has hundreds of small diagrams.
    births, deaths = np.concatenate([np.zeros((0, 2), np.float32), *diagrams]).T
    if not (np.all(births >= 0) and np.all(births < np.inf) and np.all(deaths >= births)):
        raise ValueError("a diagram has impossible births or deaths")
    if most is not None and not np.all(deaths < most):
        raise ValueError("a loop that never dies")


def _check_clustering(clustering: Clustering, samples: int) -> None:
    _check_array(clustering.labels, (samples,), "i")
    if clustering.labels.min(initial=0) < -1 or clustering.labels.max(initial=0) >= samples:
        raise ValueError("impossible cluster labels")
    if not (_is_number(clustering.eps) and 0 <= clustering.eps < math.inf):
        raise ValueError(f"impossible radius {clustering.eps!r}")


def _check_array(array: Any, shape: tuple[int, ...], kind: str) -> None:
    if array.shape != shape or array.dtype.kind != kind:
        raise ValueError(f"expected {shape} of kind {kind}, got {array.shape} of {array.dtype}")


def _check_fields(
    owner: LayerTopology | TopologyReport | InputFormat, least: dict[str, float]
) -> None:
    """Check the plain fields against their annotations, and some against their least value."""
    for field in fields(owner):
        check = _TYPES.get(str(field.type))
        value = getattr(owner, field.name)
        if check is None or field.name in NOT_OF_THE_FILE:
            continue
        if not check(value) or (field.name in least and not value >= least[field.name]):
            raise ValueError(f"`{field.name}` is {value!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(kind, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# By annotation; NaN is a number, as a layer that is not finite has it for b₁.
_TYPES: dict[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "int": _is_whole,
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "tuple[int, ...]": _all(_is_whole),
    "tuple[int, int]": lambda value: _all(_is_whole)(value) and len(value) == 2,
    "tuple[float, ...]": _all(_is_number),
    "tuple[str, ...]": _all(_is_text),
}
