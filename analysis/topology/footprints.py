"""The memory of a forward pass, predicted by the ledger from two images or from none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import torch
from joblib import cpu_count
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.instruments.activations import Callback, Trace, ignore, trace, watch
from analysis.instruments.behaviour import kept_buffers
from analysis.instruments.fake import fake_copy
from analysis.instruments.layout import layout_of, set_layout
from analysis.instruments.ledger import Ledger
from analysis.options import Precision
from analysis.system.devices import activations_in, device_of
from analysis.system.memory import free_bytes, free_cache, resident_bytes
from analysis.topology.passes import Budget, Footprint, Plan, plan_passes

_LIBRARIES = 48_000_000  # bytes; those of topology load when the first layer is measured
# With only one image, models that squeeze lose an axis. The peak is the largest of several
# moments, each affine in the images: between counts far apart, the chord is nowhere below it.
_FEW, _MANY = 2, 1024


class ImageBlocks(Protocol):
    """Images that are prepared block by block: `images[10:20]` is a tensor."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Tensor: ...


def trace_footprint(
    model: nn.Module,
    images: Tensor,
    precision: Precision = "float32",
    *,
    head: str = "",
    callback: Callback = ignore,
) -> tuple[Trace, Footprint]:
    """Trace a model with the first two images, and bound the memory of a pass.

    It is an upper bound: counting operations makes attention keep its weights, and memory that
    does not grow with the images is charged to each of them.

    Parameters
    ----------
    model : nn.Module
    images : Tensor (N, ...)
    precision : Precision
    head : str
    callback : callable (name, output)
        As for `trace`.

    Raises
    ------
    ModelError
        As `trace` does.
    OptionError
        If the device cannot run in this precision.
    """
    with (
        kept_buffers(model) as moving,
        activations_in(precision, device_of(model)),
        Ledger(model) as ledger,
    ):
        held = ledger.bytes
        traced = trace(model, images, head=head, callback=callback)
    traced = replace(traced, moving=tuple(moving))
    taken = ledger.peak.total - held + _bytes(images[:1]) * _FEW
    return traced, Footprint(
        len(traced.layers), image=-(-taken // _FEW), processes=_processes(len(traced.layers))
    )


def predict_footprint(
    model: nn.Module, image_shape: tuple[int, ...], layers: int, precision: Precision = "float32"
) -> Footprint:
    """The memory of a pass, by the ledger on fake tensors: nothing is computed.

    Parameters
    ----------
    model : nn.Module
        On any device, including "meta"; neither run nor altered.
    image_shape : tuple of int
        Of one image as the model takes it, (C, H, W).
    layers : int
        Of the model.
    precision : Precision

    Raises
    ------
    ModelError
        If a pass depends on numbers, which fake tensors lack, or the model cannot be copied.
    """
    few, many = (_peak(model, (n, *image_shape), precision) for n in (_FEW, _MANY))
    image = -(-(many - few) // (_MANY - _FEW))
    return Footprint(layers, image, max(0, few - _FEW * image), _processes(layers))


def plan_within(
    budget: Budget,
    model: nn.Module,
    images: Tensor | ImageBlocks,
    most: Footprint,
    precision: Precision = "float32",
) -> Plan:
    """The passes that fit a budget; the bound `most` is refined only if it does not fit in one.

    Parameters
    ----------
    budget : Budget
    model : nn.Module
    images : Tensor or ImageBlocks
    most : Footprint
        By `trace_footprint`.
    precision : Precision

    Raises
    ------
    ModelError
        If the analysis does not fit; it says what would.
    """
    with suppress(ModelError):
        plan = plan_passes(len(images), most, budget)
        if plan.passes == 1:
            return plan
    try:
        shape = tuple(images[:1].shape[1:])
        footprint = replace(
            predict_footprint(model, shape, most.layers, precision), cloud=most.cloud
        )
    except ModelError:
        footprint = most
    return plan_passes(len(images), footprint, budget)


def free_budget(device: torch.device) -> Budget:
    """Most of the memory that is free, on a device and the host, once torch's cache is empty."""
    free_cache(device)
    host = free_bytes(torch.device("cpu")) if device.type == "cuda" else None
    return Budget(free_bytes(device), host)


def held_bytes(device: torch.device) -> int:
    """Bytes held now: by tensors on a GPU, else by this process and libraries it will load."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return resident_bytes() + _LIBRARIES


def _peak(model: nn.Module, shape: tuple[int, ...], precision: Precision) -> int:
    with fake_copy(model) as fake:
        set_layout(fake, layout_of(model))
        device = device_of(fake)
        images = torch.empty(shape, device=device)
        with activations_in(precision, device), Ledger(fake) as ledger:
            held = ledger.bytes
            watch(fake, images, lambda *_: None)
        return ledger.peak.total - held + _bytes(images)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _processes(layers: int) -> int:
    """How many processes `persistences` starts: it gets one cloud per layer."""
    return max(1, min(int(cpu_count()), layers))
