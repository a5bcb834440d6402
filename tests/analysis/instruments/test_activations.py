"""The layers of a model and their order; the model is left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.instruments.activations import trace, watch
from analysis.instruments.outputs import first_tensor


class Backwards(nn.Module):
    """Registers its layers in another order than it runs them; one never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.unused = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(6)
        self.first = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.end = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.shared(self.shared(x) + 1))


class Wrapped(nn.Module):
    """Has a weight of its own, and returns the product in the form that `shape_of` gives it."""

    def __init__(self, shape_of: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 5))
        self.shape_of = shape_of

    def forward(self, x: Tensor) -> object:
        return self.shape_of(x @ self.weight)  # type: ignore[operator]


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.end = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        tensor = first_tensor(self.inner(x))
        assert tensor is not None
        return self.end(tensor)


class Attention(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.token
        return self.attention(x, x, x, need_weights=False)[0]


def test_layers_come_in_execution_order_with_their_sizes() -> None:
    traced = trace(Backwards(), torch.randn(5, 4))
    assert [(i.name, i.kind, i.shape, i.parameters) for i in traced.layers] == [
        ("first", "Linear", (6,), 30),
        ("norm", "BatchNorm1d", (6,), 12),
        ("last", "Linear", (3,), 21),
    ]
    assert traced.never_run == ("unused",)


def test_a_module_called_twice_is_one_layer_with_its_last_output() -> None:
    model, images = Twice(), torch.randn(5, 4)
    seen: dict[str, Tensor] = {}
    watch(model, images, lambda name, output: seen.__setitem__(name, output.clone()))  # type: ignore[union-attr]
    assert trace(model, images).names == ["shared", "end"]
    with torch.no_grad():
        expected = model.shared(model.shared(images) + 1)
    torch.testing.assert_close(seen["shared"], expected)


@pytest.mark.parametrize(
    "shape_of",
    [
        lambda y: (y, torch.zeros(1)),
        lambda y: [None, y],
        lambda y: {"out": y, "aux": torch.zeros(1)},
        lambda y: {"nested": (y,)},
    ],
    ids=["tuple", "list", "dict", "nested"],
)
def test_the_first_tensor_of_a_structured_output_is_the_cloud(shape_of: object) -> None:
    traced = trace(Around(Wrapped(shape_of)), torch.randn(6, 4))
    assert [(i.name, i.shape) for i in traced.layers] == [("inner", (5,)), ("end", (2,))]


def test_an_output_that_is_not_one_point_per_image_is_outside() -> None:
    class Pooling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Wrapped(lambda y: y.mean())
            self.end = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(x) + self.inner(x)

    traced = trace(Pooling(), torch.randn(6, 4))
    assert traced.outside == ("inner",)
    assert traced.names == ["end"]


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_is_one_layer_with_all_its_parameters(batch_first: bool) -> None:
    images = torch.randn(3, 7, 8)
    model = Attention(batch_first)
    seen: dict[str, tuple[int, ...]] = {}
    inputs = images if batch_first else images.transpose(0, 1)
    watch(model, inputs, lambda name, out: seen.__setitem__(name, tuple(out.shape)))  # type: ignore[union-attr]
    assert seen["attention"] == (3, 7, 8)
    if batch_first:
        traced = trace(model, images)
        # in_proj 3 · 8 · 8 + 3 · 8, out_proj 8 · 8 + 8: the projection never runs as a module.
        assert [(i.name, i.parameters) for i in traced.layers] == [("attention", 288)]
        assert traced.never_run == ()


def test_flops_match_the_formulas() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, stride=2, groups=8),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 5),
    )
    flops = {i.name: i.flops for i in trace(model, torch.randn(2, 3, 10, 10)).layers}
    assert flops == {
        "0": 2 * (8 * 10 * 10) * (3 * 9),
        "1": 2 * (8 * 10 * 10),  # no products: one multiply-add an element
        "2": 2 * (8 * 4 * 4) * 9,
        "4": 2 * 128 * 5,
    }
    tokens, width = 7, 8
    (attention,) = trace(Attention(True), torch.randn(2, tokens, width)).layers
    projections, products = 4 * 2 * tokens * width * width, 2 * 2 * tokens * tokens * width
    assert attention.flops == projections + products


def test_flops_inside_a_layer_count_once() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.scale

    flops = {i.name: i.flops for i in trace(nn.Sequential(Scaled()), torch.randn(2, 4)).layers}
    assert flops == {"0.inner": 32, "0": 8}


def test_the_model_is_left_as_it_was() -> None:
    model = Backwards()
    model.train()
    model.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    watch(model, torch.randn(5, 4), lambda *_: None)
    assert [model.training, model.norm.training, model.first.training] == [True, False, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    model(torch.randn(5, 4)).sum().backward()  # still trains


def test_a_failing_pass_leaves_the_model_as_it_was_and_says_why() -> None:
    model = Backwards()
    model.train()
    with pytest.raises(ModelError, match=r"images of shape \(9,\): .*shapes cannot be multiplied"):
        watch(model, torch.randn(5, 9), lambda *_: None)
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())


def test_a_callbacks_error_is_passed_on_even_through_a_model_that_catches_errors() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.inner(x)
            except Exception:
                return x

    def stop(*_: object) -> None:
        raise KeyError("stop")

    model = Stubborn()
    with pytest.raises(KeyError, match="stop"):
        watch(model, torch.randn(5, 4), stop)
    assert not model.inner._forward_hooks


def test_a_model_without_layers_is_an_error() -> None:
    with pytest.raises(ModelError, match="no layer to analyse"):
        trace(nn.Sequential(nn.ReLU()), torch.randn(5, 4))


def test_images_take_the_dtype_of_the_model() -> None:
    seen: list[torch.dtype] = []
    watch(
        nn.Linear(4, 2).double(),
        torch.randn(5, 4),
        lambda _, output: seen.append(output.dtype),  # type: ignore[union-attr]
    )
    assert seen == [torch.float64]


class Squeezes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.conv(x)).squeeze())


def test_models_that_squeeze_and_norms_that_need_two_images_keep_their_layers() -> None:
    assert trace(Squeezes(), torch.randn(5, 3, 8, 8)).names == ["conv", "fc"]
    norm = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False))
    assert trace(norm, torch.randn(5, 4)).names == ["0", "1"]


def test_a_parametrised_module_is_one_layer_with_all_its_parameters() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))
    traced = trace(nn.Sequential(nn.Linear(5, 6), normed), torch.randn(5, 5))
    # weight_norm holds a length for each of 4 outputs, 4 · 6 directions, and the bias.
    assert [(i.name, i.kind, i.parameters) for i in traced.layers] == [
        ("0", "Linear", 36),
        ("1", "Linear", 4 + 24 + 4),
    ]
    assert traced.never_run == traced.outside == ()


def test_a_module_that_never_runs_inside_a_layer_is_reported() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 400)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x) * self.scale

    traced = trace(nn.Sequential(Block()), torch.randn(5, 4))
    assert {i.name: i.parameters for i in traced.layers} == {"0.used": 20, "0": 1}
    assert traced.never_run == ("0.unused",)


def test_a_module_shared_by_two_parents_keeps_its_flops() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))
    (layer,) = trace(model, torch.randn(5, 4)).layers
    assert (layer.name, layer.flops) == ("0.0", 2 * (2 * 4 * 4))  # called twice


def test_an_integer_parameter_does_not_decide_the_dtype() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    whole = nn.Parameter(torch.tensor([3]), requires_grad=False)
    model.register_parameter("steps", whole)
    seen: list[Tensor] = []
    watch(model, torch.rand(5, 4), lambda name, output: seen.append(output))  # type: ignore[arg-type]
    assert seen[0].dtype == torch.float32
    assert seen[0].std() > 0


def test_any_error_of_a_models_own_code_is_reported() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1] == 4, "wrong width"
            return self.inner(x)

    with pytest.raises(ModelError, match=r"images of shape \(5,\): wrong width"):
        watch(Picky(), torch.rand(5, 5), lambda *_: None)
