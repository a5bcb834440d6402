"""Gradients per layer: the evidence of the gradient-based strategies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from analysis.instruments.ledger import note_kept_tensors
from analysis.instruments.outputs import first_tensor
from analysis.options import LEARNING_RATES, Recipe, batch_sizes
from analysis.training.freezing import freeze, parameters_of
from analysis.training.loop import logits_of
from analysis.training.network_errors import explain_network_errors
from analysis.training.optimizers import optimizer_name

_ADAM_EPS = 1e-8  # torch's default


def gradient_evidence(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    layers: Sequence[str],
    *,
    batch_size: int = 8,
    recipe: Recipe | None = None,
) -> pd.DataFrame:
    """Fisher information and relative gradient norm of each layer, and what a step would gain.

    Parameters
    ----------
    model : nn.Module
        Run in eval mode, on its own device. Clears its gradients; changes `requires_grad`.
    images : Tensor (N, C, H, W)
    labels : Tensor (N,) of int64
    layers : sequence of str
        Qualified names of the layers.
    batch_size : int
        Images per backward pass. It changes the memory, not the numbers.
    recipe : Recipe, optional
        Of the step.

    Returns
    -------
    DataFrame
        Indexed by layer. `fisher`: the mean over images and activations of (activation ×
        gradient)² / 2 (Theis et al. 2018, eq. 7, as in AdaBet's released code). `relative`: the
        norm of the gradient of the layer's parameters over the norm of the parameters (adapted
        from Auto-RGN, Lee et al. 2023). With a recipe, `step`: by how much its optimiser's first
        step on all images, Δw, lowers the loss through this layer, −g · Δw in nats (the importance
        of ElasticTrainer, Huang et al. 2023). Missing (NaN) for layers that no gradient reaches.
    """
    model.eval()
    freeze(model, {name for name, _ in model.named_parameters()})
    model.zero_grad(set_to_none=True)
    fisher: dict[str, float] = {}
    modules = dict(model.named_modules())
    images, labels = (t.to(next(model.parameters()).device) for t in (images, labels))

    def add(name: str, activation: Tensor, gradient: Tensor) -> None:
        if activation.is_complex():  # two coordinates each
            activation = torch.view_as_real(activation.resolve_conj())
            gradient = torch.view_as_real(gradient.resolve_conj())
        information = (activation * gradient).square().mean() / 2
        fisher[name] = fisher.get(name, 0.0) + information.item() * len(batch) / len(images)

    def watch(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        tensor = first_tensor(output)
        if tensor is not None and tensor.requires_grad:
            # A copy: later operations may be in place.
            tensor.register_hook(  # type: ignore[no-untyped-call]
                partial(add, name, tensor.detach().clone())
            )

    with ExitStack() as stack:
        for name in layers:
            hook = modules[name].register_forward_hook(partial(watch, name))
            stack.callback(hook.remove)
        sizes = batch_sizes(len(images), batch_size)
        for batch, classes in zip(
            torch.split(images, sizes), torch.split(labels, sizes), strict=True
        ):
            # The sum, so that an image's gradient does not depend on the rest of its batch.
            with explain_network_errors():
                loss = cross_entropy(logits_of(model, batch), classes, reduction="sum")
                note_kept_tensors(loss)
                loss.backward()  # type: ignore[no-untyped-call]
    reached = {name: _with_gradients(model, name, layers) for name in layers}
    relative = {name: _relative_norm(own) for name, own in reached.items()}
    seen = {"fisher": pd.Series(fisher, dtype=float), "relative": pd.Series(relative)}
    if recipe is not None:
        name, count = optimizer_name(model, recipe), len(images)
        gains = {n: _step_gain(own, count, name, recipe) for n, own in reached.items()}
        seen["step"] = pd.Series(gains, dtype=float)
    model.zero_grad(set_to_none=True)
    return pd.DataFrame(seen).reindex(list(layers))


def _with_gradients(model: nn.Module, layer: str, known: Sequence[str]) -> list[Tensor]:
    named = dict(model.named_parameters(remove_duplicate=False))  # tied ones in each layer
    own = [named[name] for name in parameters_of(model, [layer], known=known)]
    return [parameter for parameter in own if parameter.grad is not None]


def _relative_norm(own: Sequence[Tensor]) -> float:
    if not own:
        return float("nan")
    gradients = [p.grad for p in own if p.grad is not None]
    norm = torch.linalg.vector_norm
    size = torch.stack([norm(p) for p in own]).norm().item()
    change = torch.stack([norm(g) for g in gradients]).norm().item()
    return change / size if size else float("inf")


def _step_gain(own: Sequence[Tensor], images: int, optimizer: str, recipe: Recipe) -> float:
    """In closed form, as a step itself would round away what is small beside the weights."""
    if not own:
        return float("nan")
    gain = 0.0
    for parameter in own:
        assert parameter.grad is not None, "only parameters with a gradient are given"
        weight, gradient = (
            (torch.view_as_real(t) if t.is_complex() else t).detach().cpu().double()
            for t in (parameter, parameter.grad)
        )
        gradient = gradient / images  # of the mean loss, as in training
        # The first step of AdamW divides each gradient by its own size.
        step = gradient if optimizer == "sgd" else gradient / (gradient.abs() + _ADAM_EPS)
        if parameter.dim() > 1:  # see `make_optimizer`
            step = step + recipe.weight_decay * weight
        gain += (gradient * step).sum().item()
    return (recipe.learning_rate or LEARNING_RATES[optimizer]) * gain
