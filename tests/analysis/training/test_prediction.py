"""Predicted memory against the ledger on real tensors, and the analytic model by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from analysis.errors import ModelError, TrainingError
from analysis.instruments.ledger import Ledger
from analysis.instruments.memory_use import MemoryUse
from analysis.models import MODELS, load_model
from analysis.models.loading import empty_network
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.training.choosing import choose
from analysis.training.freezing import freeze, training_mode
from analysis.training.loop import training_step
from analysis.training.optimizers import make_optimizer
from analysis.training.prediction import analytic_bytes, predict_kept, predict_peak
from tests.factories import POCKET, hooks_left, same_bits, state_of

BATCH = Recipe(batch_size=8)


pytestmark = pytest.mark.usefixtures("home")


def measure(model: nn.Module, shape: tuple[int, ...], recipe: Recipe = BATCH) -> MemoryUse:
    """The ledger's peak on real tensors, in a step after the optimiser has its state."""
    training_mode(model)
    optimizer = make_optimizer(model, recipe)
    images = torch.randn(recipe.batch_size, *shape)
    labels = torch.arange(recipe.batch_size) % 2
    training_step(model, optimizer, images[:2], labels[:2])
    with Ledger(model, optimizer, (images, labels)) as ledger:
        training_step(model, optimizer, images, labels)
    return ledger.peak


def trained_of(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("strategy", ["full", "adabet", "head"])
@pytest.mark.parametrize("name", POCKET)
def test_pocket_models(name: str, strategy: str) -> None:
    options = RunOptions(analysis=AnalysisOptions(model=name, samples=8), strategy=strategy)
    model = load_model(name, num_classes=10)
    choose(model, options)
    predicted = predict_peak(model, (3, 32, 32), trained=trained_of(model), recipe=BATCH)
    assert predicted == measure(model, (3, 32, 32))


def test_what_the_frozen_part_keeps_is_the_input_of_what_trains() -> None:
    model, shape = load_model("pocket-resnet20", num_classes=10), (3, 32, 32)
    head = {"fc.weight", "fc.bias"}
    kept = predict_kept(model, shape, trained=head, counts=(500, 359))
    assert kept == (500 + 359) * 64 * 4  # features of the head, in float32
    deeper = head | {"layer3.2.conv2.weight"}
    # The second convolution's input, and what its block adds to the output: 64 maps of 8 × 8 each.
    kept = predict_kept(model, shape, trained=deeper, counts=(500, 359))
    assert kept == (500 + 359) * 2 * 64 * 8 * 8 * 4
    first = head | {"conv1.weight"}
    assert predict_kept(model, shape, trained=first, counts=(500, 359)) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_full_size_models(name: str) -> None:
    analysis = AnalysisOptions(model=name, samples=4, weights="random")
    model = load_model(name, weights="random", num_classes=10)
    shape = (3, 96, 96)  # smaller than usual, to be quick
    totals = []
    for strategy in ("full", "adabet", "head"):
        choose(model, RunOptions(analysis=analysis, strategy=strategy))
        predicted = predict_peak(model, shape, trained=trained_of(model), recipe=BATCH)
        assert predicted == measure(model, shape), strategy
        totals.append(predicted.total)
    assert totals[0] > totals[1] > totals[2]


@pytest.mark.parametrize(
    "recipe",
    [
        replace(BATCH, optimizer="adamw"),
        replace(BATCH, momentum=0.0),
        replace(BATCH, weight_decay=0.0),
        replace(BATCH, batch_size=3),
    ],
)
def test_the_recipe_counts(recipe: Recipe) -> None:
    model = load_model("pocket-vgg")
    peak = predict_peak(model, (3, 32, 32), trained=trained_of(model), recipe=recipe)
    assert peak == measure(model, (3, 32, 32), recipe)
    if recipe.weight_decay:
        assert peak != predict_peak(model, (3, 32, 32), trained=trained_of(model), recipe=BATCH)


def test_the_prediction_needs_no_weights() -> None:
    model = load_model("pocket-mobilenetv2", num_classes=10)
    bare = empty_network("pocket-mobilenetv2", 10)
    assert all(tensor.is_meta for tensor in bare.state_dict().values())
    trained = {name for name in trained_of(model) if name.startswith("features.9")}
    assert trained
    peak = predict_peak(bare, (3, 32, 32), trained=trained, recipe=BATCH)
    assert peak == predict_peak(model, (3, 32, 32), trained=trained, recipe=BATCH)
    shape = (3, 32, 32)
    assert analytic_bytes(bare, shape, trained=trained) == analytic_bytes(
        model, shape, trained=trained
    )


class Peculiar(nn.Module):
    """Spectral norm, dropout, tied weights, and a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.spectral_norm(nn.Linear(12, 12))
        self.norm = nn.BatchNorm1d(12)
        self.second, self.third = nn.Linear(12, 12), nn.Linear(12, 12)
        self.third.weight = self.second.weight
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(12, 2)
        self.scale = torch.full((12,), 2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x.flatten(1)))) * self.scale
        result: Tensor = self.head(self.dropout(self.third(torch.relu(self.second(x)))))
        return result


def test_model_and_random_numbers_are_unchanged() -> None:
    torch.manual_seed(0)
    model = Peculiar().train()
    model.second.weight.grad = torch.ones(12, 12)
    model.head.requires_grad_(False)
    before, flags = state_of(model), trained_of(model)
    scale = model.scale
    generator = torch.get_rng_state()
    predict_peak(model, (3, 2, 2), trained={"head.weight"}, recipe=BATCH)
    analytic_bytes(model, (3, 2, 2), trained={"head.weight"})
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(same_bits(before[name], now) for name, now in model.state_dict().items())
    assert trained_of(model) == flags
    assert all(module.training for module in model.modules())
    assert torch.equal(model.second.weight.grad, torch.ones(12, 12))
    assert model.third.weight is model.second.weight
    assert model.scale is scale
    assert type(scale) is Tensor
    assert hooks_left(model) == []
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("layer", ["first", "second", "head"])
def test_a_peculiar_model(layer: str) -> None:
    torch.manual_seed(0)
    model = Peculiar()
    freeze(model, {name for name in trained_of(model) if name.startswith(layer)})
    predicted = predict_peak(model, (3, 2, 2), trained=trained_of(model), recipe=BATCH)
    peak = measure(model, (3, 2, 2))
    assert predicted.total == pytest.approx(peak.total, rel=0.01)
    assert (predicted.parameters, predicted.optimizer) == (peak.parameters, peak.optimizer)


def test_a_model_that_cannot_be_copied_is_an_error() -> None:
    model = Peculiar()
    model.scale = model.head.weight.sum()  # no leaf of the graph: torch refuses to copy it
    with pytest.raises(ModelError, match=r"The memory of training could not be predicted: \w"):
        predict_peak(model, (3, 2, 2), trained={"head.weight"})
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_step_that_depends_on_numbers_is_an_error() -> None:
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.fc(x.flatten(1))
            return result if result.sum() > 0 else -result

    model = Choosy()
    with pytest.raises(ModelError, match=r"The memory of training could not be predicted: \w"):
        predict_peak(model, (3, 2, 2), trained={"fc.weight"})
    assert hooks_left(model) == []
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_model_without_trained_parameters_is_an_error() -> None:
    with pytest.raises(TrainingError, match="every parameter is frozen"):
        predict_peak(Peculiar(), (3, 2, 2), trained=set())


def small() -> nn.Sequential:
    """Convolution of 2 to 4 channels on 6 × 6, ReLU, convolution to 3 on 4 × 4, GELU, linear."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.GELU(),
        nn.Flatten(), nn.Linear(3 * 4 * 4, 5),
    )  # fmt: skip


FIRST, SECOND, HEAD = 4 * 2 * 9 + 4, 3 * 4 * 9 + 3, 5 * 48 + 5  # parameters
# Of one image: bits kept.
IMAGE, RELU, GIVEN = 2 * 36 * 32, 4 * 36 * 1, 4 * 36 * 32
GELU, FLAT = 3 * 16 * 32, 48 * 32


@pytest.mark.parametrize(
    ("layers", "frozen", "kept_bits"),
    [
        ("025", 0, IMAGE + RELU + GIVEN + GELU + FLAT),
        ("05", SECOND, IMAGE + RELU + GELU + FLAT),
        ("2", FIRST + HEAD, GIVEN + GELU),  # the ReLU before it keeps nothing
        ("5", FIRST + SECOND, FLAT),
    ],
)
def test_the_analytic_model_by_hand(layers: str, frozen: int, kept_bits: int) -> None:
    trained = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    bits = 32 * (FIRST + SECOND + HEAD - frozen) + 4 * frozen + 8 * kept_bits
    peak = analytic_bytes(small(), (2, 6, 6), trained=trained)
    assert peak == pytest.approx(bits / 8, abs=0.5)  # whole bytes


def test_the_analytic_model_of_attention() -> None:
    """Attention keeps its input once; ReLU6 keeps one bit, like ReLU."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.relu = nn.ReLU6()

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(2)
            result: Tensor = self.relu(self.attention(x, x, x, need_weights=False)[0])
            return result

    weights = 3 * 4 * 4 + 3 * 4 + 4 * 4 + 4
    trained = {name for name, _ in Model().named_parameters()}
    numbers = 5 * 4  # of one image, into the attention and out of it
    bits = 32 * weights + 8 * (32 * numbers + numbers)
    assert analytic_bytes(Model(), (5, 2, 2), trained=trained) == bits / 8


@pytest.mark.parametrize("name", POCKET)
def test_the_analytic_model_gives_less_memory_for_fewer_layers(name: str) -> None:
    model = load_model(name)
    every = trained_of(model)
    head = {parameter for parameter in every if parameter.startswith(MODELS[name].head)}
    whole = analytic_bytes(model, (3, 32, 32), trained=every)
    assert 0 < analytic_bytes(model, (3, 32, 32), trained=head) < 0.5 * whole
    assert whole >= 4 * sum(p.numel() for p in model.parameters())
