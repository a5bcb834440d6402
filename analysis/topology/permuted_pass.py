"""The loops of permuted clouds, from one further pass of the network.

Activations are not kept. Each layer's are read in blocks of features while the pass waits: squared
distances add up over blocks, so only one block at a time is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.instruments.activations import watch
from analysis.instruments.behaviour import (
    fill_lazy_layers,
    kept_buffers,
    observe_network,
    seeded,
)
from analysis.instruments.wrappers import unwrapped
from analysis.options import AnalysisOptions, Precision
from analysis.progress import Progress, ProgressCallback
from analysis.results import Float32, Float64, Integers, LayerTopology, TopologyReport
from analysis.system.devices import activations_in, device_of, full_float32, pick_device
from analysis.system.memory import free_cache
from analysis.text import plural
from analysis.topology.distances import flatten, squared_distances
from analysis.topology.footprints import free_budget, plan_within, trace_footprint
from analysis.topology.inputs import PreparedImages, load_split, prepare_inputs
from analysis.topology.layer_tests import images_to_test
from analysis.topology.permuted import BLOCK, permute_features
from analysis.topology.persistence import persistences
from analysis.topology.pipeline import load_network, memory_left
from analysis.topology.rounding import without_rounding
from analysis.topology.rounding_error import coarse_format

_MATRICES = 1 << 26  # bytes of the distances that are summed at the same time


def permute_named(
    options: AnalysisOptions,
    report: TopologyReport,
    *,
    draws: int,
    progress: ProgressCallback | None = None,
) -> tuple[LayerTopology, ...]:
    """`permute_layers` of a network and images by name; `report` is their analysis."""
    device = pick_device(options.device)
    try:
        drawn = load_split(options, options.split, progress).sample(
            options.samples, seed=options.seed
        )
        images = prepare_inputs(options, drawn)
        model = load_network(options, device, progress)
        with full_float32():
            return permute_layers(
                model,
                images,
                report,
                draws=draws,
                memory=memory_left(options.memory, device),
                precision=options.precision,
                progress=progress,
            )
    finally:
        free_cache(device)


def permute_layers(
    model: nn.Module,
    images: Tensor | PreparedImages,
    report: TopologyReport,
    *,
    draws: int,
    memory: int = 0,
    precision: Precision = "float32",
    progress: ProgressCallback | None = None,
) -> tuple[LayerTopology, ...]:
    """Count the loops of every layer once its features are permuted over the images.

    Each cloud that `images_to_test` gives is permuted by itself, so each image runs once. A
    network that mixes the images of a batch, or is random, runs all images of the analysis.

    Parameters
    ----------
    model : nn.Module
        Left as it was.
    images : Tensor (N, ...) or PreparedImages
        Of the analysis.
    report : TopologyReport
        The analysis. Its seed decides the permutations too.
    draws : int
    memory : int
        As for `pipeline.analyze`.
    precision : Precision
        Of the forward passes.
    progress : callable (Progress), optional
        Called when a pass reaches a layer. An error that it raises ends the work and is passed on.

    Returns
    -------
    tuple of LayerTopology
        The report's layers with the diagrams of all draws, as `PermutedLoops.layers`. Without
        those that are not finite, or that the pass did not reach.

    Raises
    ------
    ModelError
        If no layer is finite, or one cloud's images do not fit into memory together.
    """
    model, device = unwrapped(model), device_of(model)
    if not any(layer.finite for layer in report.layers):
        raise ModelError("No layer has finite activations, so there is nothing to permute.")
    with seeded(report.seed, device):
        fill_lazy_layers(model, images[:2])
    together = observe_network(model, images[:2]).needs_one_pass
    clouds = images_to_test(report)
    runs: list[tuple[Integers, list[Integers]]] = [
        (cloud, [np.arange(len(cloud))]) for cloud in clouds
    ]
    if together:
        runs = [(np.arange(report.samples), list(clouds))]
    with seeded(report.seed, device):
        _check_memory(model, _images_at(images, runs[0][0]), memory, precision)
    exact = not coarse_format(model, precision)
    counter = _Counter(report, draws, exact=exact, passes=len(runs), progress=progress)
    for number, (rows, groups) in enumerate(runs):
        counter.begin(number, len(rows), groups)
        with ExitStack() as stack:
            stack.enter_context(kept_buffers(model))
            stack.enter_context(activations_in(precision, device))
            stack.enter_context(seeded(report.seed, device))
            watch(model, _images_at(images, rows), counter)
    return counter.layers()


@dataclass(eq=False)
class _Counter:
    """Counts the loops of each layer's permuted clouds when a pass reaches the layer."""

    report: TopologyReport
    draws: int
    exact: bool  # loops within the rounding of the activations do not count
    passes: int
    progress: ProgressCallback | None
    number: int = 0  # of the pass
    images: int = 0  # of the pass
    groups: Sequence[Integers] = ()  # rows of each of its clouds
    # Of each layer in each pass: the loops of each of its clouds in each draw
    diagrams: dict[tuple[str, int], list[list[Float32]]] = field(default_factory=dict)

    def begin(self, number: int, images: int, groups: Sequence[Integers]) -> None:
        self.number, self.images, self.groups = number, images, groups

    def __call__(self, name: str, output: Tensor | None) -> None:
        place = self._places.get(name)
        if place is None or output is None or len(output) != self.images:
            return
        layer = self.report.layers[place]
        self._report(layer.name)
        error = layer.rounding if self.exact else 0.0
        of_clouds = []
        for number, rows in enumerate(self.groups, self.number):
            cloud = output if len(rows) == len(output) else output[torch.from_numpy(rows)]
            seed = (self.report.seed, place, number)
            matrices = permuted_distances(cloud, draws=self.draws, seed=seed)
            found = persistences(matrices, count=self.draws, points=len(rows))
            of_clouds.append([without_rounding(loops, error) for _, loops in found])
        # A module that is called several times contributes its last call.
        self.diagrams[name, self.number] = of_clouds

    def layers(self) -> tuple[LayerTopology, ...]:
        """The layers that every pass reached, with the diagrams in the order of the draws."""
        made = []
        for name, place in self._places.items():
            passes = [self.diagrams.get((name, number)) for number in range(self.passes)]
            if None not in passes:
                of_clouds = [loops for one in passes if one is not None for loops in one]
                in_order = (loops for draw in zip(*of_clouds, strict=True) for loops in draw)
                made.append(replace(self.report.layers[place], diagrams=tuple(in_order)))
        return tuple(made)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {layer.name: i for i, layer in enumerate(self.report.layers) if layer.finite}

    def _report(self, name: str) -> None:
        """Steps are values, because layers differ much in size."""
        if self.progress is None:
            return
        sizes = [self.report.layers[place].activation_size for place in self._places.values()]
        done = self.number * sum(sizes) + sum(sizes[: list(self._places).index(name)])
        self.progress(Progress("Permuted features", name, done, self.passes * sum(sizes)))


def permuted_distances(cloud: Tensor, *, draws: int, seed: Sequence[int]) -> Iterator[Float32]:
    """The distances within a cloud whose features are permuted over its points, draw by draw.

    Parameters
    ----------
    cloud : Tensor (N, ...)
        As for `pairwise_distances`, and so is the error of the distances.
    draws : int
    seed : sequence of int
        With the draw, it decides the permutations.

    Yields
    ------
    ndarray (N, N) of float32

    Raises
    ------
    ModelError
        If a distance is not finite.
    """
    flat = flatten(cloud)
    at_once = max(1, _MATRICES // (8 * len(flat) ** 2))
    for first in range(0, draws, at_once):
        some = range(first, min(draws, first + at_once))
        sums: Float64 = np.zeros((len(some), len(flat), len(flat)))
        for number, values in enumerate(_blocks(flat)):
            for total, draw in zip(sums, some, strict=True):
                rng = np.random.default_rng([*seed, draw, number])
                squared = squared_distances(torch.from_numpy(permute_features(values, rng).T))
                if squared is None:
                    raise ModelError("Activations were too large to permute. Scale them down.")
                total += squared.numpy()
        yield from np.sqrt(sums).astype(np.float32)


def _blocks(flat: Tensor) -> Iterator[Float32]:
    """Blocks of features (features, N), each relative to its first value.

    A permutation does not change distances by that, and float32 then keeps the digits that matter
    of features far from zero.
    """
    width = max(1, BLOCK // len(flat))
    for start in range(0, flat.shape[1], width):
        part = flat[:, start : start + width].to("cpu")
        part = part.to(torch.float64 if part.dtype == torch.float64 else torch.float32)
        yield (part - part[0]).float().T.contiguous().numpy()


def _images_at(images: Tensor | PreparedImages, rows: Integers) -> Tensor:
    indices = torch.from_numpy(rows)
    return images[indices] if isinstance(images, Tensor) else images.images(indices)


def _check_memory(model: nn.Module, images: Tensor, memory: int, precision: Precision) -> None:
    """Raise `ModelError` unless these images fit into one pass."""
    _, most = trace_footprint(model, images[:2], precision)
    free = free_budget(device_of(model))
    budget = replace(free, device=memory) if memory else free
    plan = plan_within(budget, model, images, most, precision)
    if plan.passes > 1:
        raise ModelError(
            f"The {plural(len(images), 'image')} of a cloud must run together to be permuted, but "
            f"at most {plan.largest} fit into memory. Use a preset with smaller clouds or a higher "
            "memory limit."
        )
