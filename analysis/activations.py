"""Which layers a model has, in what order they run, and what each puts out.

A layer is a module that owns parameters itself. Its cloud is its output: of a tuple or list the
first tensor, of a dict the first value's. A module that is called several times contributes its
last call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from analysis.errors import ModelError


@dataclass(frozen=True)
class LayerInfo:
    name: str
    kind: str
    shape: tuple[int, ...]  # of one image's output
    parameters: int  # elements
    flops: int  # of one image


@dataclass(frozen=True)
class Trace:
    """What one image's forward pass tells about a model."""

    layers: tuple[LayerInfo, ...]  # in execution order
    never_run: tuple[str, ...]
    outside: tuple[str, ...]  # ran, but the output is not one point an image

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode, without gradients, and restore every module's own flag."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        # Not inference_mode: a tensor that the model caches in it could never be trained with.
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in flags:
            module.training = training


def first_tensor(output: object) -> Tensor | None:
    """The first tensor of an output, depth first, or None."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        return next((t for t in map(first_tensor, output) if t is not None), None)
    return None


def watch(model: nn.Module, images: Tensor, callback: Callable[[str, Tensor | None], None]) -> None:
    """Run the model once and hand each layer's output to `callback`, in execution order.

    Parameters
    ----------
    model : nn.Module
        Left as it was: hooks are removed and training flags restored, also after an error.
    images : Tensor (N, ...)
        Moved to the device and floating dtype of the model's parameters.
    callback : callable (name, output)
        `output` has the images along its first axis. It is None where a module puts out no
        tensor. Whatever the callback raises ends the pass.

    Raises
    ------
    ModelError
        If the forward pass fails, with the shape of the images and the first line of the cause.
    """
    owners = {name: m for name, m in model.named_modules() if _owned(m)}

    def hook_for(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, _: object, output: object) -> None:
            tensor = first_tensor(output)
            if (
                tensor is not None
                and tensor.dim() == 3
                and not getattr(module, "batch_first", True)
            ):
                tensor = tensor.transpose(0, 1)  # (steps, images, features)
            try:
                callback(name, tensor)
            except Exception as error:
                raise _CallbackFailed(error) from error

        return hook

    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        for name, module in owners.items():
            stack.callback(module.register_forward_hook(hook_for(name)).remove)
        try:
            model(as_input(model, images))
        except _CallbackFailed as failure:
            raise failure.error from None
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise ModelError(_reason(error, images)) from error


def trace(model: nn.Module, images: Tensor) -> Trace:
    """Run one image and tell the model's layers, in execution order, with their sizes.

    FLOPs are counted by `torch.utils.flop_counter`, which sees matrix products and
    convolutions only; a layer without any is charged one multiply-add for each element it puts
    out. What runs inside a layer that is a layer itself is not counted twice.

    Parameters
    ----------
    model : nn.Module
    images : Tensor (N, ...)
        The first image is used.

    Raises
    ------
    ModelError
        If the model cannot run, or no module with parameters gives a point for each image.
    """
    outputs: dict[str, tuple[int, ...] | None] = {}

    def note(name: str, output: Tensor | None) -> None:
        alone = output is not None and output.dim() > 1 and output.shape[0] == 1
        outputs.setdefault(name, None)
        outputs[name] = tuple(output.shape[1:]) if output is not None and alone else None

    fast_path = torch.backends.mha.get_fastpath_enabled()
    counter = FlopCounterMode(display=False)
    try:
        # The counter does not see into fused attention kernels.
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), counter:
            watch(model, images[:1], note)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)

    ran = list(outputs)
    modules = dict(model.named_modules())
    if "" in ran and len(ran) > 1:
        ran.remove("")  # a class token, say: the model as a whole is no layer of itself
    layers = [name for name in ran if outputs[name]]
    if not layers:
        raise ModelError(
            "The model has no layer to analyse: no module with parameters ran and gave one "
            "output for each image."
        )
    silent = [name for name, m in modules.items() if name and _owned(m) and name not in outputs]
    adopted = {name: _enclosing(name, ran) for name in silent}
    parameters = {name: _size(modules[name]) for name in layers}
    for name, owner in adopted.items():
        if owner in parameters:
            parameters[owner] += _size(modules[name])
    flops = _own_flops(counter, type(model).__name__, layers)
    return Trace(
        layers=tuple(
            LayerInfo(
                name=name,
                kind=type(modules[name]).__name__,
                shape=(shape := outputs[name] or ()),
                parameters=parameters[name],
                flops=max(flops[name], 2 * torch.Size(shape).numel()),
            )
            for name in layers
        ),
        never_run=tuple(name for name in silent if adopted[name] is None),
        outside=tuple(name for name in ran if not outputs[name]),
    )


class _CallbackFailed(BaseException):
    """Carries a callback's own error past models that catch `Exception` in forward."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _owned(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in _owned(module))


def _enclosing(name: str, ran: list[str]) -> str | None:
    """The innermost layer around a module that never ran.

    Attention modules call their projections functionally: `MultiheadAttention.out_proj` never
    runs, its parameters belong to the attention.
    """
    while "." in name:
        name = name.rpartition(".")[0]
        if name in ran:
            return name
    return None


def _own_flops(counter: FlopCounterMode, root: str, layers: list[str]) -> dict[str, int]:
    counts = counter.get_flop_counts()
    total = {
        name: sum(counts.get(f"{root}.{name}" if name else root, {}).values()) for name in layers
    }
    own = dict(total)
    for name in layers:
        owner = _enclosing(name, layers)
        if owner is not None:
            own[owner] -= total[name]
    return own


def as_input(model: nn.Module, images: Tensor) -> Tensor:
    """The images on the device and in the floating dtype of the model's parameters."""
    parameter = next(model.parameters(), None)
    if parameter is None:
        return images
    images = images.to(parameter.device, parameter.dtype)
    # Convolutions run faster on it, and it costs one copy of the input only.
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


def _reason(error: Exception, images: Tensor) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        return (
            f"There is not enough memory for {len(images)} images of shape "
            f"{tuple(images.shape[1:])} in one pass: use fewer samples or a smaller model."
        )
    return f"The model could not run on images of shape {tuple(images.shape[1:])}: {lines[0]}"
