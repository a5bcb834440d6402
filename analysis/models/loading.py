"""Build a network and give it its weights. Imported only when a model is loaded: it needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from analysis.models.pocket import POCKET_BUILDERS
from analysis.models.registry import ModelSpec, model_spec
from analysis.models.weights_files import damaged, pocket_state, torchvision_state
from analysis.torchvision_guard import torchvision


def build_model(spec: ModelSpec, weights: str, seed: int, num_classes: int | None) -> nn.Module:
    """What `analysis.models.load_model` gives, its arguments checked already."""
    with _seeded(seed):
        if weights == "random":
            model = _network(spec, num_classes or spec.classes)
        else:
            model = _pretrained(spec)
            if num_classes is not None:
                features = model.get_parameter(f"{spec.head}.weight").shape[1]
                model.set_submodule(spec.head, nn.Linear(features, num_classes))
    return model.eval()


def skeleton(name: str, num_classes: int) -> nn.Module:
    """A network by name with the shapes of its parameters and nothing in them ("meta" device)."""
    with torch.device("meta"):
        return _network(model_spec(name), num_classes)


def _network(spec: ModelSpec, num_classes: int) -> nn.Module:
    if spec.source == "pocket":
        return POCKET_BUILDERS[spec.name](num_classes=num_classes)
    model: nn.Module = torchvision.models.get_model(
        spec.name, weights=None, num_classes=num_classes
    )
    return model


def _pretrained(spec: ModelSpec) -> nn.Module:
    state = pocket_state(spec) if spec.source == "pocket" else torchvision_state(spec)
    # On the meta device nothing is drawn at random only to be overwritten: 4 s for VGG16.
    with torch.device("meta"):
        model = _network(spec, spec.classes)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise damaged(spec) from error
    return model


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # Weights are drawn on the CPU: only its generator is seeded, and restored.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
