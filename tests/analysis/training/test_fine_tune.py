"""Whole fine-tunes of the pocket models: which weights move, which stay, and the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from analysis.datasets import ImageDataset, load_dataset
from analysis.errors import OptionError, StoreError, TrainingError
from analysis.models import MODELS, load_model, prepare_images
from analysis.options import AnalysisOptions, Recipe, RunOptions, Split
from analysis.training.choosing import choose
from analysis.training.fine_tune import Training
from analysis.training.gradients import gradient_evidence
from analysis.training.metrics import FinetuneResult, MemorySample, Selection
from analysis.training.splits import TensorImages
from tests.factories import POCKET, same_bits, state_of


@pytest.fixture(scope="module", autouse=True)
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    def few(name: str, *, split: Split, **options: Any) -> ImageDataset:
        """Few images for validation and test, on which these tests do not depend."""
        drawn = load_dataset(name, split=split, **options)
        return drawn if split == "train" else drawn.sample(16, seed=0)

    with pytest.MonkeyPatch.context() as patch:  # one home, so that the topology is computed once
        patch.setenv("BETTISCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr("analysis.topology.inputs.load_dataset", few)
        yield


def options(model: str, strategy: str, **recipe: object) -> RunOptions:
    return RunOptions(
        analysis=AnalysisOptions(model=model, samples=8),
        strategy=strategy,
        train_samples=24,
        # Without decay only gradients move weights.
        recipe=Recipe(**({"epochs": 1, "batch_size": 8, "seed": 5, "weight_decay": 0.0} | recipe)),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(("strategy", "most"), [("size", 2), ("fisher", 8)])
def test_images_are_prepared_together_only_for_gradients(
    strategy: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counting(name: str, images: Any, **how: Any) -> Tensor:
        seen.append(len(images))
        return prepare_images(name, images, **how)

    monkeypatch.setattr("analysis.topology.inputs.prepare_images", counting)
    model = load_model("pocket-vgg", num_classes=10)
    assert choose(model, options("pocket-vgg", strategy)).layers
    assert max(seen) == most


def test_chance_and_layers_without_a_gradient_are_said(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom torch.nn.functional import dropout\n"
        "class Net(nn.Module):\n    input_size = 8\n    def __init__(self, num_classes):\n"
        "        super().__init__()\n        self.chance = 0.0\n"
        "        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)\n"
        "        self.h = nn.Linear(4, num_classes)\n    def forward(self, x):\n"
        "        x = self.b(self.a(x).detach()).mean((2, 3))\n"
        "        return self.h(dropout(x, self.chance) if self.chance else x)\n"
    )
    named = options(f"{tmp_path / 'net.py'}:Net", "fisher")
    model = load_model(named.analysis.model, num_classes=10)
    unseen = "No gradient reaches a, so this strategy cannot choose it."
    assert choose(model, named).note == unseen
    assert choose(model, replace(named, strategy="size")).note == ""
    model.chance = 0.5  # type: ignore[assignment]
    chance = "This network is random even in evaluation mode: its accuracies hold only for the "
    assert choose(model, named).note == f"{chance}numbers that were drawn. {unseen}"


@cache
def trained(model: str, strategy: str) -> tuple[nn.Module, list[object]]:
    """The model after a fine-tune, and all its metrics."""
    training = Training(options(model, strategy))
    metrics: list[object] = list(training)
    assert training._model is not None
    return training._model, metrics


def before(model: str) -> dict[str, Tensor]:
    """The state before `trained`: the seed decides the new head."""
    return state_of(load_model(model, num_classes=10, seed=5))


def owned(model: nn.Module, layer: str) -> dict[str, Tensor]:
    """A layer's parameters; attention's output projection is a separate module."""
    module = model.get_submodule(layer)
    whole = isinstance(module, nn.MultiheadAttention)
    named = module.named_parameters(recurse=whole)
    return {f"{layer}.{name}": parameter for name, parameter in named}


def changed(model: str, strategy: str) -> set[str]:
    network, _ = trained(model, strategy)
    start = before(model)
    return {name for name, now in network.state_dict().items() if not same_bits(start[name], now)}


def selection(metrics: list[object]) -> Selection:
    assert isinstance(metrics[0], Selection)
    return metrics[0]


@pytest.mark.parametrize("name", POCKET)
def test_adabet_trains_its_layers_and_nothing_else(name: str) -> None:
    network, metrics = trained(name, "adabet")
    chosen = selection(metrics)
    parameters = {k: p for layer in chosen.layers for k, p in owned(network, layer).items()}
    statistics = {
        f"{layer}.{buffer}"
        for layer in chosen.layers
        if isinstance(network.get_submodule(layer), nn.BatchNorm2d)
        for buffer in ("running_mean", "running_var", "num_batches_tracked")
    }
    moved = changed(name, "adabet")
    assert moved <= {*parameters, *statistics}, "frozen, and yet other bits"
    for layer in chosen.layers:
        assert moved & set(owned(network, layer)), f"{layer} did not move"
    assert statistics <= moved
    assert 2 <= len(chosen.layers) < 0.2 * len(list(network.modules()))
    assert chosen.layers[-1] == MODELS[name].head
    assert chosen.trainable_parameters == sum(p.numel() for p in parameters.values())
    assert chosen.total_parameters == sum(p.numel() for p in network.parameters())
    assert {k for k, p in network.named_parameters() if p.requires_grad} == set(parameters)


@pytest.mark.parametrize("name", ["pocket-resnet20", "pocket-vit"])
def test_norms_and_biases(name: str) -> None:
    network, metrics = trained(name, "bn-bias")
    norms = [
        layer
        for layer, module in network.named_modules()
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm))
    ]
    expected = {key for layer in norms for key in owned(network, layer)}
    expected |= {key for key, _ in network.named_parameters() if key.endswith("bias")}
    expected |= set(owned(network, MODELS[name].head))
    assert {k for k, p in network.named_parameters() if p.requires_grad} == expected
    moved = changed(name, "bn-bias") & {key for key, _ in network.named_parameters()}
    assert moved <= expected
    # A key's bias shifts all scores of a query equally: its gradient is zero up to rounding.
    assert len(moved) > 0.9 * len(expected)
    assert set(norms) | {MODELS[name].head} <= set(selection(metrics).layers)
    counted = sum(network.get_parameter(key).numel() for key in expected)
    assert selection(metrics).trainable_parameters == counted


@pytest.mark.parametrize("name", ["pocket-resnet20", "pocket-vit"])
def test_full_trains_everything(name: str) -> None:
    network, metrics = trained(name, "full")
    assert all(parameter.requires_grad for parameter in network.parameters())
    counts = selection(metrics).trainable_parameters, selection(metrics).total_parameters
    assert counts[0] == counts[1] == sum(p.numel() for p in network.parameters())
    still = set(before(name)) - changed(name, "full")
    assert still == set()
    if name == "pocket-vit":
        assert "class_token" in before(name)


def test_layers_train_beside_those_of_the_strategy() -> None:
    more = replace(
        options("pocket-vit", "head"), also_train=("encoder.layers.encoder_layer_0.ln_1",)
    )
    model = load_model("pocket-vit", num_classes=10)
    chosen = choose(model, more)
    assert chosen.layers == (*more.also_train, "heads.head")
    trains = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trains == {f"{layer}.{kind}" for layer in chosen.layers for kind in ("weight", "bias")}
    with pytest.raises(TrainingError, match="it has none called ln_9"):
        choose(model, replace(more, also_train=("ln_9",)))


def test_head_trains_the_head() -> None:
    assert changed("pocket-resnet20", "head") == {"fc.weight", "fc.bias"}
    chosen = selection(trained("pocket-resnet20", "head")[1])
    assert (chosen.layers, chosen.trainable_parameters) == (("fc",), 64 * 10 + 10)


@pytest.mark.parametrize("strategy", ["full", "adabet", "head"])
@pytest.mark.parametrize("name", ["pocket-resnet20", "pocket-vit"])
def test_the_measured_memory_is_the_predicted_one(name: str, strategy: str) -> None:
    _, metrics = trained(name, strategy)
    (result,) = (m for m in metrics if isinstance(m, FinetuneResult))
    samples = [m for m in metrics if isinstance(m, MemorySample)]
    *_, last = (m for m in metrics if isinstance(m, Selection))
    assert last.predicted == result.peak_memory
    assert samples[-1].peak == result.peak_memory


@pytest.mark.parametrize("strategy", ["adabet", "last", "head"])
@pytest.mark.parametrize("name", POCKET)
def test_so_it_is_where_the_frozen_part_runs_once(name: str, strategy: str) -> None:
    metrics = list(Training(options(name, strategy, epochs=2)))
    (result,) = (m for m in metrics if isinstance(m, FinetuneResult))
    samples = [m for m in metrics if isinstance(m, MemorySample)]
    *_, last = (m for m in metrics if isinstance(m, Selection))
    assert last.predicted == result.peak_memory
    assert last.predicted is not None
    assert last.frozen_part is not None
    if last.frozen_part.once:
        assert last.predicted.cache > 0
        assert {sample.peak.cache for sample in samples} == {last.predicted.cache}
    else:
        assert (name, strategy) == ("pocket-mobilenetv2", "adabet")  # the first layer trains


def test_the_prediction_knows_a_batch_larger_than_the_training_set() -> None:
    run = options("pocket-vgg", "head", epochs=2, batch_size=100)
    metrics: list[object] = list(Training(run))
    (result,) = (m for m in metrics if isinstance(m, FinetuneResult))
    *_, last = (m for m in metrics if isinstance(m, Selection))
    assert last.predicted == result.peak_memory
    assert result.peak_memory is not None
    assert result.peak_memory.cache


def test_the_seed_decides_the_weights() -> None:
    def weights(seed: int) -> dict[str, Tensor]:
        training = Training(options("pocket-vgg", "last", seed=seed, augmentation="flip-crop"))
        list(training)
        assert training._model is not None
        return state_of(training._model)

    first, again, other = weights(1), weights(1), weights(2)
    assert all(same_bits(first[name], again[name]) for name in first)
    assert not same_bits(first["classifier.3.weight"], other["classifier.3.weight"])


def test_the_seed_draws_the_training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def keep(_: object, train: TensorImages, *__: object, **___: object) -> Iterator[None]:
        drawn.append(train.tensor)
        return iter(())

    monkeypatch.setattr("analysis.training.fine_tune.finetune", keep)
    for seed in (1, 2):
        list(Training(options("pocket-vgg", "head", seed=seed)))
    for seed, tensor in zip((1, 2), drawn, strict=True):
        images = load_dataset("digits", split="train").sample(24, seed=seed).images
        assert torch.equal(tensor, prepare_images("pocket-vgg", images))
    assert not torch.equal(*drawn)


def test_random_weights_are_the_analysed_ones() -> None:
    """The run's seed decides the order of images, the analysis' seed the network."""
    run = RunOptions(
        analysis=AnalysisOptions(model="pocket-vgg", weights="random", samples=8, seed=3),
        strategy="head",
        train_samples=8,
        recipe=Recipe(epochs=1, seed=4),
    )
    training = Training(run)
    list(training)
    expected = load_model("pocket-vgg", weights="random", seed=3).state_dict()
    assert training._model is not None
    state = training._model.state_dict()
    assert all(same_bits(state[k], expected[k]) for k in state if not k.startswith("classifier.3"))


def test_all_problems_are_reported_before_anything_is_loaded() -> None:
    run = RunOptions(
        analysis=AnalysisOptions(model="mine", dataset="cats", shift="fog"),
        strategy="mine",
        normalization="size",
    )
    with pytest.raises(OptionError) as error:
        Training(run)
    for name in ("strategy", "normalization", "model", "dataset", "shift"):
        assert f"`{name}` must be one of" in str(error.value)
    with pytest.raises(OptionError, match="`train_samples` must be at most 1078, got 1079"):
        Training(RunOptions(train_samples=1079))
    Training(RunOptions(train_samples=1078))


@pytest.mark.parametrize("stopped", [False, True])
def test_the_allocators_cache_is_freed_when_a_training_ends(
    stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[torch.device] = []
    monkeypatch.setattr("analysis.training.fine_tune.free_cache", freed.append)
    training = Training(options("pocket-vgg", "head"))
    events = iter(training)
    next(events)
    next(events)
    assert freed == []
    if stopped:
        events.close()  # type: ignore[attr-defined]
    else:
        list(events)
    assert [device.type for device in freed] == [training.device]


def test_choosing_gradients_are_in_full_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    def look(*arguments: Any, **named: Any) -> Any:
        seen.append(torch.backends.cudnn.allow_tf32)
        return gradient_evidence(*arguments, **named)

    assert torch.backends.cudnn.allow_tf32
    monkeypatch.setattr("analysis.training.choosing.gradient_evidence", look)
    next(iter(Training(options("pocket-vgg", "fisher"))))
    assert seen == [False]


def test_weights_in_another_memory_format_are_saved(tmp_path: Path) -> None:
    training = Training(options("pocket-vgg", "head"))
    list(training)
    assert training._model is not None
    training._model.to(memory_format=torch.channels_last)
    training.save_weights(tmp_path / "weights.safetensors")
    saved = safetensors.torch.load_file(tmp_path / "weights.safetensors")
    assert all(same_bits(saved[k], v) for k, v in training._model.state_dict().items())


def test_saved_weights_are_the_trained_ones(tmp_path: Path) -> None:
    training = Training(options("pocket-vgg", "head"))
    with pytest.raises(TrainingError, match="no weights to save before the training has started"):
        training.save_weights(tmp_path / "early.safetensors")
    assert list(tmp_path.iterdir()) == []
    list(training)
    path = tmp_path / "weights.safetensors"
    training.save_weights(path)
    assert training._model is not None
    saved = safetensors.torch.load_file(path)
    assert saved.keys() == training._model.state_dict().keys()
    assert all(same_bits(saved[k], v) for k, v in training._model.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]
    with pytest.raises(StoreError, match="could not be saved"):
        training.save_weights(path / "inside a file")
