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
from analysis.options import batch_sizes
from analysis.training.freezing import freeze, parameters_of
from analysis.training.loop import logits_of
from analysis.training.network_errors import explain_network_errors


def gradient_evidence(
    model: nn.Module, images: Tensor, labels: Tensor, layers: Sequence[str], *, batch_size: int = 8
) -> pd.DataFrame:
    """Fisher information and relative gradient norm of each layer.

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

    Returns
    -------
    DataFrame
        Indexed by layer. `fisher`: the mean over images and activations of (activation ×
        gradient)² / 2 (Theis et al. 2018, eq. 7, as in AdaBet's released code). `relative`: the
        norm of the gradient of the layer's parameters over the norm of the parameters (adapted
        from Auto-RGN, Lee et al. 2023). Missing (NaN) for layers that no gradient reaches.
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
    relative = {name: _relative_norm(model, name, layers) for name in layers}
    model.zero_grad(set_to_none=True)
    seen = {"fisher": pd.Series(fisher, dtype=float), "relative": pd.Series(relative)}
    return pd.DataFrame(seen).reindex(list(layers))


def _relative_norm(model: nn.Module, layer: str, known: Sequence[str]) -> float:
    named = dict(model.named_parameters(remove_duplicate=False))  # tied ones in each layer
    own = [named[name] for name in parameters_of(model, [layer], known=known)]
    own = [parameter for parameter in own if parameter.grad is not None]
    if not own:
        return float("nan")
    gradients = [p.grad for p in own if p.grad is not None]
    norm = torch.linalg.vector_norm
    size = torch.stack([norm(p) for p in own]).norm().item()
    change = torch.stack([norm(g) for g in gradients]).norm().item()
    return change / size if size else float("inf")
