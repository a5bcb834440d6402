"""The layers of a model, in the order in which they run, and their outputs.

A layer is a module that has parameters of its own, also in an `nn.ParameterList`. Its cloud is its
output: the first tensor of a tuple or list, or of a dict's values, of floating-point numbers if
there is one (others are masks or indices). Complex numbers count as two coordinates. A module that
is called several times contributes its last call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrize import is_parametrized

from analysis.errors import ModelError
from analysis.instruments.chance import random_states
from analysis.instruments.dispatch import FlopMode
from analysis.instruments.layout import layout_of
from analysis.instruments.output_flow import Head, OutputFlow
from analysis.instruments.outputs import first_tensor
from analysis.instruments.pass_errors import pass_error

Callback = Callable[[str, Tensor | None], None]  # with the name of a layer and its output

_PARAMETER_LISTS = (nn.ParameterList, nn.ParameterDict)  # never run


@dataclass(frozen=True)
class LayerInfo:
    name: str
    kind: str
    shape: tuple[int, ...]  # of one image's output
    parameters: int  # elements
    flops: int  # of one image


@dataclass(frozen=True)
class Trace:
    """What a forward pass shows of a model."""

    layers: tuple[LayerInfo, ...]  # in execution order
    never_run: tuple[str, ...]
    outside: tuple[str, ...]  # ran, but the output is not one point per image
    head: Head
    draws: bool = False  # random numbers, in evaluation mode
    moving: tuple[str, ...] = ()  # buffers that it changes, where they are put back

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]


def ignore(_name: str, _output: Tensor | None) -> None:
    """The callback of a pass of which nothing is kept."""


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, without gradients; then restore every module's own flag."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        # Not inference_mode: no training could use a tensor that the model cached in it.
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for module, training in flags:
            module.training = training


def _cloud(output: object) -> Tensor | None:
    """A layer's output as real numbers; None if it has no tensor with one shape for all images."""
    tensor = first_tensor(output)
    if tensor is None or tensor.is_nested or is_functorch_wrapped_tensor(tensor):
        return None  # `torch.func.vmap` shows its module one image of many
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def watch(model: nn.Module, images: Tensor, callback: Callback) -> None:
    """Run the model once and hand each layer's output to `callback`, in execution order.

    Parameters
    ----------
    model : nn.Module
        Left as it was, even after an error: hooks are removed and training flags restored.
    images : Tensor (N, ...)
        Moved to the device and floating dtype of the model's parameters.
    callback : callable (name, output)
        `output` has the images along its first axis. It is None if a module returns no tensor.
        An error that the callback raises ends the pass and is passed on.

    Raises
    ------
    ModelError
        If the forward pass fails, with the shape of the images and the first line of the cause.
    """
    modules = parameter_owners(model)
    inputs = as_input(model, images)

    def hook_for(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, _: object, output: object) -> None:
            tensor = _cloud(output)
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
        stack.enter_context(eval_mode(model))
        if "torch._dynamo" in sys.modules:  # a compiled function does not notice hooks
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(hook_for(name)).remove)
        try:
            model(inputs)
        except _CallbackFailed as failure:
            raise failure.error from None
        except (Exception, SystemExit) as error:  # a model's own code may raise anything
            raise ModelError(pass_error(error, images, model)) from error


def trace(
    model: nn.Module, images: Tensor, *, head: str = "", callback: Callback = ignore
) -> Trace:
    """Run two images and return the model's layers, in execution order, with their sizes.

    `torch.utils.flop_counter` counts the FLOPs of matrix products, convolutions and attention,
    but not those of the fused kernels of recurrent layers. A layer for which it counts nothing is
    charged one multiply-add for each element of its output. A layer inside another is counted
    once, as its own; a layer that is called several times is charged for each call.

    Parameters
    ----------
    model : nn.Module
    images : Tensor (N, ...)
        The first two are used: with only one, models that squeeze lose an axis.
    head : str
        As for `AnalysisOptions`: "" finds it.
    callback : callable (name, output)
        As for `watch`.

    Raises
    ------
    ModelError
        If the model cannot run, or no module with parameters returns one point per image.
    OptionError
        If `head` is none of the model's layers.
    """
    probe = images[:2]
    shapes: dict[str, tuple[int, ...]] = {}  # without the images' axis; () if there is none

    def note(name: str, output: Tensor | None) -> None:
        per_image = output is not None and output.dim() > 1 and len(output) == len(probe)
        callback(name, output)
        shapes.setdefault(name, ())
        shapes[name] = tuple(output.shape[1:]) if output is not None and per_image else ()

    flow = OutputFlow(model)

    def run() -> None:
        with flow:
            watch(model, probe, note)

    before = random_states()
    flops = _count_flops(model, run)
    draws = random_states() != before
    if "" in shapes and len(shapes) > 1:
        del shapes[""]  # it has a class token, say: the whole model is not a layer of itself
    layers = [name for name, shape in shapes.items() if shape]
    if not layers and any(".quantized" in type(m).__module__ for m in model.modules()):
        raise ModelError(
            "The network is quantised: its layers hold packed weights, which can neither be "
            "compared nor train. Use the network from before it was quantised."
        )
    if not layers:
        raise ModelError(
            "The model has no layer to analyse: no module with parameters ran and returned one "
            "output for each image."
        )
    modules = dict(model.named_modules())
    parameters = {name: sum(map(Tensor.numel, own_parameters(modules[name]))) for name in layers}
    never_run = []
    for name in parameter_owners(model):
        if not name or name in shapes:
            continue
        parent = name.rpartition(".")[0]
        if parent in parameters and "Attention" in type(modules[parent]).__name__:
            # Attention calls its projections functionally: they never run as modules.
            parameters[parent] += sum(map(Tensor.numel, own_parameters(modules[name])))
        else:
            never_run.append(name)
    return Trace(
        layers=tuple(
            LayerInfo(
                name=name,
                kind=_kind(modules[name]),
                shape=shapes[name],
                parameters=parameters[name],
                flops=max(flops.get(name, 0) // len(probe), 2 * torch.Size(shapes[name]).numel()),
            )
            for name in layers
        ),
        never_run=tuple(never_run),
        outside=tuple(name for name, shape in shapes.items() if not shape),
        head=flow.head(head),
        draws=draws,
    )


class _CallbackFailed(BaseException):
    """Carries a callback's own error past models that catch `Exception` in forward."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def parameter_owners(model: nn.Module) -> dict[str, nn.Module]:
    """Modules with parameters of their own, by name.

    Parametrisations and lists of parameters are part of the module that they are in.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if own_parameters(module)
        and not isinstance(module, _PARAMETER_LISTS)
        and "parametrizations" not in name.split(".")
    }


def own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """A module's own parameters, including those of its parametrisations and its lists."""
    own = list(module.parameters(recurse=False))
    for child in module.children():
        if isinstance(child, _PARAMETER_LISTS):
            own += own_parameters(child)
    if is_parametrized(module):
        own += module.parametrizations.parameters()  # type: ignore[union-attr]
    return own


def _kind(module: nn.Module) -> str:
    """The class name; a parametrised module has a generated class of its own."""
    kind = type(module)
    return (kind.__bases__[0] if is_parametrized(module) else kind).__name__


def _count_flops(model: nn.Module, run: Callable[[], None]) -> dict[str, int]:
    """FLOPs of each parameter owner, less those of the owners inside it."""
    counter = FlopMode()
    own: dict[str, int] = {}
    running: list[list[int]] = []  # for each running module: FLOPs before it, FLOPs inside it

    def enter(*_: object) -> None:
        running.append([counter.flops, 0])

    def leave(name: str) -> None:
        before, inside = running.pop()
        whole = counter.flops - before
        own[name] = own.get(name, 0) + whole - inside
        if running:
            running[-1][1] += whole

    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        for name, module in parameter_owners(model).items():
            stack.callback(module.register_forward_pre_hook(enter).remove)
            hook = partial(lambda name, *_: leave(name), name)
            stack.callback(module.register_forward_hook(hook).remove)
        # The counter does not see into fused attention kernels.
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH), counter:
            run()
    return own


def as_input(model: nn.Module, images: Tensor) -> Tensor:
    """A copy of the images for a pass: the model's device, floating dtype, and `layout_of`."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is not None:
        images = images.to(parameter.device, parameter.dtype)
    layout = layout_of(model) if images.dim() == 4 else torch.contiguous_format
    # A copy, because some networks alter their input in place.
    return images.clone(memory_format=layout)
