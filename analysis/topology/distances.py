"""The Euclidean distances within a cloud of points that have many coordinates.

The cloud is read in slices of coordinates, so that it is never copied as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.backends import cuda, mkldnn

from analysis.results import Float32
from analysis.system.spread import spread

_SLICE = 5 << 16  # elements of one slice: 1.3 MB in float32, within a core's cache
_TASK, _RESULT = 8 * _SLICE, 1 << 16  # elements of the slices of one task, and of its results
_WIDEST = 1 << 13  # coordinates: float32 sums over more of them lose digits
# Products of fewer points than this may run in kernels that add one coordinate after another,
# which loses digits sooner: on one AMD processor 9e-6 of a distance, with 4 to 10 points.
_FEW_POINTS, _WIDEST_OF_FEW = 32, 1 << 10
# A squared distance is a difference of Gram entries. Below this share of them it has too few of
# the dtype's digits for `RELATIVE_ERROR`.
_CANCELLED = {torch.float32: 0.05, torch.float64: 1e-9}
_UNDERFLOW = {torch.float32: 1e-30, torch.float64: 0.0}  # mean square of one coordinate


def pairwise_distances(cloud: Tensor) -> Float32 | None:
    """Euclidean distances between the points of a cloud.

    Parameters
    ----------
    cloud : Tensor (N, ...)
        Any floating dtype, device and memory layout. Each entry along the first axis is a point.

    Returns
    -------
    ndarray (N, N) of float32, or None
        Symmetric with a zero diagonal; relative error at most `RELATIVE_ERROR`, even for
        points far from the origin and for close or coincident points. None if the cloud or a
        distance in it is not finite.

    Notes
    -----
    The Gram matrix of the points relative to the first one is formed in float32, slice by slice,
    and summed in float64. Pairs much closer to each other than to the first point are computed
    again from their differences or, if they are many, from a Gram matrix in float64.
    """
    squared = squared_distances(cloud)
    if squared is None:
        return None
    distances = squared.sqrt().to("cpu", torch.float32).numpy()
    return distances if np.isfinite(distances).all() else None


def squared_distances(cloud: Tensor) -> Tensor | None:
    """The squares of `pairwise_distances` (N, N) in float64; None if one is not finite.

    Those of some coordinates and of the others add up, so a cloud may also come in parts.
    """
    flat = flatten(cloud)
    with _full_precision(flat.device.type):
        squared, cancelled = _from_gram(flat, torch.float32)
        if not squared.isfinite().all() or int(cancelled.sum()) > 4 * len(flat):
            squared, cancelled = _from_gram(flat, torch.float64)
            if not squared.isfinite().all():
                return None
        _refine(flat, squared, cancelled)
    return squared


def flatten(cloud: Tensor) -> Tensor:
    """The cloud as (N, d) without a copy: distances do not depend on the coordinates' order."""
    strides = cloud.stride()
    axes = sorted(range(1, cloud.dim()), key=lambda axis: -strides[axis])
    return cloud.detach().permute(0, *axes).flatten(1)


def _slices(flat: Tensor) -> list[slice]:
    widest = _WIDEST_OF_FEW if len(flat) < _FEW_POINTS else _WIDEST
    width = min(widest, max(256, _SLICE // len(flat)))
    return [slice(start, start + width) for start in range(0, flat.shape[1], width)]


def _grams(flat: Tensor, dtype: torch.dtype, host: torch.device) -> Iterator[Tensor]:
    """The Gram matrix of each slice relative to the first point, in order."""
    device = host if dtype == torch.float64 else flat.device

    def gram_of(columns: slice) -> Tensor:
        part = flat[:, columns].to(device).to(dtype)
        part = part - part[0]
        return (part @ part.T).to(host)

    slices = _slices(flat)
    if flat.device.type != "cpu":
        yield from map(gram_of, slices)
        return
    elements = len(flat) * (slices[0].stop if slices else 1)
    many = max(1, min(_TASK // elements, _RESULT // len(flat) ** 2, len(slices) // 2))
    tasks = [slices[start : start + many] for start in range(0, len(slices), many)]
    for grams in spread(lambda task: [gram_of(columns) for columns in task], tasks):
        yield from grams


def _from_gram(flat: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Squared distances (N, N) in float64, and which of them lost too many digits (i < j)."""
    # Apple's GPUs have no float64: their sums are computed on the host.
    host = torch.device("cpu") if flat.device.type == "mps" else flat.device
    if flat.dtype == torch.float64:
        dtype = torch.float64
    gram = torch.zeros(len(flat), len(flat), dtype=torch.float64, device=host)
    for part in _grams(flat, dtype, host):
        gram += part
    norms = gram.diagonal()
    scale = norms[:, None] + norms[None, :]
    squared = (scale - gram - gram.T).clamp_(min=0)
    squared.fill_diagonal_(0)
    lost = squared <= (_CANCELLED[dtype] * scale).clamp(min=_UNDERFLOW[dtype] * flat.shape[1])
    if dtype == torch.float64:
        lost &= scale > 0  # all coordinates are equal: nothing to refine
    return squared, lost.triu(1)


def _refine(flat: Tensor, squared: Tensor, cancelled: Tensor) -> None:
    """Compute the marked pairs again, from the differences of their coordinates."""
    pairs = cancelled.nonzero()
    for start in range(0, len(pairs), len(flat)):
        some = pairs[start : start + len(flat)]
        first, second = some.to(flat.device).unbind(1)
        total = torch.zeros(len(some), dtype=torch.float64, device=squared.device)
        for part in (flat[:, columns] for columns in _slices(flat)):
            wide = torch.float32 if part.device.type == "mps" else torch.float64
            difference = part[first].to(wide) - part[second].to(wide)
            # First to the host, then to float64, which Apple's GPUs cannot convert to.
            total += difference.square().sum(1).to(total.device)
        i, j = some.unbind(1)
        squared[i, j] = squared[j, i] = total


@contextmanager
def _full_precision(device_type: str) -> Iterator[None]:
    """Keep TF32 and bfloat16 out of our products, whatever the caller allows in the model."""
    backends: tuple[Any, ...] = (cuda.matmul, mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
