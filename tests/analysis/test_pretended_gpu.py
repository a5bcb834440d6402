"""The engine on CUDA and MPS, as far as a machine without them can show.

Run as a program, it checks; torch cannot be prepared for that in the tests' own process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from analysis.instruments.activations import trace
from analysis.models import load_model
from analysis.options import Recipe
from analysis.system.devices import device_of
from analysis.topology.distances import pairwise_distances
from analysis.topology.layer_distances import measure_layer_distances
from analysis.topology.passes import Plan
from analysis.training.augmentation import AUGMENT
from analysis.training.gradients import gradient_evidence
from analysis.training.loop import finetune
from analysis.training.metrics import StepMetrics
from analysis.training.splits import TensorImages
from tests.analysis.pretended_gpu import Elsewhere, moved, pretended, register

MODEL = "pocket-mobilenetv2"


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def distances(device: str) -> None:
    base = images(24).flatten(1)[:, :700]
    near = base.clone()
    near[3], near[5] = near[2] + 1e-3, near[4] + 1e-3  # these are refined
    for name, cloud in {
        "plain": base, "near pairs": near, "all near": 1e3 + 1e-4 * base, "half": base.bfloat16(),
    }.items():  # fmt: skip
        expected = pairwise_distances(cloud)
        with pretended(device):
            distances = pairwise_distances(Elsewhere(cloud, torch.device(device)))
        # MPS has float32 only, so that differences of points far out lose digits.
        np.testing.assert_allclose(distances, expected, rtol=1e-4, err_msg=name)


def clouds(device: str) -> None:
    def measured(model: nn.Module) -> dict[str, Any]:
        names = trace(model, images(12)).names
        plan = Plan(12, blocks=3)
        clouds = measure_layer_distances(
            model, images(12), names, plan=plan, on_layer=lambda *_: None
        )
        return {name: clouds.distances[name] for name in names}

    expected = measured(load_model(MODEL))
    model = moved(load_model(MODEL), device)
    assert device_of(model).type == device
    with pretended(device), torch.no_grad():
        matrices = measured(model)
    assert matrices.keys() == expected.keys()
    for name, matrix in expected.items():
        np.testing.assert_allclose(matrices[name], matrix, rtol=1e-3, atol=1e-4, err_msg=name)


def training(device: str) -> None:
    data = TensorImages(images(20), torch.arange(20) % 10)
    recipe = Recipe(epochs=2, batch_size=8, augmentation="flip-crop")

    def numbers(model: nn.Module) -> list[float]:
        layers = [name for name, module in model.named_modules() if module._parameters]
        evidence = gradient_evidence(model, data.tensor[:8], data.labels[:8], layers)
        metrics = finetune(model, data, data, data, recipe=recipe)
        losses = [metric.loss for metric in metrics if isinstance(metric, StepMetrics)]
        return [*evidence["relative"].dropna(), *losses]

    with pretended(device):  # images that are there already
        away = Elsewhere(data.tensor, torch.device(device))
        assert AUGMENT["flip-crop"](away).device.type == device
    expected = numbers(load_model(MODEL, num_classes=10))
    model = moved(load_model(MODEL, num_classes=10), device)
    with pretended(device) as called:
        values = numbers(model)
    np.testing.assert_allclose(values, expected, rtol=1e-2, atol=1e-4)
    assert {"get_rng_state", "set_rng_state", "manual_seed"} <= called, "dropout has no seed"
    if device == "cuda":
        assert {"reset_peak_memory_stats", "max_memory_allocated"} <= called


CHECKS: list[tuple[Callable[[str], None], str]] = [
    (check, device) for check in (distances, clouds, training) for device in ("cuda", "mps")
]


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """Why each check failed; an empty reason if it did not."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.analysis.test_pretended_gpu"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    reasons: dict[str, str] = json.loads(ran.stdout)
    return reasons


@pytest.mark.parametrize(("check", "device"), CHECKS)
def test_the_engine_keeps_to_one_device(
    check: Callable[[str], None], device: str, answers: dict[str, str]
) -> None:
    assert answers[f"{check.__name__} {device}"] == ""


def main() -> None:
    warnings.simplefilter("ignore")
    register()
    reasons = {}
    for check, device in CHECKS:
        name = f"{check.__name__} {device}"
        try:
            check(device)
            reasons[name] = ""
        except Exception:
            reasons[name] = traceback.format_exc()
    json.dump(reasons, sys.stdout)


if __name__ == "__main__":
    main()
