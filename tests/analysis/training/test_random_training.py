"""Random small networks with odd modules: they train as a plain PyTorch loop trains them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from analysis.errors import ModelError
from analysis.options import Recipe
from analysis.training.freezing import freeze
from analysis.training.loop import finetune
from analysis.training.metrics import StepMetrics
from analysis.training.prediction import predict_peak
from analysis.training.splits import TensorImages
from tests.factories import hooks_left, same_bits, state_of

WIDTH, COUNT = 6, 8
GENERATOR = torch.Generator().manual_seed(0)
IMAGES, LABELS = torch.randn(COUNT, WIDTH, generator=GENERATOR), torch.arange(COUNT) % 3
RECIPE = Recipe(
    epochs=2, batch_size=COUNT, learning_rate=0.05, momentum=0.9, weight_decay=0.0, optimizer="sgd"
)


def linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


class Calls(nn.Module):
    """Modules, and a rule for calling them."""

    def __init__(self, rule: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.inside, self.rule = nn.ModuleList(modules), rule

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(x, *self.inside)


class Nested(nn.Module):
    """Its output is within a tuple within a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear()

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        return {"y": (self.inner(x), x > 0)}


class Keeps(nn.Module):
    """Counts its passes in a buffer, which it replaces, and keeps a mean in another."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear()
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes = self.passes + 1
            self.mean.lerp_(x.detach().mean(0), 0.1)
        return self.inner(x - self.mean)  # type: ignore[no-any-return]


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(WIDTH, WIDTH) / 3)])

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weights[0]


def tied() -> Calls:
    first, second = linear(), linear()
    second.weight = first.weight
    return Calls(lambda x, a, b: b(a(x).tanh()), first, second)


def in_part(x: Tensor, a: nn.Module) -> Tensor:
    y = a(x).clone()
    y.view(-1, 2, 3)[:, 0].mul_(2)
    return y.as_strided(y.shape, (WIDTH, 1))


def replaced() -> nn.Module:
    module = linear()
    forward = module.forward
    module.forward = lambda x: forward(x).sin()  # type: ignore[method-assign]
    return module


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "plain": linear,
    "norm": lambda: nn.Sequential(linear(), nn.BatchNorm1d(WIDTH)),
    "shared": lambda: Calls(lambda x, a: a(a(x).tanh()), linear()),
    "tied": tied,
    "in place": lambda: nn.Sequential(linear(), nn.ReLU(inplace=True)),
    "views": lambda: Calls(in_part, linear()),
    "nested": lambda: Calls(lambda x, a: a(x)["y"][0], Nested()),
    "buffers": Keeps,
    "list": Listed,
    "spectral": lambda: parametrizations.spectral_norm(linear()),
    "checkpointed": lambda: Calls(lambda x, a: checkpoint(a, x, use_reentrant=False), linear()),
    "detached": lambda: Calls(lambda x, a, b: a(x) + b(x).detach(), linear(), linear()),
    "never run": lambda: Calls(lambda x, a, b: a(x), linear(), linear()),
    "replaced": replaced,
}


def build(blocks: list[str]) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(BLOCKS[name]() for name in blocks), nn.Linear(WIDTH, 3))


def freeze_some(model: nn.Module, frozen: list[bool]) -> set[str]:
    """Freeze whole modules; the head trains. Returns what trains."""
    owners = list(dict.fromkeys(n.rpartition(".")[0] for n, _ in model.named_parameters()))[:-1]
    gone = [name for name, is_frozen in zip(owners, frozen, strict=False) if is_frozen]
    trained = {n for n, _ in model.named_parameters() if n.rpartition(".")[0] not in gone}
    freeze(model, trained)
    return trained


def plain_losses(model: nn.Module) -> list[float]:
    """Frozen modules are in eval mode, with whatever buffers they have."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2)
    everything = len(parameters) == len(list(model.parameters()))
    losses = []
    for _ in range(2):
        model.train()
        for module in model.modules():
            own = list(module.parameters(recurse=False))
            own += list(getattr(module, "parametrizations", nn.ModuleList()).parameters())
            if not everything and list(module.buffers(recurse=False)):
                module.training = any(p.requires_grad for p in own)
        for module in model.modules():
            for parametrization in getattr(module, "parametrizations", {}).values():
                frozen = not parametrization.original.requires_grad
                parametrization[0].training = everything or not frozen
        loss = cross_entropy(model(IMAGES), LABELS)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
    return losses


def trained(blocks: list[str], frozen: list[bool], *, track: bool) -> tuple[list[float], nn.Module]:
    model = build(blocks)
    names = freeze_some(model, frozen)
    with suppress(ModelError):  # of a network that cannot be copied
        predict_peak(model, (WIDTH,), trained=names, recipe=RECIPE)
    data = TensorImages(IMAGES, LABELS)
    items = finetune(model, data, data, data, recipe=RECIPE, track_memory=track)
    return [item.loss for item in items if isinstance(item, StepMetrics)], model


def check(blocks: list[str], frozen: list[bool]) -> None:
    before = state_of(build(blocks))
    losses, model = trained(blocks, frozen, track=True)
    untracked, other = trained(blocks, frozen, track=False)
    assert losses == untracked
    now = state_of(model)
    assert all(same_bits(tensor, now[name]) for name, tensor in state_of(other).items())
    for name, parameter in model.named_parameters(remove_duplicate=False):
        assert parameter.requires_grad or same_bits(now[name], before[name]), name
    plain = build(blocks)
    freeze_some(plain, frozen)
    assert losses == pytest.approx(plain_losses(plain), rel=1e-4)
    for name, tensor in state_of(plain).items():
        torch.testing.assert_close(now[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    assert hooks_left(model) == []


@pytest.mark.parametrize("block", BLOCKS)
def test_one_odd_module_trains_as_in_torch(block: str) -> None:
    check([block], [])


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(sorted(BLOCKS)), min_size=2, max_size=4),
    st.lists(st.booleans(), max_size=8),
)
def test_random_networks_train_as_in_torch(blocks: list[str], frozen: list[bool]) -> None:
    check(blocks, frozen)
