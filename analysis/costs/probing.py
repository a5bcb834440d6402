"""Measure a model's costs on this machine, without data and without its weights."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform
from torch import Tensor, nn

from analysis.costs.analysis_cost import CostRequest, Probe
from analysis.errors import ModelError
from analysis.instruments.activations import watch
from analysis.instruments.behaviour import observe_network
from analysis.models import model_spec, prepare_images
from analysis.models.loading import empty_network
from analysis.options import AnalysisOptions
from analysis.results import Float32
from analysis.system.devices import activations_in, full_float32, pick_device
from analysis.system.memory import free_cache
from analysis.topology.clustering import dbscan
from analysis.topology.distances import pairwise_distances
from analysis.topology.footprints import (
    free_budget,
    held_bytes,
    predict_footprint,
    trace_footprint,
)
from analysis.topology.persistence import persistence

_SECONDS = 0.6  # for the timed forward pass
_MOST = 32  # images in it
_SMALL = (40, 10)  # points and coordinates of a cloud so small that only fixed costs count
_CLOUDS = ((40, 1 << 17), (320, 1 << 14))  # points and coordinates whose distances are timed
_TRIES = 5  # of short measurements; the fastest counts, because other work can only slow it
_CLASSES = 1000  # of a network whose number of classes is unknown before it is built
_FEW, _POINTS = 20, 200  # points whose topology is timed


def probe(request: CostRequest) -> Probe:
    """Measure a model on a few black images, and Ripser on noise, in one to three seconds.

    Parameters
    ----------
    request : CostRequest

    Raises
    ------
    OptionError, ModelError
        With a sentence for the user.
    """
    device = pick_device(request.options.device)
    try:
        return _measure(request.options, device)
    finally:
        free_cache(device)


def _measure(options: AnalysisOptions, device: torch.device) -> Probe:
    one = _black(options)
    model = _empty(options, device)
    held, free = held_bytes(device), free_budget(device)
    with full_float32():
        observe_network(model, one.expand(2, *one.shape[1:]))  # chooses the layout
        begun = time.perf_counter()
        traced, most = trace_footprint(model, one.expand(2, *one.shape[1:]), options.precision)
        trace_seconds = time.perf_counter() - begun
        try:
            shape = tuple(one.shape[1:])
            footprint = predict_footprint(model, shape, most.layers, options.precision)
        except ModelError:
            footprint = most
        image_seconds = _image_seconds(model, one, options, footprint.most_at_once(free))
    coordinates = sum(torch.Size(layer.shape).numel() for layer in traced.layers)
    point, pair = _distance_seconds(device)
    layer_seconds, ripser_seconds = _topology_seconds()
    return Probe(
        footprint=footprint,
        input_bytes=one.numel() * one.element_size(),
        held_bytes=held,
        free=free,
        trace_seconds=trace_seconds,
        image_seconds=image_seconds,
        distance_seconds=point * coordinates,
        pair_seconds=pair * coordinates,
        layer_seconds=layer_seconds + _cloud_seconds(*_SMALL, device),
        ripser_points=_POINTS,
        ripser_seconds=ripser_seconds,
    )


def _black(options: AnalysisOptions) -> Tensor:
    """One black image in the model's input format, (1, C, H, W)."""
    black = np.zeros((1, 3, 32, 32), np.float32)
    return prepare_images(
        options.model, black, weights=options.weights, input_side=options.input_side
    )


def _empty(options: AnalysisOptions, device: torch.device) -> nn.Module:
    """The network with zeros as weights: nothing overflows, and no number is subnormal."""
    classes = model_spec(options.model).classes or _CLASSES
    model = empty_network(
        options.model, classes, weights=options.weights, head=options.head
    ).to_empty(device=device)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    return model


def _image_seconds(model: nn.Module, one: Tensor, options: AnalysisOptions, most: int) -> float:
    """Seconds per image of a forward pass of as many as the time allows, at most `most`."""
    device = next(model.parameters()).device

    def forward(count: int) -> float:
        images = one.expand(count, *one.shape[1:])

        def run() -> None:
            with activations_in(options.precision, device):
                watch(model, images, lambda *_: None)

        return _seconds_of(run, device)

    count = max(2, min(_MOST, most, int(2 * _SECONDS / forward(2))))
    return forward(count) / count


def _distance_seconds(device: torch.device) -> tuple[float, float]:
    """Seconds per coordinate: for each point, and for each pair of points."""
    (few, small), (many, large) = (
        (points, _cloud_seconds(points, width, device) / width / points)
        for points, width in _CLOUDS
    )
    pair = max(0.0, large - small) / (many - few)
    return max(0.0, small - pair * few), pair


def _cloud_seconds(points: int, width: int, device: torch.device) -> float:
    cloud = torch.randn(points, width, generator=torch.Generator().manual_seed(0)).to(device)
    pairwise_distances(cloud[:, :256])  # the first call finds its kernels
    return min(_seconds_of(lambda: pairwise_distances(cloud), device) for _ in range(_TRIES))


def _topology_seconds() -> tuple[float, float]:
    """Seconds per layer: on a few points, and how much more on many."""
    few, many = (
        squareform(pdist(np.random.default_rng(0).standard_normal((points, 32)))).astype(np.float32)
        for points in (_FEW, _POINTS)
    )

    def seconds(distances: Float32) -> float:
        def work() -> None:
            persistence(distances)
            dbscan(distances)

        return min(_seconds_of(work, torch.device("cpu")) for _ in range(_TRIES))

    layer = seconds(few)
    return layer, max(0.0, seconds(many) - layer)


def _seconds_of(work: Callable[[], object], device: torch.device) -> float:
    _wait_for(device)
    begun = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - begun


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
