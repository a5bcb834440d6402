"""Weights per layer: the evidence of the strategies that look at them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from analysis.results import Float64
from analysis.selection.criteria import signal_to_noise, stable_rank
from analysis.training.freezing import parameters_of


def weight_evidence(model: nn.Module, layers: Sequence[str]) -> pd.DataFrame:
    """Stable rank and signal-to-noise ratio of each layer's weights.

    Parameters
    ----------
    model : nn.Module
    layers : sequence of str
        Qualified names of the layers.

    Returns
    -------
    DataFrame
        Indexed by layer. `stable_rank` and `snr`: see `selection.criteria`; means over the layer's
        own tensors of two or more dimensions, each as (out, all others). A layer that has vectors
        only has the stable rank 1 and no `snr` (NaN). Both are NaN if weights are not finite.
    """
    named = dict(model.named_parameters(remove_duplicate=False))  # tied ones in each layer
    rows = {
        name: _row([named[own].detach() for own in parameters_of(model, [name], known=layers)])
        for name in layers
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["stable_rank", "snr"], dtype=float)


def _row(tensors: Sequence[Tensor]) -> tuple[float, float]:
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        return float("nan"), float("nan")
    matrices = [tensor.flatten(1) for tensor in tensors if tensor.ndim > 1 and tensor.numel()]
    if not matrices:
        return (1.0 if tensors else float("nan")), float("nan")
    values = [_singular_values(matrix) for matrix in matrices]
    ratios = [
        signal_to_noise(own, (matrix.shape[0], matrix.shape[1]))
        for own, matrix in zip(values, matrices, strict=True)
    ]
    known = [ratio for ratio in ratios if not np.isnan(ratio)]
    return (
        float(np.mean([stable_rank(own) for own in values])),
        float(np.mean(known)) if known else float("nan"),
    )


def _singular_values(matrix: Tensor) -> Float64:
    """By the smaller Gram matrix, which is far faster than a decomposition of a long matrix."""
    matrix = matrix.cpu().to(torch.complex128 if matrix.is_complex() else torch.float64)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.mH
    squares: Float64 = torch.linalg.eigvalsh(tall.mH @ tall).clamp(min=0).numpy()
    return np.sqrt(squares)
