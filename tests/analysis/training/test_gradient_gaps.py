"""Layers that should train and get no gradient: unchanged, and said."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from analysis.errors import TrainingError
from analysis.options import Recipe
from analysis.selection.ranking import rank
from analysis.training.choosing import without_gradient
from analysis.training.freezing import freeze
from analysis.training.gradients import gradient_evidence
from analysis.training.loop import finetune
from analysis.training.metrics import GradientGap, Selection
from tests.factories import same_bits, state_of, two_classes


class Gapped(nn.Module):
    """Layers a and b, whose output may be withheld, and the head h."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.a, self.b, self.h = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        result: Tensor
        match self.kind:
            case "reentrant":
                for layer in (self.a, self.b):
                    x = checkpoint(layer, x, use_reentrant=True).relu()
            case "detached":
                x = self.b(self.a(x)).relu().detach()
            case "no_grad":
                with torch.no_grad():
                    x = self.b(self.a(x)).relu()
            case "unused":
                self.b(x)
                x = self.a(x)
            case "sometimes":  # only every other step
                x = self.b(x) if self.calls % 2 == 0 else x
            case "never":
                return self.h(self.b(x)).detach()
        result = self.h(x)
        return result


def metrics_of(model: nn.Module, *, optimizer: str = "sgd", trained: str = "bh") -> list[object]:
    freeze(model, [f"{layer}.{part}" for layer in trained for part in ("weight", "bias")])
    splits = [two_classes(8, seed=seed) for seed in range(3)]
    recipe = Recipe(epochs=2, batch_size=4, weight_decay=0.9, optimizer=optimizer)  # type: ignore[arg-type]
    return list(finetune(model, *splits, recipe=recipe))


def gaps_of(metrics: list[object]) -> list[GradientGap]:
    return [metric for metric in metrics if isinstance(metric, GradientGap)]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("kind", ["reentrant", "detached", "no_grad", "unused"])
def test_a_layer_without_a_gradient_keeps_every_bit_and_is_named(kind: str, optimizer: str) -> None:
    model = Gapped(kind)
    before = state_of(model)
    (gap,) = gaps_of(metrics_of(model, optimizer=optimizer))
    assert gap.parameters == ("b.weight", "b.bias")
    assert gap.why.startswith("No gradient reaches b, so it does not train.")
    assert ("use_reentrant=False" in gap.why) == (kind == "reentrant")
    moved = {n for n, value in model.state_dict().items() if not same_bits(value, before[n])}
    assert moved == {"h.weight", "h.bias"}


def test_a_layer_with_gradients_in_some_steps_is_not_named_in_the_end() -> None:
    first, last = gaps_of(metrics_of(Gapped("sometimes")))
    assert first.parameters == ("b.weight", "b.bias")
    assert last == GradientGap()


def test_no_gap_without_a_gap() -> None:
    assert gaps_of(metrics_of(Gapped("unused"), trained="ah")) == []


@pytest.mark.parametrize("kind", ["never", "reentrant"])
def test_where_nothing_gets_a_gradient_training_is_refused(kind: str) -> None:
    trained = "bh" if kind == "never" else "b"
    with pytest.raises(TrainingError, match="No gradient reaches any of the layers") as raised:
        metrics_of(Gapped(kind), trained=trained)
    assert ("use_reentrant=False" in str(raised.value)) == (kind == "reentrant")


def test_the_selection_leaves_out_what_does_not_train() -> None:
    model = Gapped("detached")
    freeze(model, ["b.weight", "b.bias", "h.weight", "h.bias"])
    chosen = Selection(("b", "h"), 42 + 14, 98, 0.0, 0, False, False)
    gap = GradientGap(("b.weight", "b.bias"), "Why.")
    selection = without_gradient(model, chosen, gap)
    assert selection.layers == ("h",)
    assert selection.trainable_parameters == 14
    assert selection.without_gradient == ("b",)
    assert selection.note == "Why."
    assert without_gradient(model, chosen, GradientGap()) == chosen
    # A layer of which a part trains has trained.
    part = without_gradient(model, chosen, GradientGap(("b.bias",), "Why."))
    assert part.layers == ("b", "h")
    assert part.without_gradient == ()
    assert part.trainable_parameters == 36 + 14


@pytest.mark.parametrize("kind", ["reentrant", "detached", "no_grad"])
def test_strategies_do_not_rank_what_gradients_do_not_reach(kind: str) -> None:
    images, labels = torch.randn(5, 6), torch.arange(5) % 2
    evidence = gradient_evidence(Gapped(kind), images, labels, ["a", "b", "h"], batch_size=2)
    for column in ("fisher", "relative"):
        assert [math.isnan(value) for value in evidence[column]] == [True, True, False]
        assert rank(evidence[column]).isna().tolist() == [True, True, False]
