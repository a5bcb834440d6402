"""The distance matrix of every layer, in as many forward passes as the memory requires."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from analysis.instruments.activations import Callback, ignore, watch
from analysis.instruments.behaviour import kept_buffers
from analysis.instruments.ledger import Ledger
from analysis.options import Precision
from analysis.results import Float32
from analysis.system.devices import activations_in, device_of
from analysis.topology.distances import pairwise_distances
from analysis.topology.footprints import ImageBlocks
from analysis.topology.passes import Plan


@dataclass(eq=False)
class LayerDistances:
    """The distances that the forward passes have measured so far."""

    samples: int
    distances: dict[str, Float32 | None] = field(default_factory=dict)  # None: not finite
    outside: dict[str, None] = field(default_factory=dict)  # output is not one point per image
    norms: dict[str, float] = field(default_factory=dict)  # how far a point is from the origin
    peak_bytes: int = 0  # live tensors at the peak

    def add(self, name: str, blocks: tuple[range, ...], matrix: Float32 | None) -> None:
        """Add the distances between the images of a pass."""
        if sum(map(len, blocks)) == self.samples:
            self.distances[name] = matrix
            return
        whole = self.distances.get(name)
        if whole is None:
            whole = self.distances[name] = np.full((self.samples,) * 2, np.nan, np.float32)
        rows = np.concatenate(blocks)
        whole[np.ix_(rows, rows)] = np.nan if matrix is None else matrix

    def finish(self) -> None:
        """Replace each matrix that is incomplete or not finite by None.

        It is incomplete if a pass did not reach the layer, such as one behind an `if`.
        """
        for name in self.outside:
            self.distances.pop(name, None)
        for name, whole in self.distances.items():
            if whole is not None and not np.isfinite(whole).all():
                self.distances[name] = None


def measure_layer_distances(
    model: nn.Module,
    images: Tensor | ImageBlocks,
    names: Collection[str],
    plan: Plan,
    *,
    precision: Precision = "float32",
    on_layer: Callable[[int, str], None] = lambda *_: None,
    track_memory: bool = True,
    callback: Callback = ignore,
) -> LayerDistances:
    """Measure the distances between the images in each layer.

    Parameters
    ----------
    model : nn.Module
    images : Tensor (N, ...) or ImageBlocks
    names : collection of str
        The layers to measure.
    plan : Plan
        Which images go into which pass.
    precision : Precision
        Of the forward passes.
    on_layer : callable (steps, name), optional
        Called when a pass reaches a layer, with the number of layers reached before in all
        passes. An error that it raises is passed on.
    track_memory : bool
        Find the peak of live tensors, which takes time at each operation.
    callback : callable (name, output)
        As for `watch`, in each pass.

    Raises
    ------
    ModelError
        If the model cannot run on the images.
    """
    clouds = LayerDistances(len(images))
    for number, blocks in enumerate(plan):
        batch = _gather(images, blocks)
        measure = _Measure(
            clouds, blocks, frozenset(names), number * len(names), on_layer, callback
        )
        with ExitStack() as stack:
            stack.enter_context(kept_buffers(model))
            stack.enter_context(activations_in(precision, device_of(model)))
            ledger = Ledger(model, batch=(batch,)) if track_memory else None
            if ledger is not None:
                stack.enter_context(ledger)
            watch(model, batch, measure)
        if ledger is not None:
            clouds.peak_bytes = max(clouds.peak_bytes, ledger.peak.total)
    clouds.finish()
    return clouds


@dataclass(eq=False)
class _Measure:
    """Measures the output of each layer during one pass."""

    clouds: LayerDistances
    blocks: tuple[range, ...]
    names: frozenset[str]
    before: int  # steps of earlier passes
    on_layer: Callable[[int, str], None]
    callback: Callback
    seen: set[str] = field(default_factory=set)

    def __call__(self, name: str, output: Tensor | None) -> None:
        self.callback(name, output)
        if name not in self.names:
            return
        if output is None or len(output) != sum(map(len, self.blocks)):
            self.clouds.outside[name] = None
            return
        self.on_layer(self.before + len(self.seen), name)
        self.seen.add(name)
        self.clouds.add(name, self.blocks, pairwise_distances(output))
        self.clouds.norms[name] = float(torch.linalg.vector_norm(output[0].detach().float()))


def _gather(images: Tensor | ImageBlocks, blocks: tuple[range, ...]) -> Tensor:
    parts = [images[block.start : block.stop] for block in blocks]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
