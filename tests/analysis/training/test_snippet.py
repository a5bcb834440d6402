"""The exported code runs, and trains the same parameters as the run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from analysis.datasets import load_dataset
from analysis.models import load_model, prepare_images
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.training.choosing import choose
from analysis.training.fine_tune import Training
from analysis.training.metrics import Selection
from analysis.training.snippet import snippet
from tests.factories import POCKET, same_bits, state_of

CASES = [("pocket-resnet20", name) for name in ("adabet", "head", "bn-bias", "full", "random")]
CASES += [(model, "adabet") for model in POCKET[1:]] + [("pocket-vit", "bn-bias")]


@pytest.mark.parametrize(("model_name", "strategy"), CASES)
def test_the_code_trains_the_parameters_of_the_run(model_name: str, strategy: str) -> None:
    options = RunOptions(
        AnalysisOptions(model=model_name, samples=16),
        strategy=strategy,
        rho=0.2,
        recipe=Recipe(epochs=1),
    )
    chosen = load_model(model_name, num_classes=10)
    selection = choose(chosen, options)
    expected = {name for name, p in chosen.named_parameters() if p.requires_grad}

    model = load_model(model_name, num_classes=10)
    before = {name: value.clone() for name, value in state_of(model).items()}
    torch.manual_seed(0)
    loader = [(torch.randn(8, 3, 32, 32), torch.arange(8))] * 2
    exec(
        compile(snippet(options, selection), "snippet", "exec"), {"model": model, "loader": loader}
    )

    assert {name for name, p in model.named_parameters() if p.requires_grad} == expected
    after = state_of(model)
    moved = {name for name in before if not same_bits(before[name], after[name])}
    assert moved & dict(model.named_parameters()).keys() <= expected
    assert len(moved) >= 0.9 * len(expected)  # a bias may have no gradient
    frozen = {
        name
        for name, module in model.named_modules()
        if not any(p.requires_grad for p in module.parameters(recurse=False))
    }
    assert not {name for name in moved if name.rpartition(".")[0] in frozen}


@pytest.mark.parametrize("model_name", ["pocket-resnet20", "pocket-vit"])  # no dropout in them
def test_the_code_takes_the_same_steps_as_the_run(model_name: str) -> None:
    """Same start, same batch, same recipe: the same weights."""
    options = RunOptions(
        AnalysisOptions(model=model_name, seed=3),
        strategy="last",
        train_samples=40,
        recipe=Recipe(epochs=2, batch_size=40, seed=3, weight_decay=0.1),
    )
    training = Training(options)
    events = iter(training)
    selection = next(events)
    assert isinstance(selection, Selection)
    for _ in events:
        pass
    assert training._model is not None
    model = load_model(model_name, seed=3, num_classes=10)
    drawn = load_dataset("digits").sample(40, seed=3)
    # One batch holds all the images, so their order matters to rounding only.
    batch = (prepare_images(model_name, drawn.images), torch.from_numpy(drawn.labels))
    exec(snippet(options, selection), {"model": model, "loader": [batch]})
    start = state_of(load_model(model_name, seed=3, num_classes=10))
    theirs, ours = state_of(model), state_of(training._model)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert any(not same_bits(start[name], ours[name]) for name in names)
    for name in names:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-3, atol=1e-4)


def test_the_code_names_a_ranked_head() -> None:
    options = replace(RunOptions(), preset="paper")
    selection = choose(load_model("pocket-resnet20", num_classes=10), options)
    assert selection.layers[-1] != "fc"
    assert 'a new head ("fc") for' in snippet(options, selection)


def test_the_code_names_its_origin_and_rate() -> None:
    options = replace(RunOptions(), recipe=Recipe(learning_rate=0.125, epochs=3))
    selection = choose(load_model("pocket-resnet20", num_classes=10), options)
    code = snippet(options, selection)
    assert "lr=0.125" in code
    assert "for epoch in range(3)" in code
    assert "adabet on pocket-resnet20, digits" in code


@pytest.mark.parametrize("model", ["/gone.py:build", "timm/tiny_net"])
def test_the_code_needs_no_model(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.models.names.find_spec", lambda _: None)  # as without timm
    selection = choose(load_model("pocket-resnet20", num_classes=10), RunOptions())
    options = RunOptions(AnalysisOptions(model=model))
    assert 'a new head ("fc") for' in snippet(options, selection)
    code = snippet(options, replace(selection, head=""))  # as older runs have it
    assert "a new head (the classifier) for" in code
    assert f"on {model}, digits" in code
