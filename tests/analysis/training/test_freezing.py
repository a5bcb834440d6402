"""Which parameters train, counted by hand; frozen ones keep every bit, buffers included."""

from __future__ import annotations

from collections.abc import Collection

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from analysis.training.freezing import (
    freeze,
    owner_of,
    parameters_of,
    trained_elements,
    training_mode,
)
from tests.factories import same_bits, state_of


class Attending(nn.Module):
    """Attention between a convolution and a head, and a token that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x).flatten(2).transpose(1, 2) + self.token)
        x = self.attention(x, x, x, need_weights=False)[0]
        result: Tensor = self.head(x.mean(1))
        return result


def step(model: nn.Module, images: Tensor, *, rate: float = 0.1) -> None:
    """One step of plain gradient descent in training mode."""
    training_mode(model)
    labels = torch.arange(len(images)) % 2
    cross_entropy(model(images).flatten(1), labels).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
                parameter.grad = None


def moved(model: nn.Module, trained: Collection[str], images: Tensor) -> set[str]:
    """Names in the state that differ after two steps."""
    torch.manual_seed(0)
    before = state_of(model)
    freeze(model, trained)
    for _ in range(2):
        step(model, images)
    return {name for name, now in model.state_dict().items() if not same_bits(now, before[name])}


def normed(**options: bool) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **options), nn.ReLU(),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip


IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


def test_attention_owns_the_projections_it_calls_itself() -> None:
    names = parameters_of(Attending(), ["attention"], known=["embed", "norm", "attention", "head"])
    assert set(names) == {
        "attention.in_proj_weight",
        "attention.in_proj_bias",
        "attention.out_proj.weight",
        "attention.out_proj.bias",
    }
    model = Attending()
    freeze(model, names)
    assert trained_elements(model) == (
        3 * 8 * 8 + 3 * 8 + 8 * 8 + 8,
        8 + (3 * 16 * 8 + 8) + 2 * 8 + (3 * 8 * 8 + 3 * 8 + 8 * 8 + 8) + (8 * 3 + 3),
    )


def test_a_known_layer_inside_attention_owns_its_parameters() -> None:
    layers = ["attention", "attention.out_proj"]
    assert parameters_of(Attending(), ["attention.out_proj"], known=layers) == [
        "attention.out_proj.weight",
        "attention.out_proj.bias",
    ]
    assert "attention.out_proj.bias" not in parameters_of(Attending(), ["attention"], known=layers)


def test_other_modules_do_not_own_their_children() -> None:
    model = normed()
    assert parameters_of(model, [""], known=["", "0"]) == []
    assert parameters_of(model, ["7", "1"]) == ["1.weight", "1.bias", "7.weight", "7.bias"]


def test_only_trained_parameters_move() -> None:
    model = Attending()
    trained = parameters_of(model, ["norm", "attention"])
    assert moved(model, trained, IMAGES) == set(trained)


def test_statistics_of_frozen_norms_stay_and_of_trained_norms_move() -> None:
    trained = ["1.weight", "1.bias", "7.weight", "7.bias"]
    names = moved(normed(), trained, IMAGES)
    assert names == {*trained, *(f"1.{name}" for name in STATISTICS)}
    names = moved(normed(), ["0.weight"], IMAGES)  # everything before and after it is frozen
    assert names == {"0.weight"}
    # One of its own parameters is enough.
    assert moved(normed(), ["1.bias"], IMAGES) == {"1.bias", *(f"1.{name}" for name in STATISTICS)}


def test_a_frozen_norm_normalises_as_before() -> None:
    model = normed()
    freeze(model, ["0.weight"])
    training_mode(model)
    assert [m.training for m in model] == [True, False, True, True, False, True, True, True]
    trained = model(IMAGES)
    assert torch.equal(trained, model.eval()(IMAGES))


def test_a_norm_without_parameters_follows_the_whole_model() -> None:
    every = [name for name, _ in normed(affine=False).named_parameters()]
    statistics = {f"1.{name}" for name in STATISTICS}
    assert not statistics & moved(normed(affine=False), every[:-1], IMAGES)
    assert statistics <= moved(normed(affine=False), every, IMAGES)


def test_a_buffer_of_the_model_itself_freezes_no_inner_module() -> None:
    """As in networks that subtract the data's mean themselves."""
    model = nn.Sequential(normed(), nn.Dropout(0.5))
    model.register_buffer("mean", torch.zeros(3))
    freeze(model, ["0.1.weight", "0.1.bias"])
    training_mode(model)
    assert not model.training  # it owns the buffer and no trained parameter
    assert model[0][1].training
    assert model[1].training
    assert not model[0][4].training


@pytest.mark.parametrize("wrap", [spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_iterates_only_where_it_trains(wrap: object) -> None:
    def model() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), *(wrap(nn.Linear(*s)) for s in ((192, 5), (5, 2))))  # type: ignore[operator]

    trained = parameters_of(model(), ["2"])
    assert len(trained) == 2  # the weight by whatever name, and the bias
    names = moved(model(), trained, IMAGES)
    assert {name for name in names if name.startswith("1")} == set()
    buffers = {name for name, _ in model().named_buffers() if name.startswith("2")}
    assert len(buffers) == 2
    assert names == {*trained, *buffers}


@pytest.mark.parametrize("wrap", [weight_norm, parametrizations.weight_norm])
def test_both_parts_of_a_weight_norm_belong_to_its_layer(wrap: object) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), wrap(nn.Linear(192, 5)), nn.Linear(5, 2))  # type: ignore[operator]
    names = parameters_of(model, ["1"])
    assert len(names) == 3
    freeze(model, names)
    assert trained_elements(model) == (5 + 5 * 192 + 5, 5 + 5 * 192 + 5 + 12)
    assert moved(model, names, IMAGES) == set(names)


def test_a_parametrisation_is_part_of_its_module() -> None:
    assert owner_of("a.b.weight") == "a.b"
    assert owner_of("a.b.parametrizations.weight.original0") == "a.b"
    assert owner_of("parametrizations.weight.original") == ""
    assert owner_of("token") == ""


def test_a_tied_parameter_trains_if_either_of_its_layers_does() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    for layer in ("0", "1"):
        names = parameters_of(model, [layer])
        assert names == [f"{layer}.weight", f"{layer}.bias"]
        freeze(model, names)
        assert model[0].weight.requires_grad
        assert trained_elements(model) == (16 + 4, 16 + 4 + 4 + 8 + 2)


def test_norms_that_share_a_weight_that_trains_both_train() -> None:
    model = normed()
    model[4].weight = model[1].weight
    freeze(model, ["4.weight"])
    training_mode(model)
    assert model[1].training
    assert model[4].training


def test_freezing_undoes_earlier_choices() -> None:
    model = normed()
    freeze(model, ["0.weight"])
    freeze(model, ["7.bias"])
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["7.bias"]
    assert trained_elements(model)[0] == 2
