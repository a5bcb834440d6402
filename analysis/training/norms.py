"""What reaches the norms of a network, against what reached them in its training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from analysis.options import batch_sizes
from analysis.results import Float64
from analysis.selection.criteria import normal_divergence
from analysis.system.devices import device_of
from analysis.topology.inputs import PreparedImages
from analysis.training.loop import logits_of
from analysis.training.network_errors import explain_network_errors


def norm_evidence(
    model: nn.Module,
    images: Tensor | PreparedImages,
    layers: Sequence[str],
    *,
    batch_size: int = 8,
) -> pd.DataFrame:
    """How far the inputs of each norm are from those of its training, by one forward pass.

    Parameters
    ----------
    model : nn.Module
        Run in eval mode, on its own device.
    images : Tensor or PreparedImages (N, C, H, W)
    layers : sequence of str
        Qualified names of the layers.
    batch_size : int
        Images per forward pass. It changes the memory, not the numbers.

    Returns
    -------
    DataFrame
        Indexed by layer. `input_shift`: the divergence of N(μ, σ²) of the inputs from that of the
        running statistics, in nats, mean over channels (after AdaShadow, arXiv 2410.08256). The
        norm's own epsilon is part of both variances. Missing (NaN) for other layers, and for norms
        whose statistics never saw an image.
    """
    model.eval()
    modules = dict(model.named_modules())
    norms = {name: module for name in layers if _has_statistics(module := modules[name])}
    seen: dict[str, _Statistics] = {}

    def watch(name: str, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[name] = _merged(seen.get(name), inputs[0])

    with ExitStack() as stack:
        for name, module in norms.items():
            hook = module.register_forward_pre_hook(partial(watch, name))
            stack.callback(hook.remove)
        stack.enter_context(torch.no_grad())
        done = 0
        for size in batch_sizes(len(images), batch_size) if norms else ():
            batch = images[done : done + size].to(device_of(model))
            with explain_network_errors():
                logits_of(model, batch)
            done += size
    shifts = {name: _shift(norms[name], found) for name, found in seen.items()}
    return pd.DataFrame({"input_shift": pd.Series(shifts, dtype=float)}).reindex(list(layers))


_Statistics = tuple[int, Float64, Float64]  # values per channel; mean and variance of each channel


def _has_statistics(module: nn.Module) -> bool:
    """Whether a norm has running statistics that are no longer those it began with."""
    if not isinstance(module, _NormBase) or module.running_mean is None:
        return False
    assert module.running_var is not None, "a norm that keeps means keeps variances"
    return bool((module.running_mean != 0).any() or (module.running_var != 1).any())


def _merged(known: _Statistics | None, tensor: Tensor) -> _Statistics:
    """The statistics of these values, of shape (images, channels, …), and those before them.

    Means and variances are merged, as sums of squares would lose digits (Chan et al. 1983).
    """
    others = [axis for axis in range(tensor.ndim) if axis != 1]
    variance, mean = torch.var_mean(tensor.float(), others, correction=0)
    count = tensor.numel() // max(1, tensor.shape[1])
    means, variances = (t.cpu().numpy().astype(np.float64) for t in (mean, variance))
    if known is None:
        return count, means, variances
    before, known_means, known_variances = known
    share = count / (before + count)
    apart = means - known_means
    return (
        before + count,
        known_means + share * apart,
        known_variances + share * (variances - known_variances + (1 - share) * apart**2),
    )


def _shift(norm: nn.Module, found: _Statistics) -> float:
    assert isinstance(norm, _NormBase)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    known_means, known_variances = (
        t.cpu().numpy().astype(np.float64) for t in (norm.running_mean, norm.running_var)
    )
    _, means, variances = found
    return normal_divergence(means, variances + norm.eps, known_means, known_variances + norm.eps)
