"""What may silently change a network's numbers: chance, its batch, its own state, a layout."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from analysis.errors import ModelError
from analysis.instruments.activations import watch
from analysis.instruments.chance import random_states
from analysis.instruments.layout import fast_layout, layout_of, set_layout
from analysis.instruments.wrappers import lazy_layers
from analysis.results import Float32
from analysis.text import first_of

_ELEMENTS = 4096  # of each layer's output that are compared, at most
# Largest differences, as shares of a layer's range, between passes that should give the same.
_SAME = 1e-5  # in the same layout
_SAME_ROUNDED = 2e-2  # in another layout, whose kernels add in another order


@dataclass(frozen=True)
class Behaviour:
    """How a network behaves in eval mode."""

    random: bool = False  # the same image gives other numbers each time
    looks_at_batch: bool = False  # an image's numbers depend on the images beside it
    moving: tuple[str, ...] = ()  # buffers that a forward pass changes
    altered: tuple[str, ...] = ()  # parameters that a forward pass changes; then no more is known

    @property
    def needs_one_pass(self) -> bool:
        """Whether all images must run together for their distances to mean anything."""
        return self.random or self.looks_at_batch or bool(self.altered)

    def sentences(self) -> list[str]:
        """For the user."""
        sentences = []
        if self.random:
            sentences.append(
                "This network is random even in evaluation mode: its numbers hold only for this "
                "seed."
            )
        if self.looks_at_batch:
            sentences.append(
                "In this network, the activations of an image depend on the other images of its "
                "batch: its numbers hold only for these images together."
            )
        if self.moving:
            sentences.append(
                "A forward pass changes buffers of this network even in evaluation mode. They were "
                f"put back after each pass: {first_of(self.moving)}."
            )
        if self.altered:
            sentences.append(
                "A forward pass changes weights of this network even in evaluation mode: "
                f"{first_of(self.altered)}. The numbers hold for the weights after some passes."
            )
        return sentences


def observe_network(model: nn.Module, images: Tensor) -> Behaviour:
    """Run a few images in different company, and see what changes; also sets the layout.

    If a second pass with another layout, seed and neighbour gives the first image the same
    numbers, two passes are enough. Otherwise more passes show the cause.

    Parameters
    ----------
    model : nn.Module
        Left as it was, with its buffers and the random state, unless it alters its own weights.
    images : Tensor (N, ...)
        The first two are used.

    Returns
    -------
    Behaviour
        Of a network that cannot run: nothing. Analysing it then reports the error.
    """
    pair = images[:2]
    other = other_company(pair)
    before = layout_of(model)
    last = fast_layout(pair)
    try:
        set_layout(model, torch.contiguous_format)
        weights = parameter_sums(model)
        first, moving, draws = _run(model, pair, seed=0)
        if altered := tuple(
            name for name, now in parameter_sums(model).items() if now != weights[name]
        ):
            return Behaviour(moving=moving, altered=altered)
        set_layout(model, last)
        try:
            second = _run(model, other, seed=1)[0]
        except ModelError:
            second = {}
        if _agree(first, second, _SAME, rows=1):  # numbers that are drawn may change only others
            return Behaviour(moving=moving, random=draws)
        set_layout(model, torch.contiguous_format)
        again, beside = _run(model, pair, seed=1)[0], _run(model, other, seed=0)[0]
        if second:  # else channels-last failed
            set_layout(model, last)
            second = _run(model, pair, seed=0)[0]
    except ModelError:
        set_layout(model, before)
        return Behaviour()
    same = _agree(first, second, _SAME_ROUNDED)
    set_layout(model, last if same else torch.contiguous_format)
    return Behaviour(
        random=draws or not _agree(first, again, _SAME),
        looks_at_batch=not _agree(first, beside, _SAME, rows=1),
        moving=moving,
    )


def other_company(pair: Tensor) -> Tensor:
    """The first image of a pair beside another one that is unlike the second."""
    return torch.stack([pair[0], 1 - 2 * pair[-1]])


@dataclass(eq=False)
class FirstImage:
    """Parts of what each layer gives for the first image of a pass; a callback for `watch`.

    They are arrays, since a ledger would count tensors as memory of the network.
    """

    images: int  # of the pass
    parts: dict[str, Float32 | None] = field(default_factory=dict)  # None: not one for each image

    def __call__(self, name: str, output: Tensor | None) -> None:
        per_image = output is not None and output.dim() > 0 and len(output) == self.images
        self.parts[name] = None
        if output is not None and per_image and output.numel():
            first = output[0].to(torch.float32).numpy(force=True)
            self.parts[name] = first.flat[:: max(1, first.size // _ELEMENTS)]  # a copy

    def agrees(self, other: FirstImage) -> bool:
        """Whether it had the same numbers, but for rounding, in another layout and company."""
        if self.parts.keys() != other.parts.keys():
            return False
        for name, mine in self.parts.items():
            theirs = other.parts[name]
            if mine is None or theirs is None:
                continue
            if not _close(torch.from_numpy(mine), torch.from_numpy(theirs), _SAME):
                return False
        return True


def fill_lazy_layers(model: nn.Module, images: Tensor) -> None:
    """Run a model once if it has lazy layers, which then draw their parameters.

    Raises
    ------
    ModelError
        If it cannot run, or does not run all of them.
    """
    if not lazy_layers(model):
        return
    with kept_buffers(model):
        watch(model, images, lambda *_: None)
    if names := lazy_layers(model):
        raise ModelError(
            "A forward pass does not run these lazy layers, so they have no size: "
            f"{first_of(names)}. Remove them, or give them their sizes."
        )


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Start every source of random numbers from a seed; then restore the caller's."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [device] if device.type in ("cuda", "mps") else []
    with torch.random.fork_rng(devices, device_type=devices[0].type if devices else "cuda"):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[list[str]]:
    """Put the model's buffers back; the list then has the names of those that had changed."""
    with torch.no_grad():
        kept = [
            (prefix, module, name, buffer, buffer.clone())
            for prefix, module in model.named_modules()
            for name, buffer in module._buffers.items()
            if buffer is not None and not buffer.is_meta and not is_lazy(buffer)
        ]
    changed: list[str] = []
    try:
        yield changed
    finally:
        with torch.no_grad():
            for prefix, module, name, buffer, copy in kept:
                now = module._buffers.get(name)
                if now is None or not _equal(now, copy):
                    changed.append(f"{prefix}.{name}" if prefix else name)
                module._buffers[name] = buffer
                if not _equal(buffer, copy):
                    # An observer of ranges, say, gives its empty buffers a size.
                    buffer.resize_(copy.shape).copy_(copy)


def parameter_sums(model: nn.Module) -> dict[str, str]:
    """A number for each parameter that is another if the parameter is, as text: NaN equals NaN."""
    return {name: str(p.detach().sum().item()) for name, p in model.named_parameters()}


def _run(
    model: nn.Module, images: Tensor, seed: int
) -> tuple[dict[str, Tensor], tuple[str, ...], bool]:
    """Parts of each layer's output, buffers that changed, and whether random numbers were drawn."""
    samples: dict[str, Tensor] = {}

    def note(name: str, output: Tensor | None) -> None:
        if output is None or not output.dim() or not output.numel():
            return
        flat = output.detach().reshape(len(output), -1)
        step = max(1, flat.shape[1] * len(flat) // _ELEMENTS)
        samples[name] = flat[:, ::step].to("cpu", torch.float32, copy=True)

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with kept_buffers(model) as changed, seeded(seed, device):
        before = random_states()
        watch(model, images, note)
        draws = random_states() != before
    return samples, tuple(changed), draws


def _agree(
    first: dict[str, Tensor], second: dict[str, Tensor], share: float, rows: int | None = None
) -> bool:
    """Whether two passes gave the same, in each layer and in the first `rows` images."""
    if first.keys() != second.keys():
        return False
    for name, one in first.items():
        other = second[name]
        if one.shape != other.shape:
            return False
        # Outputs that are not one per image, such as an average, depend on all of them.
        if rows and len(one) != 2:
            continue
        if not _close(one[:rows], other[:rows], share):
            return False
    return True


def _close(one: Tensor, other: Tensor, share: float) -> bool:
    a, b = one.nan_to_num(), other.nan_to_num()
    if a.shape != b.shape:
        return False
    scale = max(float(a.max() - a.min()), float(a.abs().max()))
    return bool((a - b).abs().max() <= share * scale)


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    if one.is_floating_point() and not one.is_quantized:
        return torch.equal(one.nan_to_num(), other.nan_to_num())
    return torch.equal(one, other)
