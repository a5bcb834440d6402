"""The optimisers, and which one suits a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from analysis.errors import TrainingError
from analysis.options import LEARNING_RATES, Recipe


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The optimiser of the parameters that require gradients.

    Weight decay is decoupled from the gradients (Loshchilov and Hutter 2019), also for SGD, and
    leaves out norms and biases, and what has no gradient.

    Raises
    ------
    TrainingError
        If nothing trains.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise TrainingError("Nothing would train: every parameter is frozen. Raise ρ.")
    name = optimizer_name(model, recipe)
    rate = recipe.learning_rate or LEARNING_RATES[name]
    decayed: list[Tensor] = [p for p in trained if p.dim() > 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # `foreach`, the default on CUDA, makes AdamW take as much memory again as the parameters,
    # and the prediction with fake tensors never uses it.
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, foreach=False)
    for group in groups:
        group["weight_decay"] = 0.0  # torch's SGD would add it to the gradient
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum)
    if recipe.weight_decay and decayed:
        optimizer.register_step_pre_hook(_Decay(decayed, recipe.weight_decay))
    return optimizer


def optimizer_name(model: nn.Module, recipe: Recipe) -> str:
    """ "adamw" for a model with attention, else "sgd", unless the recipe names one."""
    if recipe.optimizer != "auto":
        return recipe.optimizer
    attention = any("Attention" in type(module).__name__ for module in model.modules())
    return "adamw" if attention else "sgd"


class _Decay:
    def __init__(self, parameters: list[Tensor], weight_decay: float) -> None:
        self._parameters, self._weight_decay = parameters, weight_decay

    def __call__(self, optimizer: Optimizer, *_: object) -> None:
        with torch.no_grad():
            shrink = 1 - optimizer.param_groups[0]["lr"] * self._weight_decay
            trained = [p for p in self._parameters if p.grad is not None]
            if trained:
                torch._foreach_mul_(trained, shrink)
