"""What is measured of the weights, against numpy's decomposition of the tensors themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from analysis.selection.criteria import signal_to_noise
from analysis.training.weights import weight_evidence


def decomposed(weight: torch.Tensor) -> np.ndarray:
    matrix = weight.detach().numpy().astype(np.float64)
    return np.linalg.svd(matrix.reshape(len(matrix), -1), compute_uv=False)


def test_weights_are_matrices_of_outputs_by_all_others():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(64, 8))
    found = weight_evidence(model, ["0", "1", "3"])
    for name, sides in (("0", (16, 27)), ("3", (8, 64))):
        values = decomposed(model.get_parameter(f"{name}.weight"))
        expected = (values**2).sum() / values[0] ** 2
        assert found.loc[name, "stable_rank"] == pytest.approx(expected, rel=1e-6)
        assert found.loc[name, "snr"] == pytest.approx(signal_to_noise(values, sides), rel=1e-6)
    assert found.loc["1", "stable_rank"] == 1
    assert math.isnan(found.loc["1", "snr"])


def test_a_layer_with_several_matrices_has_their_mean():
    torch.manual_seed(1)
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(12, 3)})
    attention = model["attention"]
    values = [decomposed(w) for w in (attention.in_proj_weight, attention.out_proj.weight)]
    expected = np.mean([(own**2).sum() / own[0] ** 2 for own in values])
    found = weight_evidence(model, ["attention"])
    assert found.loc["attention", "stable_rank"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_have_no_values(value):
    model = nn.Sequential(nn.Linear(6, 6))
    nn.init.constant_(model[0].weight, value)
    assert weight_evidence(model, ["0"]).isna().all(axis=None)


def test_half_precision_and_complex_weights_are_measured():
    model = nn.ModuleDict({"brief": nn.Linear(6, 5, dtype=torch.bfloat16)})
    model["intricate"] = nn.Linear(6, 5, dtype=torch.complex64)
    found = weight_evidence(model, ["brief", "intricate"])
    values = np.linalg.svd(model["intricate"].weight.detach().numpy(), compute_uv=False)
    expected = (values**2).sum() / values[0] ** 2
    assert found.loc["intricate", "stable_rank"] == pytest.approx(expected, rel=1e-5)
    assert 1 <= found.loc["brief", "stable_rank"] <= 5
