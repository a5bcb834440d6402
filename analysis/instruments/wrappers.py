"""Networks inside wrappers, and networks whose parameters have no values yet."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from analysis.errors import ModelError
from analysis.text import first_of

# torch's wrappers by class, with the attribute of the network. Their names go before every other.
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",  # of torch.compile
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside torch's wrappers, such as `torch.compile` and `DataParallel`."""
    kind = type(model)
    inner = getattr(model, _WRAPPERS.get(kind.__name__, ""), None)
    if kind.__module__.startswith("torch.") and isinstance(inner, nn.Module):
        return unwrapped(inner)
    return model


def remove_wrappers(model: nn.Module) -> nn.Module:
    """The network without wrappers, inside it as well: it is changed."""
    model = unwrapped(model)
    for module in model.modules():
        module._compiled_call_impl = None  # of `module.compile()`
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = unwrapped(child)
    return model


def lazy_layers(model: nn.Module) -> list[str]:
    """The layers that wait for a first pass to learn their input's size."""
    return [
        name
        for name, module in model.named_modules()
        if any(map(is_lazy, chain(module._parameters.values(), module._buffers.values())))
    ]


def check_network(model: nn.Module) -> None:
    """Raise `ModelError` if hooks cannot see the layers, or parameters have no values."""
    scripted = [name for name, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        what = "The network" if not scripted[0] else f"A part of the network, {scripted[0]},"
        raise ModelError(
            f"{what} was compiled by torch.jit, so its layers cannot be watched. Use the module "
            "that torch.jit.script or torch.jit.trace was given."
        )
    check_modes(model)
    if names := [name for name, parameter in model.named_parameters() if parameter.is_meta]:
        raise ModelError(
            "The network is on the meta device, so its parameters have no values: "
            f"{first_of(names[:3])}. Build it on the CPU, or load its weights with assign=True."
        )


def check_modes(model: nn.Module) -> None:
    """Raise `ModelError` if a model cannot be put into eval mode."""
    if getattr(model.eval, "__name__", "eval") != "eval":  # replaced by one that raises
        raise ModelError(
            "The network was exported by torch.export, so it has no layers to watch. Use the "
            "module that torch.export was given."
        )
