"""Follow the topology of a network while it trains, without changing the training.

The passes run in a copy that shares the parameters and buffers but has its own modes and hooks, so
that the network that trains never has a hook. Where the frozen part runs only once, it does so here
too.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from analysis.errors import AnalysisError, is_out_of_memory
from analysis.instruments.activations import parameter_owners
from analysis.instruments.behaviour import kept_buffers, observe_network, parameter_sums, seeded
from analysis.options import MIN_SAMPLES, Recipe
from analysis.results import Float32
from analysis.system.devices import device_of, full_float32
from analysis.topology.embedding import embed_together
from analysis.topology.footprints import free_budget, plan_within, trace_footprint
from analysis.topology.layer_distances import LayerDistances, measure_layer_distances
from analysis.topology.passes import Plan
from analysis.topology.persistence import persistences
from analysis.topology.rounding import without_rounding
from analysis.topology.rounding_error import coarse_format, is_far_from_origin, layer_errors
from analysis.training.cut import Cut
from analysis.training.followed import MOST_BYTES, MOST_SHARE, FollowedTopology
from analysis.training.reuse import CutNetwork, share_network
from analysis.training.splits import LabelledImages

IMAGES = 32  # at most; with 40 it would cost over a tenth of a short training
MOST_EPOCHS = 50  # that are measured, evenly spaced, beside the start
_NETWORK = "network."  # before a layer's name in a cut network


class UnfollowedError(Exception):
    """Why a network is not followed: a sentence for the user."""


class Follower:
    """Measures the loops of every layer, on a few validation images, now and again.

    Parameters
    ----------
    model : nn.Module
        Neither hooked nor changed.
    validation : LabelledImages
    evaluated : nn.Module
        What runs validation images: the model, or a `CutNetwork`.
    recipe : Recipe
    """

    def __init__(
        self, model: nn.Module, validation: LabelledImages, evaluated: nn.Module, recipe: Recipe
    ) -> None:
        self.seconds = 0.0  # that following has taken so far
        self._recipe, self._device = recipe, device_of(model)
        self._followed = FollowedTopology(min(IMAGES, len(validation.labels)))
        self._wanted = set(np.linspace(0, recipe.epochs, MOST_EPOCHS + 1).round().astype(int))
        # On the CPU other programs may take turns, whose time is no cost of following.
        self._clock = time.thread_time if self._device.type == "cpu" else time.perf_counter
        self._part: _Part | None = None
        began = self._clock()
        with self._timed():
            self._part = self._prepare(model, validation, evaluated)
        self._ready = self._clock()
        self._prepared = self._ready - began  # by the same clock, as these
        self._measured: list[float] = []

    def start(self) -> FollowedTopology:
        """What the layers are before the training."""
        return self._followed

    def after(self, epoch: int) -> FollowedTopology | None:
        """Measure the layers after an epoch, unless that would cost too much.

        Returns
        -------
        FollowedTopology or None
            All that was followed so far; None if nothing is new.
        """
        if self._part is None or epoch not in self._wanted:
            return None
        began = self._clock()
        with self._timed():
            if self._leaves_out(epoch):
                return None
            self._add(epoch, self._part.measure(self._recipe.seed))
        self._measured.append(self._clock() - began)
        return self._followed

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time, and stop to follow after an error."""
        started = time.perf_counter()
        try:
            yield
        except Exception as error:  # a network's own code may do anything
            self._part = None
            self._followed = replace(self._followed, note=_why(error))
        self.seconds += time.perf_counter() - started

    def _prepare(self, model: nn.Module, validation: LabelledImages, evaluated: nn.Module) -> _Part:
        if self._followed.images < MIN_SAMPLES:
            raise UnfollowedError(
                f"Its topology was not followed: that needs {MIN_SAMPLES} validation images."
            )
        chance = torch.Generator().manual_seed(self._recipe.seed)
        drawn = torch.randperm(len(validation.labels), generator=chance)[: self._followed.images]
        drawn = drawn.sort().values
        images = validation.images(drawn).to(self._device)
        numbers = tuple(map(str, validation.labels[drawn].tolist()))
        self._followed = replace(self._followed, classes=numbers)
        cut = evaluated.cut if isinstance(evaluated, CutNetwork) else None
        with seeded(self._recipe.seed, self._device), full_float32():
            part = _Part(model, _Whole(model, images, self._recipe), cut)
        self._add(0, part.first)
        return part

    def _add(self, epoch: int, measured: dict[str, _Measured]) -> None:
        followed = replace(
            self._followed,
            epochs=(*self._followed.epochs, epoch),
            diagrams=_longer(
                self._followed.diagrams, {name: each.loops for name, each in measured.items()}
            ),
            maps=_longer(self._followed.maps, {name: each.map for name, each in measured.items()}),
        )
        if followed.bytes > MOST_BYTES:
            raise UnfollowedError(f"{self._only} Its loops would take too much space.")
        self._followed = followed

    def _leaves_out(self, epoch: int) -> bool:
        """Whether an epoch is not measured, as following all to the end would cost too much.

        Raises
        ------
        UnfollowedError
            If one more measurement would already cost too much.
        """
        if self._recipe.follow_topology:  # whatever it costs
            return False
        left = sum(each >= epoch for each in self._wanted)
        following = self._prepared + sum(self._measured)
        training = (self._clock() - self._ready - sum(self._measured)) * self._recipe.epochs / epoch
        each = sum(self._measured) / max(1, len(self._measured))
        if following + left * each <= MOST_SHARE * training:
            return False
        if following + each > MOST_SHARE * training:
            raise UnfollowedError(
                f"{self._only} More would take over {100 * MOST_SHARE:.0f} % of the training's "
                "time; you can choose to follow it always."
            )
        note = (
            f"Some epochs are left out: all would take over {100 * MOST_SHARE:.0f} % of the "
            "training's time. You can choose to follow it always."
        )
        self._followed = replace(self._followed, note=note)
        return True

    @property
    def _only(self) -> str:
        last = max(self._followed.epochs, default=0)
        return f"Its topology was followed only to epoch {last}."


class _Measured(NamedTuple):
    """What is kept of a layer after an epoch; None where it is not finite."""

    loops: Float32 | None = None
    map: Float32 | None = None


class _Whole:
    """All layers of a network before it trains, by a pass of a copy."""

    def __init__(self, model: nn.Module, images: Tensor, recipe: Recipe) -> None:
        apart = copy.deepcopy(model)
        if recipe.batch_size < IMAGES / 2:  # else a training step needs about as much memory
            _, footprint = trace_footprint(apart, images[:2], head="none")
            if plan_within(free_budget(device_of(model)), apart, images, footprint).passes > 1:
                raise UnfollowedError("Its topology was not followed: too little memory is free.")
        weights = parameter_sums(apart)
        names = [name for name in parameter_owners(apart) if name] or [""]
        self.images, self.clouds = images, _distances(apart, images, names, recipe.seed)
        if parameter_sums(apart) != weights:  # which would change the training
            raise UnfollowedError(
                "Its topology was not followed: each pass of this network changes its weights."
            )
        self.errors: dict[str, float] = {}
        # Measured once: rounding is a matter of the network more than of its epoch. In 16 bits it
        # counts short loops, as an analysis does.
        if is_far_from_origin(self.clouds) and not coarse_format(apart, "float32"):
            behaviour, plan = observe_network(apart, images[:2]), Plan(len(images))
            self.errors = layer_errors(apart, images, self.clouds, plan, behaviour=behaviour)


class _Rest(nn.Module):
    """The rest of a cut network on rows that it holds; what it is called with plays no part."""

    def __init__(self, cut: Cut, rows: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.rest, self._rows = cut.rest, rows

    def forward(self, _: Tensor) -> object:
        return self.rest(*self._rows)


class _Part:
    """The part of a network whose layers change, with what runs it."""

    def __init__(self, model: nn.Module, whole: _Whole, cut: Cut | None) -> None:
        self._images, self._prefix = whole.images, ""
        self._names = list(whole.clouds.distances)
        self._errors = whole.errors
        self._before: dict[str, tuple[Float32, _Measured]] = {}  # distances, and what is of them
        self.first = self._measured(whole.clouds.distances)
        behind = None if cut is None else _layers_of_rest(cut, self._names)
        self._network: nn.Module
        if cut is None or behind is None:
            self._network = share_network(model)
        else:
            with torch.no_grad(), kept_buffers(model):
                rows = cut.prefix(whole.images)
            self._network, self._prefix = _Rest(cut, rows), f"rest.{_NETWORK}"
            self._images, self._names = torch.zeros(len(whole.images), 1), behind

    def measure(self, seed: int) -> dict[str, _Measured]:
        """Every layer that may have changed."""
        names = [self._prefix + name for name in self._names]
        clouds = _distances(self._network, self._images, names, seed)
        return self._measured(
            {name: clouds.distances.get(self._prefix + name) for name in self._names}
        )

    def _measured(self, distances: dict[str, Float32 | None]) -> dict[str, _Measured]:
        """H₁ as in an analysis, and maps; the same objects where no distance has changed."""
        measured = dict.fromkeys(distances, _Measured())
        changed: dict[str, Float32] = {}
        for name, matrix in distances.items():
            known = self._before.get(name)
            if matrix is not None and known is not None and np.array_equal(matrix, known[0]):
                measured[name] = known[1]
            elif matrix is not None:
                changed[name] = matrix
        found = persistences(changed.values(), count=len(changed), points=len(self._images))
        maps = embed_together([*changed.values()]) if changed else ()
        for (name, matrix), (_, diagram), plane in zip(changed.items(), found, maps, strict=True):
            long = without_rounding(diagram, self._errors.get(name, 0.0))
            measured[name] = _Measured(long, plane)
            self._before[name] = matrix, measured[name]
        return measured


def _longer(
    before: Mapping[str, tuple[Float32 | None, ...]] | None, now: dict[str, Float32 | None]
) -> dict[str, tuple[Float32 | None, ...]]:
    """What was kept of every layer, with one more; a layer that is not measured again stays."""
    kept = before or dict.fromkeys(now, ())
    return {name: (*each, now[name] if name in now else each[-1]) for name, each in kept.items()}


def _distances(
    network: nn.Module, images: Tensor, names: Collection[str], seed: int
) -> LayerDistances:
    with seeded(seed, device_of(network)), full_float32():
        return measure_layer_distances(
            network, images, names, Plan(len(images)), track_memory=False
        )


def _layers_of_rest(cut: Cut, names: Collection[str]) -> list[str] | None:
    """The layers that run behind a cut; None if the parts do not show every layer."""
    before, behind = (
        {str(node.target).removeprefix(_NETWORK) for node in part.graph.nodes
         if node.op == "call_module"}
        for part in (cut.prefix, cut.rest)
    )  # fmt: skip
    shown = before | behind
    return [name for name in names if name in behind] if shown.issuperset(names) else None


def _why(error: Exception) -> str:
    if isinstance(error, UnfollowedError):
        return str(error)
    if is_out_of_memory(error):
        return "Its topology was not followed to the end: memory ran out."
    why = str(error) if isinstance(error, AnalysisError) else f"{type(error).__name__}: {error}"
    return f"Its topology was not followed to the end. {why}"
