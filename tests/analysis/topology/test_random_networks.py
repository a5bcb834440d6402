"""Random small networks with odd modules: the clouds are those of plain forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from analysis.topology.pipeline import analyze
from tests.factories import hooks_left, same_bits

SIDE, WIDTH, SEED = 6, 4, 3
IMAGES = torch.randn(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def conv() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1)


class Calls(nn.Module):
    """Modules, and a rule for calling them on a map (N, 4, 6, 6) that gives another."""

    def __init__(self, rule: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.inside = nn.ModuleList(modules)
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(x, *self.inside)


class Returns(nn.Module):
    """A layer whose output is an object around its tensor."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.weight, self.wrap = nn.Parameter(torch.randn(WIDTH, 1, 1)), wrap

    def forward(self, x: Tensor) -> object:
        return self.wrap(x * self.weight)


class Moves(nn.Module):
    """Keeps an average of what it saw, in eval mode as well, and scales by it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, 1, 1))
        self.register_buffer("mean", torch.zeros(WIDTH, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.weight * (1 + self.mean)
        self.mean += 1
        return y


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x * self.weight)


def tied() -> Calls:
    first, second = conv(), conv()
    second.weight = first.weight
    return Calls(lambda x, a, b: b(a(x).relu()), first, second)


def normed_last(x: Tensor, norm: nn.Module) -> Tensor:
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


def attention(x: Tensor, module: nn.Module) -> Tensor:
    places = x.flatten(2).transpose(1, 2)
    return module(places, places, places)[0].transpose(1, 2).reshape(x.shape).contiguous()


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "plain": conv,
    "in place": lambda: nn.Sequential(conv(), nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True)),
    "shared": lambda: Calls(lambda x, a: a(a(x).relu()), conv()),
    "tied": tied,
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(WIDTH, 1), nn.LazyBatchNorm2d()),
    "view": lambda: Calls(lambda x, a: a(x.view(len(x), -1)).view(x.shape), nn.Linear(144, 144)),
    "contiguous only": lambda: Calls(
        lambda x, a: a(x.as_strided(x.shape, (144, 36, 6, 1))), conv()
    ),
    "channels last": lambda: Calls(normed_last, nn.LayerNorm(WIDTH)),
    "dict": lambda: Calls(lambda x, a: a(x)["y"], Returns(lambda x: {"mask": x > 0, "y": x})),
    "nested": lambda: Calls(lambda x, a: a(x)[1][0], Returns(lambda x: (None, [x, x + 1]))),
    "sparse": lambda: Calls(lambda x, a: a(x).to_dense(), Returns(lambda x: x.to_sparse())),
    "complex": lambda: Calls(lambda x, a: a(x).real / SIDE, Spectrum()),
    "moves": Moves,
    "attention": lambda: Calls(attention, nn.MultiheadAttention(WIDTH, 2, batch_first=True)),
    "parametrised": lambda: parametrizations.weight_norm(conv()),
    "never run": lambda: Calls(lambda x, a, b: a(x), conv(), conv()),
    "alters its input": lambda: Calls(lambda x, a: a(x.mul_(2)), conv()),
    "residual": lambda: Calls(lambda x, a: x + a(x), conv()),
}


def build(blocks: list[str]) -> nn.Sequential:
    torch.manual_seed(0)
    start, end = nn.Conv2d(3, WIDTH, 1), nn.Linear(WIDTH * SIDE * SIDE, 3)
    middle = [BLOCKS[name]() for name in blocks]
    return nn.Sequential(start, *middle, nn.Flatten(), end)


def tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list, dict)):
        for part in output.values() if isinstance(output, dict) else output:
            yield from tensors(part)


def hooked_clouds(model: nn.Module) -> dict[str, Tensor]:
    """The output of each module with parameters of its own, by plain hooks."""
    clouds: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[..., None]:
        def note(_: nn.Module, __: object, output: object) -> None:
            cloud = next(t for t in tensors(output) if t.dtype != torch.bool)
            cloud = cloud.to_dense() if cloud.is_sparse else cloud
            clouds.pop(name, None)
            parts = torch.view_as_real(cloud) if cloud.is_complex() else cloud
            clouds[name] = parts.reshape(len(parts), -1).double().clone()

        return note

    for name, module in model.named_modules():
        own = next(module.parameters(recurse=False), None) is not None
        if "parametrizations" not in name and (own or hasattr(module, "parametrizations")):
            module.register_forward_hook(hook(name))
    with torch.no_grad():
        model(IMAGES.clone())
    return clouds


def check(blocks: list[str]) -> None:
    images, model, twin = IMAGES.clone(), build(blocks), build(blocks)
    before = {
        name: buffer.clone() for name, buffer in model.named_buffers() if "lazy" not in blocks
    }
    report = analyze(model, images, seed=SEED)
    assert hooks_left(model) == []
    assert same_bits(images, IMAGES)
    for name, buffer in before.items():
        assert same_bits(model.get_buffer(name), buffer), name
    twin.eval()
    with torch.no_grad():
        torch.manual_seed(SEED)
        if "lazy" in blocks:
            twin(IMAGES[:2].clone())
            for module in twin.modules():
                if isinstance(module, Moves):
                    module.mean.zero_()
    clouds = hooked_clouds(twin)
    assert report.head == report.names[-1] == str(len(blocks) + 2)
    assert set(report.names) == set(clouds)
    for layer in report.layers:
        right = torch.cdist(clouds[layer.name], clouds[layer.name]).numpy()
        np.testing.assert_allclose(layer.distances, right, atol=1e-4 * right.max(), rtol=1e-4)


@pytest.mark.parametrize("block", BLOCKS)
def test_one_odd_module(block: str) -> None:
    check([block])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=2, max_size=4))
def test_random_networks(blocks: list[str]) -> None:
    check(blocks)
