"""Members of torchvision's odder families are analysed, and train with a new head."""

from __future__ import annotations

import pytest
import torch

from analysis.datasets import load_dataset
from analysis.instruments.activations import trace
from analysis.models import MODELS, load_model, prepare_images
from analysis.topology.pipeline import analyze

SIDE = 64
# Layers as torchvision's own definitions count: modules with parameters that run.
ODD = {
    "squeezenet1_1": 26,  # 1 + 8 fires of 3 + the classifier
    "googlenet": 115,  # 57 convolutions, each with its batch norm, and the classifier
    "mnasnet0_5": 105,
    "shufflenet_v2_x0_5": 113,
    "regnet_y_400mf": 139,  # 2 + 16 blocks of 8 + 4 projections of 2 + the classifier
    "efficientnet_b0": 131,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_networks_are_analysed(name: str) -> None:
    images = load_dataset("digits", split="train").sample(4, seed=0).images
    model = load_model(name, weights="random", seed=0)
    prepared = prepare_images(name, images, weights="random", input_side=SIDE)
    assert prepared.shape == (4, 3, SIDE, SIDE)
    report = analyze(model, prepared)
    assert len(report.layers) == ODD[name]
    assert report.head == MODELS[name].head
    assert not report.not_finite
    assert not report.never_run
    assert not report.outside


@pytest.mark.parametrize("name", ODD)
def test_a_new_head_learns_in_training_mode(name: str) -> None:
    model = load_model(name, weights="random", seed=0, num_classes=3).train()
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    head = model.get_parameter(f"{MODELS[name].head}.weight")
    assert len(head) == 3
    logits = model(images)
    assert logits.shape == (2, 3)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    first = next(model.parameters())
    for parameter in (head, first):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0
    assert trace(model, images).head.name == MODELS[name].head
