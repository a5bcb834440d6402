"""Which parameters train and which are frozen, including running statistics."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from analysis.instruments.wrappers import unwrapped
from analysis.options import Scope

if TYPE_CHECKING:
    from torch import nn


def trained_names(
    model: nn.Module, scope: Scope, layers: Collection[str], *, known: Collection[str]
) -> set[str]:
    """Names of the parameters that train.

    Parameters
    ----------
    model : nn.Module
    scope : {"layers", "head", "norms-and-biases", "everything"}
        The parameters of `layers`; for "norms-and-biases" every norm and bias as well.
    layers, known : collection of str
        As for `parameters_of`.
    """
    model = unwrapped(model)
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if scope == "everything":
        return set(every)
    trained = set(parameters_of(model, layers, known=known))
    if scope == "norms-and-biases":
        modules = model.named_modules(remove_duplicate=False)
        kinds = {name: type(module).__name__ for name, module in modules}
        trained |= {n for n in every if n.endswith("bias") or "Norm" in kinds[owner_of(n)]}
    return trained


def parameters_of(
    model: nn.Module, layers: Collection[str], *, known: Collection[str] | None = None
) -> list[str]:
    """Names of the parameters that belong to layers.

    Parameters
    ----------
    model : nn.Module
    layers : collection of str
        Qualified module names. An attention layer also owns its inner projections, which it
        calls functionally and which never run as modules.
    known : collection of str, optional
        All layers of the model; `layers` by default.

    Returns
    -------
    list of str
        In the order of `model.named_parameters(remove_duplicate=False)`.
    """
    model = unwrapped(model)
    known = layers if known is None else known
    modules = dict(model.named_modules())

    def layer_of(parameter: str) -> str | None:
        owner = owner_of(parameter)
        while type(modules.get(owner)).__name__ in ("ParameterList", "ParameterDict"):
            owner = owner.rpartition(".")[0]  # lists never run: they are part of their module
        if owner in known:
            return owner
        parent = owner.rpartition(".")[0]
        adopts = parent in known and "Attention" in type(modules[parent]).__name__
        return parent if adopts else None

    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    return [name for name in names if layer_of(name) in layers]


def owner_of(parameter: str) -> str:
    """The module that owns a parameter; a parametrisation is part of its module."""
    module = parameter.rpartition(".")[0]
    if "parametrizations" in module.split("."):
        return module.partition("parametrizations")[0].removesuffix(".")
    return module


def freeze(model: nn.Module, trained: Collection[str]) -> None:
    """Let the named parameters train, and no others.

    Parameters
    ----------
    model : nn.Module
    trained : collection of str
        Parameter names. A parameter with several names trains if any of them is here.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for name, parameter in unwrapped(model).named_parameters(remove_duplicate=False):
        if name in trained:
            parameter.requires_grad_(True)


def training_mode(model: nn.Module) -> None:
    """Put the model into training mode, but frozen norms into eval mode.

    In training mode a module changes its buffers, such as running statistics. It may do so only
    if one of its own parameters trains, or the whole model does.
    """
    everything = all(parameter.requires_grad for parameter in model.parameters())
    named = model.named_parameters(remove_duplicate=False)
    training = {owner_of(name) for name, parameter in named if parameter.requires_grad}
    model.train()
    for name, module in model.named_modules():
        has_buffers = next(module.buffers(recurse=False), None) is not None
        # The vectors of a spectral norm are buffers of its layer.
        if has_buffers and not everything and owner_of(f"{name}.") not in training:
            module.training = False  # not `train(False)`, which reaches the modules inside


def trained_elements(model: nn.Module) -> tuple[int, int]:
    """Elements that train, and all elements; a shared parameter counts once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)
