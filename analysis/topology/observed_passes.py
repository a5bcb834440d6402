"""How a network behaves, its layers and their distances, in as few passes as tell them.

The pass that traces the layers has two images, and the one that measures them has all, in another
layout. Most networks give the first image the same numbers in both, and no more passes are needed.
Any other network is observed on its own, with two images.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.instruments.activations import Callback, Trace, ignore
from analysis.instruments.behaviour import (
    Behaviour,
    FirstImage,
    observe_network,
    other_company,
    parameter_sums,
    seeded,
)
from analysis.instruments.layout import fast_layout, set_layout
from analysis.options import Precision
from analysis.system.devices import device_of
from analysis.topology.footprints import ImageBlocks, free_budget, plan_within, trace_footprint
from analysis.topology.layer_distances import LayerDistances, measure_layer_distances
from analysis.topology.passes import Budget, Plan, plan_passes
from analysis.topology.rounding_error import coarse_format

# The trace runs in contiguous layout. In the other one a network may copy tensors besides, so all
# images run in one pass without more ado only where twice what the trace took is free.
_COPIES = 2
# Modules of these packages take any layout. One's own may not, and the pass over all images, which
# is the long one, would have to be made again: they are observed first.
_PACKAGES = frozenset({"torch", "torchvision", "timm", "analysis"})


@dataclass(frozen=True)
class PassOptions:
    """What the passes of an analysis have in common."""

    seed: int
    precision: Precision
    head: str
    memory: int  # bytes on the model's device; 0: most of the free ones
    cloud: int  # images of a cloud
    # From the layers and the passes to what is called with (stage, steps, name) at each layer.
    report: Callable[[int, int], Callable[[str, int, str], None]]


class Observed(NamedTuple):
    behaviour: Behaviour
    traced: Trace
    plan: Plan
    clouds: LayerDistances


def observe_and_measure(
    model: nn.Module, images: Tensor | ImageBlocks, options: PassOptions
) -> Observed:
    """Observe a network, trace it, and measure the distances in every layer.

    Parameters
    ----------
    model : nn.Module
        Left with its layout set, and its buffers as they were.
    images : Tensor (N, ...) or ImageBlocks
    options : PassOptions

    Raises
    ------
    ModelError
        If the network cannot run, has no layer, or needs too much memory.
    OptionError
        If `head` is none of its layers.
    """
    budget = free_budget(device_of(model))
    if options.memory:
        budget = replace(budget, device=options.memory)
    at_once = _at_once(model, images, options, budget)
    return at_once or _one_by_one(model, images, options, budget)


def _at_once(
    model: nn.Module, images: Tensor | ImageBlocks, options: PassOptions, budget: Budget
) -> Observed | None:
    """None if the network has to be observed before it is measured."""
    if {type(m).__module__.partition(".")[0] for m in model.modules()} - _PACKAGES:
        return None
    if coarse_format(model, options.precision):  # the layouts would differ by its rounding
        return None
    device = device_of(model)
    pair = other_company(images[:2])
    weights = parameter_sums(model)
    alone, beside = FirstImage(len(pair)), FirstImage(len(images))
    with suppress(ModelError):
        set_layout(model, torch.contiguous_format)
        with seeded(options.seed + 1, device):
            traced, most = trace_footprint(model, pair, head=options.head, callback=alone)
        if traced.draws or parameter_sums(model) != weights:
            return None
        most = replace(most, image=_COPIES * most.image, cloud=options.cloud)
        plan = plan_passes(len(images), most, budget)
        if plan.passes > 1:
            return None
        set_layout(model, fast_layout(pair))
        clouds = _measure(model, images, options, traced, plan, beside)
        if alone.agrees(beside):
            return Observed(Behaviour(moving=traced.moving), traced, plan, clouds)
    return None


def _one_by_one(
    model: nn.Module, images: Tensor | ImageBlocks, options: PassOptions, budget: Budget
) -> Observed:
    behaviour = observe_network(model, images[:2])
    with seeded(options.seed, device_of(model)):
        traced, most = trace_footprint(model, images[:2], options.precision, head=options.head)
    most = replace(most, cloud=options.cloud)
    plan = plan_within(budget, model, images, most, options.precision)
    if plan.passes > 1 and behaviour.needs_one_pass:
        raise ModelError(_why_one_pass(behaviour, plan))
    return Observed(behaviour, traced, plan, _measure(model, images, options, traced, plan))


def _measure(
    model: nn.Module,
    images: Tensor | ImageBlocks,
    options: PassOptions,
    traced: Trace,
    plan: Plan,
    callback: Callback = ignore,
) -> LayerDistances:
    with seeded(options.seed, device_of(model)):
        return measure_layer_distances(
            model,
            images,
            traced.names,
            plan,
            precision=options.precision,
            on_layer=partial(options.report(len(traced.layers), plan.passes), "Forward pass"),
            callback=callback,
        )


def _why_one_pass(behaviour: Behaviour, plan: Plan) -> str:
    why = "is random" if behaviour.random else "mixes the images of a batch"
    why = "changes its weights" if behaviour.altered else why
    return (
        f"This network {why} even in evaluation mode, so all its images must run in one pass, but "
        f"{plan.samples} do not fit: use at most {plan.largest} samples or a higher memory limit."
    )
