"""A training whose frozen part runs once, against the plain loop."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from analysis.models import load_model
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.system.torchvision_guard import torchvision
from analysis.training import feature_store
from analysis.training.choosing import choose
from analysis.training.freezing import freeze
from analysis.training.loop import finetune
from analysis.training.metrics import EpochMetrics, FinetuneResult, FrozenPart, StepMetrics
from analysis.training.reuse import plan_passes
from analysis.training.splits import LabelledImages, TensorImages
from tests.factories import POCKET, Drawn, hooks_left, same_bits, state_of, two_classes

pytestmark = pytest.mark.usefixtures("home")

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.05)


def splits(shape: tuple[int, ...] = (6,)) -> list[Drawn]:
    return [two_classes(count, shape=shape, seed=seed) for seed, count in enumerate((27, 11, 9))]


def train(
    model: nn.Module, images: list[LabelledImages] | list[Drawn], recipe: Recipe = RECIPE
) -> tuple[list[tuple[float, ...]], list[FrozenPart]]:
    """All numbers that a training gives, and what it says of its frozen part."""
    numbers: list[tuple[float, ...]] = []
    said = []
    for item in finetune(model, *images, recipe=recipe, track_memory=False):
        match item:
            case StepMetrics():
                numbers.append((item.loss, item.accuracy))
            case EpochMetrics():
                numbers.append((item.train_loss, item.val_loss, item.val_accuracy))
            case FinetuneResult():
                numbers.append((item.best_val_accuracy, item.test_accuracy))
            case FrozenPart():
                said.append(item)
    return numbers, said


def plain(recipe: Recipe = RECIPE) -> Recipe:
    return Recipe(**vars(recipe) | {"reuse_frozen": False})


def flat(numbers: list[tuple[float, ...]]) -> list[float]:
    return [number for row in numbers for number in row]


@pytest.mark.parametrize("strategy", ["adabet", "last", "head", "full"])
@pytest.mark.parametrize("name", POCKET)
def test_the_numbers_are_those_of_the_plain_loop(name: str, strategy: str) -> None:
    images = [TensorImages(data.tensor, data.labels) for data in splits(shape=(3, 32, 32))]
    ends = []
    for recipe in (RECIPE, plain()):
        model = load_model(name, num_classes=2)
        before = state_of(model)
        choose(model, RunOptions(AnalysisOptions(model=name, samples=8), strategy=strategy))
        trains = {n for n, p in model.named_parameters() if p.requires_grad}
        numbers, said = train(model, list(images), recipe)
        ends.append((numbers, state_of(model)))
        if strategy != "adabet":  # which may choose the first layers
            once = [] if strategy == "full" else [recipe.reuse_frozen]
            assert [part.once for part in said] == once
    (reused, state), (repeated, other) = ends
    assert flat(reused) == pytest.approx(flat(repeated), abs=1e-4)
    for key, tensor in state.items():
        frozen = key not in trains and "running" not in key and "num_batches" not in key
        if frozen:
            assert same_bits(tensor, before[key]), key
        torch.testing.assert_close(tensor, other[key], rtol=1e-4, atol=1e-4)
    assert hooks_left(model) == []


class Net(nn.Module):
    """Three linear layers, with something before the last."""

    def __init__(self, before: Callable[[Net, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.h = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        for name, part in parts.items():
            setattr(self, name, part)
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.h(self.before(self, self.a(x)))
        return result


def why_plain(
    model: nn.Module, recipe: Recipe = RECIPE, *, trains: tuple[str, ...] = ("h",)
) -> str:
    """Why the frozen part runs in every epoch; the numbers must be those of the plain loop."""
    freeze(model, [n for n, _ in model.named_parameters() if n.startswith(trains)])
    state = state_of(model)
    torch.manual_seed(0)  # validation may draw from the caller's numbers
    numbers, said = train(model, splits())
    model.load_state_dict(state)
    torch.manual_seed(0)
    assert numbers == train(model, splits(), plain())[0]
    assert len(said) == 1
    assert not said[0].once
    return said[0].text


def decides(net: Net, z: Tensor) -> Tensor:
    return net.b(z) if z.sum() > 0 else z


def mixes(net: Net, z: Tensor) -> Tensor:
    return net.b(z - z.mean(0))


def counts(net: Net, z: Tensor) -> Tensor:
    net.passes += 1
    return net.b(z) + net.passes


def draws(net: Net, z: Tensor) -> Tensor:
    return net.b(z) if torch.rand(()) < 0.5 else z


def without_gradient(net: Net, z: Tensor) -> Tensor:
    with torch.no_grad():
        z = net.b(z)
    return z


def reordered(net: Net, z: Tensor) -> Tensor:
    y = net.b(z)
    return y + z.relu_()


@pytest.mark.parametrize(
    ("model", "trains", "why"),
    [
        (Net(decides), ("h",), "decides by numbers"),
        (Net(mixes), ("h",), "other numbers than the whole"),
        (Net(draws), ("h",), "draws random numbers"),
        (Net(without_gradient), ("b", "h"), "other numbers than the whole"),
        (Net(reordered), ("b.bias", "h"), "other numbers than the whole"),
        (Net(lambda net, z: net.b(z)), ("a",), "nothing frozen comes before"),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 6), nn.Linear(6, 2)), ("2",),
         "nothing frozen comes before"),
        (nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False, affine=False),
                       nn.Linear(6, 6), nn.Linear(6, 2)), ("2",), "nothing frozen comes before"),
    ],
)  # fmt: skip
def test_what_is_not_exact_runs_in_every_epoch(
    model: nn.Module, trains: tuple[str, ...], why: str
) -> None:
    assert why in why_plain(model, trains=trains)


def mixes_a_little(share: float) -> Callable[[Net, Tensor], Tensor]:
    """Mixes the images of a batch by a share, and enlarges that share a thousandfold."""
    return lambda net, z: net.b(torch.sin(1000 * (z + share * z.mean(0))))


@pytest.mark.parametrize(("share", "exact"), [(1e-8, True), (1e-7, True), (3e-6, False)])
def test_a_network_may_enlarge_rounding_but_nothing_more(share: float, *, exact: bool) -> None:
    model = Net(mixes_a_little(share))
    freeze(model, ["h.weight", "h.bias"])
    passes = plan_passes(model, *splits()[:2], RECIPE)
    passes.close()
    assert passes.why_plain == (
        "" if exact else "the network's parts give other numbers than the whole"
    )


@pytest.mark.parametrize("name", ["regnet_y_400mf", "efficientnet_b0"])
def test_networks_that_enlarge_rounding_train_as_in_the_plain_loop(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=2)
    names = [name for name, _ in model.named_parameters()]
    freeze(model, names[-len(names) // 5 :])
    state, images = state_of(model), splits(shape=(3, 32, 32))
    gentle = Recipe(epochs=2, batch_size=8, learning_rate=0.001)
    numbers, said = train(model, images, gentle)
    assert [part.once for part in said] == [True]
    model.load_state_dict(state)
    assert flat(numbers) == pytest.approx(flat(train(model, images, plain(gentle))[0]), abs=1e-4)


def test_gradients_that_are_only_rounding_do_not_matter() -> None:
    """A batch norm takes the mean of its input away: the bias before it has no gradient."""
    model = Net(lambda net, z: net.norm(net.b(z + 1e-7 * z.mean(0))), norm=nn.BatchNorm1d(6))
    freeze(model, [n for n, _ in model.named_parameters() if not n.startswith("a.")])
    passes = plan_passes(model, *splits()[:2], RECIPE)
    passes.close()
    assert passes.why_plain == ""


def test_a_network_that_counts_its_passes_is_left_alone() -> None:
    model = Net(counts)
    model.register_buffer("passes", torch.zeros(()))
    assert "changes its own state" in why_plain(model)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"augmentation": "flip-crop"}, "augmentation changes the images in every epoch"),
        ({"epochs": 1}, "there is only one epoch"),
        ({"reuse_frozen": False}, "you switched it off"),
    ],
)
def test_some_recipes_run_it_in_every_epoch(changes: dict[str, object], why: str) -> None:
    recipe = Recipe(**vars(RECIPE) | changes)  # type: ignore[arg-type]
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    freeze(model, ["2.weight", "2.bias"])
    (said,) = train(model, splits(shape=(3, 8, 8)), recipe)[1]
    assert not said.once
    assert why in said.text


def test_dropout_ends_the_frozen_part() -> None:
    """The layers before it run once, and it draws what it draws in the plain loop."""
    model = nn.Sequential(
        nn.Linear(6, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 4), nn.Linear(4, 2)
    )
    freeze(model, ["4.weight", "4.bias"])
    passes: dict[int, int] = {0: 0, 3: 0}
    for place in passes:

        def count(*_: object, place: int = place) -> None:
            passes[place] += 1

        model[place].register_forward_hook(count)
    state = state_of(model)
    numbers, said = train(model, splits())
    assert said[0].once
    reused = dict(passes)
    model.load_state_dict(state)
    assert flat(numbers) == pytest.approx(flat(train(model, splits(), plain())[0]), abs=1e-6)
    repeated = {place: passes[place] - reused[place] for place in passes}
    assert reused[0] < repeated[0]


def test_images_are_freed_once_their_frozen_part_is_known() -> None:
    data = [TensorImages(d.tensor, d.labels) for d in splits()]
    alive = [weakref.ref(d.tensor) for d in data]
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    freeze(model, ["1.weight"])
    training = finetune(model, *data, recipe=RECIPE)
    del data
    epochs = 0
    while epochs < 2:
        epochs += isinstance(next(training), EpochMetrics)
    gc.collect()
    assert [ref() is None for ref in alive] == [True, True, False]
    training.close()


def test_much_goes_to_a_file_that_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "MOST_IN_MEMORY", 100)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    freeze(model, ["2.weight", "2.bias"])
    state = state_of(model)
    numbers, said = train(model, splits())
    assert said[0].once
    assert "on disk" in said[0].text
    model.load_state_dict(state)
    assert numbers == train(model, splits(), plain())[0]
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_disk_without_room_gives_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "MOST_IN_MEMORY", 100)
    monkeypatch.setattr(feature_store, "DISK_SHARE", 0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    assert "too little space" in why_plain(model, trains=("1",))


def test_checkpointed_layers_train_as_they_do() -> None:
    model = Net(lambda net, z: checkpoint(net.b, z, use_reentrant=False))  # type: ignore[no-any-return]
    freeze(model, ["b.weight", "h.weight"])
    state = state_of(model)
    numbers, _ = train(model, splits())
    model.load_state_dict(state)
    assert flat(numbers) == pytest.approx(flat(train(model, splits(), plain())[0]), abs=1e-6)
