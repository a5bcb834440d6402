"""Following the topology of a training: it changes nothing, and measures what is there."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from ripser import ripser
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold import ClassicalMDS
from torch import Tensor, nn

from analysis.errors import StoreError
from analysis.options import Recipe
from analysis.training import following
from analysis.training.followed import FollowedTopology, load_followed, save_followed
from analysis.training.loop import finetune
from analysis.training.metrics import EpochMetrics, StepMetrics
from analysis.training.splits import TensorImages

LAYERS = ("0", "1", "4", "5", "8", "10")


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.2),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip


def frozen(model: nn.Module, *trained: str) -> nn.Module:
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not trained or name.split(".")[0] in trained
    return model


def split(count: int, seed: int) -> TensorImages:
    chance = torch.Generator().manual_seed(seed)
    return TensorImages(torch.rand(count, 1, 8, 8, generator=chance), torch.arange(count) % 3)


SPLITS = split(24, 0), split(45, 1), split(9, 2)


def train(model: nn.Module, *, follow: bool, **settings: object) -> list[object]:
    recipe = Recipe(epochs=3, batch_size=8, **{"follow_topology": True} | settings)  # type: ignore[arg-type]
    return list(finetune(model, *SPLITS, recipe=recipe, follow=follow))


def followed(model: nn.Module, **settings: object) -> FollowedTopology:
    items = train(model, follow=True, **settings)
    return [item for item in items if isinstance(item, FollowedTopology)][-1]


def numbers(items: list[object]) -> list[tuple[float, ...]]:
    return [
        (item.loss, item.accuracy) if isinstance(item, StepMetrics)
        else (item.train_loss, item.train_accuracy, item.val_loss, item.val_accuracy)
        for item in items if isinstance(item, StepMetrics | EpochMetrics)
    ]  # fmt: skip


@pytest.mark.parametrize("trained", [(), ("5", "8", "10")], ids=["whole", "cut"])
def test_following_changes_no_bit_of_the_training(trained: tuple[str, ...]) -> None:
    results = []
    for follow in (False, True):
        model = frozen(network(), *trained)
        torch.manual_seed(11)
        random.seed(11)
        np.random.seed(11)  # noqa: NPY002
        items = train(model, follow=follow)
        chance = (torch.rand(1).item(), random.random(), np.random.rand())  # noqa: NPY002
        hooks = [module._forward_hooks for module in model.modules() if module._forward_hooks]
        modes = [module.training for module in model.modules()]
        results.append((numbers(items), chance, hooks, modes, list(model.state_dict().values())))
    (*plain, before), (*with_topology, after) = results
    assert plain == with_topology
    assert len(plain[0]) == 3 * 3 + 3
    assert plain[2] == []
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def outputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Of each layer, by a pass of a copy without dropout or in-place changes."""
    found = {}
    for name, module in copy.deepcopy(model).eval().named_children():
        images = module(images)
        found[name] = images.detach().clone()
    return {name: found[name] for name in LAYERS}


@pytest.mark.parametrize("trained", [(), ("5", "8", "10")], ids=["whole", "cut"])
def test_the_loops_are_those_of_the_layers_at_each_epoch(trained: tuple[str, ...]) -> None:
    model = frozen(network(), *trained)
    drawn = torch.randperm(45, generator=torch.Generator().manual_seed(0))[:32].sort().values
    images = SPLITS[1].images(drawn)
    start = outputs(model, images)
    result = followed(model)
    assert (result.epochs, result.layers, result.note) == ((0, 1, 2, 3), LAYERS, "")
    for position, expected in ((0, start), (-1, outputs(model, images))):
        for name, cloud in expected.items():
            distances = squareform(pdist(cloud.flatten(1).double().numpy()))
            loops = ripser(distances, distance_matrix=True, maxdim=1)["dgms"][1]
            loops = loops[loops[:, 1] - loops[:, 0] > 1e-4]
            measured = result.diagrams[name][position]  # type: ignore[index]
            assert measured is not None
            measured = measured[measured[:, 1] - measured[:, 0] > 1e-4]
            np.testing.assert_allclose(np.sort(measured, 0), np.sort(loops, 0), rtol=1e-3)
            mds = ClassicalMDS(n_components=2, metric="precomputed").fit_transform(distances)
            places = result.maps[name][position]  # type: ignore[index]
            np.testing.assert_allclose(pdist(places), pdist(mds), rtol=1e-3, atol=1e-4)
    assert result.classes == tuple(str(number % 3) for number in drawn.tolist())
    assert [name for name in LAYERS if len(set(map(id, result.maps[name]))) == 1] == (  # type: ignore[index]
        ["0", "1", "4"] if trained else []
    )
    same = [name for name in LAYERS if len(set(map(id, result.diagrams[name]))) == 1]  # type: ignore[index]
    assert same == (["0", "1", "4"] if trained else [])


def test_frozen_layers_are_measured_once_without_their_images() -> None:
    model = frozen(network(), "10")
    passes: list[list[str]] = []
    real = following._distances

    def note(net: nn.Module, images: Tensor, names: list[str], seed: int) -> object:
        passes.append([name.removeprefix("rest.network.") for name in names])
        return real(net, images, names, seed)

    with patch.object(following, "_distances", note):
        followed(model)
    assert passes == [list(LAYERS), ["10"], ["10"], ["10"]]


def test_what_costs_too_much_is_followed_no_further() -> None:
    with patch.object(following, "MOST_SHARE", 0.0):
        result = followed(frozen(network(), "10"), follow_topology=None)
        assert result.epochs == (0,)
        assert result.note.startswith("Its topology was followed only to epoch 0. More would take")
        assert followed(frozen(network(), "10")).epochs == (0, 1, 2, 3)


def test_epochs_are_left_out_so_that_the_last_is_measured() -> None:
    now, real = [0.0], following._Part.measure

    def measure(part: following._Part, seed: int) -> object:
        now[0] += 1
        return real(part, seed)

    model = network()
    recipe = Recipe(epochs=8, batch_size=8, follow_topology=None)
    with patch.object(following.time, "thread_time", lambda: now[0]), \
         patch.object(following._Part, "measure", measure):  # fmt: skip
        follower = following.Follower(model, SPLITS[1], model, recipe)
        found = []
        for epoch in range(1, 9):
            now[0] += 8
            found.append(follower.after(epoch))
    # A tenth of 64 is enough for six of eight measurements.
    assert [result is None for result in found] == [False, True, True, *[False] * 5]
    last = found[-1]
    assert last is not None
    assert last.epochs == (0, 1, 4, 5, 6, 7, 8)
    assert last.note.startswith("Some epochs are left out: all would take over 10 % of")


class Drifting(nn.Module):
    """Changes its own weights in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.layer.weight.data.mul_(0.99)
        logits: Tensor = self.layer(images.flatten(1))
        return logits


class Failing(nn.Module):
    """Runs only in a training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.passes = nn.Linear(64, 3), 0

    def __deepcopy__(self, memo: object) -> nn.Module:
        raise RuntimeError("one of a kind")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


@pytest.mark.parametrize(
    ("kind", "why"), [(Drifting, "changes its weights"), (Failing, "one of a kind")]
)
def test_a_network_that_cannot_be_followed_trains_as_ever(kind: type[nn.Module], why: str) -> None:
    results = []
    for follow in (False, True):
        torch.manual_seed(0)
        model = kind()
        items = train(model, follow=follow)
        results.append((numbers(items), model.layer.weight.tolist()))
    assert results[0] == results[1]
    (said,) = [item for item in items if isinstance(item, FollowedTopology)]
    assert why in said.note
    assert said.epochs == ()


def test_the_file_gives_back_what_was_followed(tmp_path: Path) -> None:
    path, loops = tmp_path / "run.topology.npz", np.array([[1, 2], [1.5, 4]], np.float32)
    empty = np.zeros((0, 2), np.float32)
    diagrams = {"a": (loops, loops), "b": (None, empty), "c": (empty, loops[:1]), "d": (None, None)}
    plane = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    plane[1] *= 1e6
    point = np.zeros((4, 2), np.float32)
    maps = {"a": (plane[0],) * 2, "b": (None, plane[1]), "c": (plane[2], point), "d": (None,) * 2}
    classes = ("x", "y", "x", "<b>")
    save_followed(path, FollowedTopology(4, (0, 5), diagrams, "said"))
    old = load_followed(path)  # as of versions that kept no maps
    assert (old.maps, old.classes, old.layers) == (None, (), tuple("abcd"))
    save_followed(path, FollowedTopology(4, (0, 5), diagrams, "said", maps, classes))
    result = load_followed(path)
    assert result.classes == classes
    for name, kept in maps.items():
        for before, after in zip(kept, result.maps[name], strict=True):  # type: ignore[index]
            assert (before is None) == (after is None)
            if before is not None and after is not None:
                np.testing.assert_allclose(after, before, atol=np.abs(before).max() / 60_000)
    assert result.maps["a"][0] is result.maps["a"][1]  # type: ignore[index]
    assert result.bytes == old.bytes + 4 * 4 * 2 * 2
    assert (result.images, result.epochs, result.note) == (4, (0, 5), "said")
    assert {name: result.loops(name) for name in "ac"} == {"a": (2, 2), "c": (0, 1)}
    assert np.isnan(result.loops("d")).all()
    assert np.isnan(result.loops("b")[0])
    np.testing.assert_array_equal(result.diagrams["a"][1], loops)  # type: ignore[index]
    np.testing.assert_array_equal(result.diagrams["c"][1], loops[:1])  # type: ignore[index]
    assert result.diagrams["a"][0] is result.diagrams["a"][1]  # type: ignore[index]
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="its file is damaged"):
            load_followed(path)
    with pytest.raises(StoreError, match="not followed, or its file is gone"):
        load_followed(tmp_path / "other.npz")
