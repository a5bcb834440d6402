"""Odd networks train the same whether or not memory is tracked, and are refused alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import dropout, linear
from torch.utils.checkpoint import checkpoint

from analysis.errors import AnalysisError
from analysis.options import Recipe
from analysis.training.freezing import freeze
from analysis.training.loop import finetune
from tests.factories import same_bits, state_of, two_classes


class Odd(nn.Module):
    """Three linear layers, between which a function does something odd."""

    def __init__(self, middle: Callable[[Odd, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.h = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.h(self.middle(self, self.a(x)))
        return result


def altered_after_it_was_kept(net: Odd, z: Tensor) -> Tensor:
    z = z.relu()
    y = net.b(z)
    z.zero_()
    return y


def view_altered_after_it_was_kept(net: Odd, z: Tensor) -> Tensor:
    z = z.sin()
    y = net.b(z)
    z[:, 0].mul_(2)
    return y


def own_result_altered(net: Odd, z: Tensor) -> Tensor:
    return net.b(z).exp().add_(1)


def in_place_and_allowed(net: Odd, z: Tensor) -> Tensor:
    return net.b(z).add_(z.detach()).relu_()


def views(net: Odd, z: Tensor) -> Tensor:
    y = net.b(z.t().contiguous().t())
    y.view(-1, 2, 3)[:, 0].mul_(2)
    return y.as_strided((len(y), 6), (6, 1))


def used_twice(net: Odd, z: Tensor) -> Tensor:
    return net.b(net.b(z).tanh())


def shared_parameter(net: Odd, z: Tensor) -> Tensor:
    return linear(net.b(z).tanh(), net.b.weight.t())


def checkpointed(net: Odd, z: Tensor) -> Tensor:
    y: Tensor = checkpoint(lambda t: dropout(net.b(t).tanh(), 0.3), z, use_reentrant=False)
    return y


def checkpointed_in_the_reentrant_way(net: Odd, z: Tensor) -> Tensor:
    y: Tensor = checkpoint(lambda t: dropout(net.b(t).tanh(), 0.3), z, use_reentrant=True)
    return y


def own_hooks(net: Odd, z: Tensor) -> Tensor:
    with saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
        return net.b(z).sigmoid()


class _Marked(torch.autograd.Function):
    """Reads an attribute of a parameter that it has kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradients[0] @ weight.t() * weight.factor, x.t() @ gradients[0]


def own_function(net: Odd, z: Tensor) -> Tensor:
    net.b.weight.factor = 3.0  # type: ignore[assignment]
    result: Tensor = _Marked.apply(z, net.b.weight)
    return result


def functional_gradient(net: Odd, z: Tensor) -> Tensor:
    with torch.no_grad():
        slope = torch.func.grad(lambda t: net.b(t).square().sum())(z.detach())
    return net.b(z) + slope


def second_derivative(net: Odd, z: Tensor) -> Tensor:
    with torch.enable_grad():
        z = z if z.requires_grad else z.requires_grad_()
        (slope,) = torch.autograd.grad(net.b(z).square().sum(), z, create_graph=True)
    return net.b(z) + slope


def part_of_a_freed_graph(net: Odd, z: Tensor) -> Tensor:
    y = net.b(z).tanh()
    torch.autograd.grad(y.sum(), net.b.weight)
    return y


def complex_numbers(net: Odd, z: Tensor) -> Tensor:
    return torch.fft.fft(net.b(z)).abs()


ODD = [
    altered_after_it_was_kept, view_altered_after_it_was_kept, own_result_altered,
    in_place_and_allowed, views, used_twice, shared_parameter, checkpointed,
    checkpointed_in_the_reentrant_way, own_hooks, own_function, functional_gradient,
    second_derivative, part_of_a_freed_graph, complex_numbers,
]  # fmt: skip
REFUSED = {altered_after_it_was_kept, view_altered_after_it_was_kept, own_result_altered,
           part_of_a_freed_graph}  # fmt: skip


def trained(middle: Callable[[Odd, Tensor], Tensor], *, track: bool) -> tuple[object, ...]:
    """How it ended, each loss, each gradient's bytes and the last state."""
    model = Odd(middle)
    freeze(model, ["b.weight", "b.bias", "h.weight", "h.bias"])
    gradients: list[bytes] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda g: gradients.append(g.numpy().tobytes()))
    losses, ending = [], ""
    splits = [two_classes(8, seed=seed) for seed in range(3)]
    try:
        for metric in finetune(
            model, *splits, recipe=Recipe(epochs=2, batch_size=4), track_memory=track
        ):
            losses.append(getattr(metric, "loss", None))
    except AnalysisError as error:
        ending = str(error)
    return ending, [loss for loss in losses if loss is not None], gradients, state_of(model)


@pytest.mark.parametrize("middle", ODD)
def test_tracking_changes_nothing(middle: Callable[[Odd, Tensor], Tensor]) -> None:
    tracked, plain = trained(middle, track=True), trained(middle, track=False)
    assert tracked[:3] == plain[:3]
    states: tuple[Any, Any] = tracked[3], plain[3]
    assert all(same_bits(states[0][name], states[1][name]) for name in states[1])
    refused = middle in REFUSED
    assert bool(plain[0]) == refused
    assert refused or len(plain[2]) >= 4, "nothing trained, so nothing was compared"  # type: ignore[arg-type]


def test_a_tensor_altered_after_it_was_kept_is_refused_in_one_sentence() -> None:
    sentence = trained(altered_after_it_was_kept, track=True)[0]
    assert sentence == (
        "The network alters a tensor in place that its backward pass still needs, so torch refuses "
        "to train it. Use an operation there that returns a new tensor."
    )
