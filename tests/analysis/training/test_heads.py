"""Fine-tuning gives a backbone a head, takes the head that is named, and refuses a guess."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from analysis.errors import ModelError, OptionError, TrainingError
from analysis.models import checkpoint_notes, load_model
from analysis.models.loading import empty_network
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.topology.pipeline import analyze_named
from analysis.training.fine_tune import Training
from analysis.training.metrics import Selection
from analysis.training.prediction import predict_peak
from analysis.training.snippet import snippet

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    input_size = 8

    def __init__(self, rule):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.a, self.b, self.decode = nn.Linear(6, 5), nn.Linear(6, 5), nn.Conv2d(6, 3, 1)
        self.rule = rule

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu()
        return self.rule(self, x, x.mean((2, 3)))

def features():
    return Net(lambda net, x, z: z)

def places():
    return Net(lambda net, x, z: x)

def tokens():
    return Net(lambda net, x, z: x.flatten(2).transpose(1, 2))

def sequential():
    net = Net(None)
    body = nn.Sequential(net.first, nn.ReLU(), net.second, nn.ReLU())
    body.input_size = 8
    return body

def children():
    class Runs(nn.Sequential):
        def forward(self, x):
            for child in self.children():
                x = child(x)
            return x
    body = Runs(*sequential(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    body.input_size = 8
    return body

def unclear():
    return Net(lambda net, x, z: net.a(z) + net.b(z))

def classes(num_classes=5):
    return unclear()

def unseen():
    return Net(lambda net, x, z: net.a.forward(z))

def reconstructs():
    def rule(net, x, z):
        y = net.a(z)
        net.picture = net.decode(x)
        return y
    return Net(rule)
"""


@pytest.fixture
def own(tmp_path: Path, home: Path) -> str:
    (tmp_path / "net.py").write_text(CODE)
    return f"{tmp_path / 'net.py'}:"


def selection_of(options: RunOptions) -> Selection:
    selection = next(item for item in Training(options) if isinstance(item, Selection))
    return selection


def options(
    model: str, strategy: str = "head", head: str = "", preset: str = "recommended"
) -> RunOptions:
    return RunOptions(
        AnalysisOptions(model=model, weights="random", samples=6, head=head),
        strategy=strategy,
        rho=0.5,
        preset=preset,
        train_samples=8,
        recipe=Recipe(epochs=1, batch_size=4),
    )


@pytest.mark.parametrize("function", ["features", "places", "tokens", "sequential", "children"])
def test_a_backbone_gets_a_linear_head(own: str, function: str) -> None:
    model = load_model(f"{own}{function}", num_classes=3)
    x = torch.randn(2, 3, 8, 8)
    backbone = load_model(f"{own}{function}")
    with torch.no_grad():
        output = backbone(x)
        features = output.mean(1) if output.dim() == 3 else output.reshape(2, 6, -1).mean(2)
        right = model.get_submodule("new_classifier")(features)
        torch.testing.assert_close(model(x), right)
    assert right.shape == (2, 3)
    empty = empty_network(f"{own}{function}", 3)
    assert predict_peak(empty, (3, 8, 8), trained={"new_classifier.weight"}).total > 0


@pytest.mark.parametrize("function", ["features", "sequential"])
def test_weights_with_an_added_head_load_again(own: str, function: str, tmp_path: Path) -> None:
    name, x = f"{own}{function}", torch.randn(2, 3, 8, 8)
    trained = load_model(name, num_classes=3, seed=5)
    torch.save(trained.state_dict(), tmp_path / "mine.pt")
    weights = f"file:{tmp_path / 'mine.pt'}"
    assert checkpoint_notes(name, weights) == ()
    with torch.no_grad():
        assert load_model(name, weights=weights)(x).equal(trained(x))
        for head in ("", "none"):
            other = load_model(name, weights=weights, num_classes=4, head=head)
            assert other(x).shape == (2, 4)


@pytest.mark.parametrize("preset", ["recommended", "paper"])
def test_a_backbone_trains_with_its_new_head(own: str, preset: str) -> None:
    chosen = options(f"{own}features", "adabet", preset=preset)
    report = analyze_named(chosen.analysis)
    assert report.head is None
    assert report.names == ["first", "second"]
    assert "This network has no classifier" in report.warnings()[0]
    training = Training(chosen)
    items = list(training)
    selection = items[0]
    assert isinstance(selection, Selection)
    assert len(selection.layers) == 2
    assert selection.layers[1] == "new_classifier"
    assert "has no classifier, so a new linear one, new_classifier" in selection.note
    assert "new_classifier" in snippet(chosen, selection)


def test_an_unclear_head_is_refused_and_can_be_named(own: str) -> None:
    name = f"{own}unclear"
    assert "not clear which layer" in analyze_named(options(name).analysis).warnings()[0]
    with pytest.raises(ModelError, match=r"depends on a, b\. Name one with --head"):
        selection_of(options(name))
    with pytest.raises(TrainingError, match="not clear"):  # it takes the number of classes itself
        selection_of(options(f"{own}classes"))
    selection = selection_of(options(name, head="none"))
    assert selection.layers == ("new_classifier",)
    # A new head of another width no longer fits the other layer; of the same width, it does.
    assert load_model(name, num_classes=5, head="b").get_submodule("b").out_features == 5
    assert analyze_named(options(name, head="b").analysis).head == "b"


def test_a_head_that_no_hook_sees_trains_once_it_is_named(own: str) -> None:
    chosen = options(f"{own}unseen", head="a")
    training = Training(chosen)
    selection = next(iter(training))
    assert isinstance(selection, Selection)
    assert selection.layers == ("a",)
    assert selection.trainable_parameters == 10 * 7  # ten digits


def test_what_runs_last_is_not_the_head(own: str) -> None:
    name = f"{own}reconstructs"
    assert analyze_named(options(name).analysis).head == "a"
    assert selection_of(options(name)).layers == ("a",)
    model = load_model(name, num_classes=3)
    assert model.get_submodule("a").out_features == 3
    assert model.get_submodule("decode").out_channels == 3


def test_the_head_is_part_of_the_key_only_if_it_is_named() -> None:
    plain = AnalysisOptions()
    assert "head" in plain.idle()
    assert "head" not in AnalysisOptions(head="fc").idle()
    with pytest.raises(OptionError, match="`head` must be fc for pocket-resnet20, or left out"):
        load_model("pocket-resnet20", head="layer1")
