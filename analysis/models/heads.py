"""The head of a network: found, replaced for other classes, or put behind it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.instruments.activations import watch
from analysis.instruments.output_flow import Head, OutputFlow
from analysis.instruments.outputs import first_tensor
from analysis.models.names import ADDED_HEAD


def head_of_network(model: nn.Module, shape: tuple[int, ...], chosen: str = "") -> Head:
    """The layer that gives a model's output for images of a shape (C, H, W).

    Parameters
    ----------
    model : nn.Module
    shape : tuple of int
    chosen : str
        As for `AnalysisOptions.head`.

    Raises
    ------
    ModelError
        If the model cannot run on such images.
    OptionError
        If the model has no such layer.
    """
    flow = OutputFlow(model)
    with flow:
        watch(model, torch.zeros(2, *shape), lambda *_: None)
    return flow.head(chosen)


def give_classes(model: nn.Module, head: Head, num_classes: int) -> None:
    """Give the model a new, randomly initialised head; behind it, if it has none.

    Raises
    ------
    ModelError
        If it is not clear which layer is the head, or it cannot be replaced.
    """
    if head.name:
        replace_head(model, head.name, num_classes)
    elif head.features:
        device = next((parameter.device for parameter in model.parameters()), None)
        model.add_module(ADDED_HEAD, NewClassifier(head.features, num_classes, device=device))
        model.register_forward_pre_hook(_hide_head)
        model.register_forward_hook(_show_head, always_call=True)
        model.register_forward_hook(_classify)
    else:
        raise ModelError(head.reason)


class NewClassifier(nn.Linear):
    """A linear layer for a network's output, averaged over places."""

    def forward(self, output: Tensor) -> Tensor:
        features = first_tensor(output)
        assert features is not None, "there was one when the head was added"
        if features.dim() == 3:  # (images, places, features)
            features = features.mean(1)
        elif features.dim() > 3:  # (images, features, height, width)
            features = features.flatten(2).mean(2)
        return super().forward(features)


def _hide_head(model: nn.Module, _: object) -> None:
    """Some networks run whatever modules they have, such as `nn.Sequential`."""
    model.__dict__["_hidden_head"] = model._modules.pop(ADDED_HEAD)


def _show_head(model: nn.Module, *_: object) -> None:
    model._modules[ADDED_HEAD] = model.__dict__.pop("_hidden_head")


def _classify(model: nn.Module, _: object, output: Tensor) -> Tensor:
    logits: Tensor = model.get_submodule(ADDED_HEAD)(output)
    return logits


def replace_head(model: nn.Module, head: str, num_classes: int) -> None:
    """Replace a linear or convolution layer by a new, randomly initialised one.

    Raises
    ------
    ModelError
        If the layer is of another kind.
    """
    old = model.get_submodule(head) if head else model
    bias = getattr(old, "bias", None) is not None
    device = next((parameter.device for parameter in old.parameters()), None)
    new: nn.Module
    if isinstance(old, nn.Linear):
        kind = NewClassifier if isinstance(old, NewClassifier) else nn.Linear
        new = kind(old.in_features, num_classes, bias=bias, device=device)
    elif isinstance(old, nn.Conv2d) and old.groups == 1:
        new = nn.Conv2d(
            old.in_channels,
            num_classes,
            old.kernel_size,  # type: ignore[arg-type]
            old.stride,  # type: ignore[arg-type]
            old.padding,  # type: ignore[arg-type]
            bias=bias,
            device=device,
        )
    else:
        raise ModelError(
            "The model's last layer must be linear or a convolution, so that it can be replaced "
            f"for other classes; {head or 'it'} is a {type(old).__name__}."
        )
    model.set_submodule(head, new)
