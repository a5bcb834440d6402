"""The exported code trains odd networks element by element as the run did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from analysis.datasets import load_dataset
from analysis.models import load_model, prepare_images
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.runs.records import _selection
from analysis.runs.store import to_json
from analysis.training.fine_tune import Training
from analysis.training.metrics import Selection
from analysis.training.snippet import snippet
from tests.factories import same_bits, state_of

CODE = """
import torch
from torch import nn
from torch.nn.functional import linear
from torch.nn.utils import parametrize, parametrizations

class Half(nn.Module):
    def forward(self, weight):
        return weight / 2

class Attention(nn.Module):
    "Calls what is inside functionally."
    def __init__(self):
        super().__init__()
        self.scale, self.inner = nn.Parameter(torch.ones(12)), nn.Linear(12, 12)
    def forward(self, x):
        return linear(x, self.inner.weight, self.inner.bias) * self.scale

class Torchs(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(12, 2, batch_first=True)
    def forward(self, x):
        x = x[:, None]
        return self.attn(x, x, x)[0][:, 0]

class Again(nn.Module):
    "One module under two names, each called."
    def __init__(self):
        super().__init__()
        self.one = self.two = nn.Linear(12, 12)
        self.norm = nn.BatchNorm1d(12)
    def forward(self, x):
        return self.two(self.norm(self.one(x)))

def tied():
    first, second = nn.Linear(12, 12, bias=False), nn.Linear(12, 12)
    second.weight = first.weight
    return nn.Sequential(first, nn.BatchNorm1d(12), second)

class Dict(nn.ModuleDict):
    "Runs whatever it has, and returns a dict, as torchvision's IntermediateLayerGetter."
    def forward(self, x):
        outputs = {}
        for name, module in self.items():
            x = outputs[name] = module(x)
        return {"places": outputs["conv"]}

def headless(kind):
    conv = nn.Conv2d(3, 6, 1, bias=False)
    if kind == "headless sequence":
        net = nn.Sequential(conv, nn.BatchNorm2d(6), nn.Tanh())
    elif kind == "headless row of places":
        net = nn.Sequential(conv, nn.Tanh(), nn.Flatten(2), nn.Linear(4, 6), nn.Tanh())
    else:
        net = Dict({"norm": nn.BatchNorm2d(3), "conv": conv})
    net.input_size = 2
    return net

def halved(module, name="weight"):
    parametrize.register_parametrization(module, name, Half())
    return module

MIDDLES = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(12, 12)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(12, 12)),
    "parametrised": lambda: halved(nn.Linear(12, 12)),
    "parametrised norm": lambda: halved(nn.LayerNorm(12)),
    "old weight norm": lambda: nn.utils.weight_norm(nn.Linear(12, 12)),
    "tied": tied,
    "shared": Again,
    "attention": Torchs,
    "own attention": Attention,
}

def build():
    return headless(KIND) if KIND.startswith("headless") else whole(MIDDLES[KIND](), 10)

def whole(middle, num_classes):
    net = nn.Sequential()
    net.stem = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 12, bias=False), nn.BatchNorm1d(12), nn.Tanh()
    )  # a bias before a norm would have gradients of rounding
    net.middle = middle
    net.fc = nn.Linear(12, num_classes)
    net.input_size = 2
    return net
"""
KINDS = ["weight norm", "spectral norm", "parametrised", "parametrised norm", "old weight norm",
         "tied", "shared", "attention", "own attention"]  # fmt: skip


def compiled_inside(model: nn.Module) -> nn.Module:
    model.middle = torch.compile(model.middle, backend="eager")  # type: ignore[assignment]
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": lambda model: torch.compile(model, backend="eager"),  # type: ignore[return-value]
    "compiled inside": compiled_inside,
    "parallel": nn.DataParallel,
}


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))

    def name_of(kind: str) -> str:
        (tmp_path / "net.py").write_text(f"{CODE}\nKIND = {kind!r}\n")
        return f"{tmp_path / 'net.py'}:build"

    return name_of


def by_name(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers without the wrappers' names."""
    return {plain(name): tensor for name, tensor in state_of(model).items()}


def plain(name: str) -> str:
    return name.replace("_orig_mod.", "").removeprefix("module.").removeprefix("backbone.")


def check(
    name: str,
    strategy: str,
    *,
    start: Callable[[str], nn.Module] = lambda name: load_model(name, seed=3, num_classes=10),
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    **recipe: object,
) -> str:
    """Run both, compare every element, and return the code."""
    options = RunOptions(
        AnalysisOptions(model=name, seed=3, samples=8),
        strategy=strategy,
        rho=0.4,
        train_samples=12,
        recipe=Recipe(
            **{"epochs": 2, "batch_size": 12, "seed": 3, "weight_decay": 0.1} | recipe  # type: ignore[arg-type]
        ),
    )
    training = Training(options)
    *_, selection = [item for item in training if isinstance(item, Selection)]
    selection = _selection(to_json(selection)) or selection  # as a stored run has it
    run = training._model
    assert run is not None

    before = state_of(load_model(name, seed=3, num_classes=10))
    model = wrap(start(name))
    drawn = load_dataset("digits").sample(12, seed=3)
    batch = (prepare_images(name, drawn.images), torch.from_numpy(drawn.labels))
    code = snippet(options, selection)
    variables = {"model": model, "loader": [batch]}
    exec(code, variables)
    model = variables["model"]  # type: ignore[assignment]  # with a head, if it had none

    trains = {plain(n) for n, p in model.named_parameters() if p.requires_grad}
    assert trains == {n for n, p in run.named_parameters() if p.requires_grad}
    theirs, ours = by_name(model), state_of(run)
    assert theirs.keys() == ours.keys()
    for key, value in ours.items():
        assert same_bits(theirs[key], before[key]) == same_bits(value, before[key]), key
        torch.testing.assert_close(theirs[key], value, rtol=1e-4, atol=1e-6, msg=key)
    assert any(not same_bits(value, before[key]) for key, value in ours.items())
    return code


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_trains_every_element_of_the_run(kind: str, network: Callable[[str], str]) -> None:
    check(network(kind), "last")


@pytest.mark.parametrize("kind", ["parametrised norm", "shared"])
def test_the_code_trains_the_norms_and_biases_of_the_run(
    kind: str, network: Callable[[str], str]
) -> None:
    check(network(kind), "bn-bias")


@pytest.mark.parametrize(
    ("wrapper", "kind"),
    [("compiled", "weight norm"), ("compiled inside", "shared"), ("parallel", "tied")],
)
def test_the_code_takes_a_model_in_a_wrapper(
    kind: str, wrapper: str, network: Callable[[str], str]
) -> None:
    check(network(kind), "last", wrap=WRAPPERS[wrapper], optimizer="adamw")


HEADLESS = ["headless sequence", "headless row of places", "headless dict"]


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [*((kind, "last") for kind in HEADLESS), (HEADLESS[0], "full"), (HEADLESS[2], "bn-bias")],
)
def test_the_code_puts_the_run_s_head_behind_a_backbone(
    kind: str, strategy: str, network: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the numbers that the run drew for its head, all that follows is the same."""
    name = network(kind)
    head = load_model(name, seed=3, num_classes=10).get_submodule("new_classifier").state_dict()

    def start(name: str) -> nn.Module:
        backbone = load_model(name, seed=3)
        monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: self.load_state_dict(head))
        return backbone

    code = check(name, strategy, start=start, epochs=1)
    assert "which gets a new linear head here" in code


def test_an_older_run_still_has_its_code(network: Callable[[str], str]) -> None:
    """It has neither the head nor the modules inside."""
    name = network("attention")
    code = check(name, "last")
    assert '"middle.attn.out_proj"' in code
    older = Selection(("middle.attn", "fc"), 1, 2, 0.0, 0, False, False)
    options = RunOptions(AnalysisOptions(model=name), strategy="last")
    model = load_model(name, num_classes=10)
    batch = (torch.randn(4, 3, 2, 2), torch.arange(4))
    exec(snippet(options, older), {"model": model, "loader": [batch]})
    trained = {n.rpartition(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {"middle.attn", "middle.attn.out_proj", "fc"}
    assert "middle.attn.out_proj" not in snippet(options, replace(older, inner=()))
