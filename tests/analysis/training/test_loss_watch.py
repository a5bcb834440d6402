"""A loss that diverges or stands still is named at once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.training.fine_tune import Training
from analysis.training.loop import finetune
from analysis.training.loss_watch import LossWatch
from analysis.training.metrics import LossNote, Selection, StepMetrics
from tests.factories import two_classes


class Times(nn.Module):
    """Outputs a number of times as large."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def notes(last: nn.Module | None = None, *, rate: float = 0.05) -> list[tuple[int, str]]:
    """The notes of a training, with the number of steps before each."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 2), last or nn.Identity())
    splits = [two_classes(12, seed=seed) for seed in range(3)]
    recipe = Recipe(epochs=3, batch_size=4, learning_rate=rate)
    steps, found = 0, []
    for item in finetune(model, *splits, recipe=recipe):
        steps += isinstance(item, StepMetrics)
        if isinstance(item, LossNote):
            found.append((steps, item.text))
    return found


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (nn.Softmax(1), "The network ends in softmax, so its loss can hardly fall."),
        (nn.Sigmoid(), "All outputs of the network lie from 0 to 1"),
        (Times(1e13), "where guessing gives 0.69"),
    ],
)
def test_it_is_said_with_the_first_step(last: nn.Module, words: str) -> None:
    (before, text), *_ = notes(last)
    assert before == 0  # the step itself follows
    assert words in text


def test_outputs_that_never_change_are_said_within_three_steps() -> None:
    (before, text), *_ = notes(Times(0.0))
    assert before == 2
    assert text.startswith("The loss stands still at 0.693")


def test_steps_that_are_too_small_are_said_after_the_second_epoch() -> None:
    ((before, text),) = notes(rate=1e-12)
    assert before == 6
    assert text.startswith("The loss stands still at")


def test_a_training_that_diverges_is_said_before_it_ends() -> None:
    (before, text), *_ = notes(rate=1e6)
    assert before < 8
    assert "the training diverged" in text


@pytest.mark.parametrize("last", [nn.Identity(), nn.LogSoftmax(1), nn.ReLU(), nn.Tanh()])
def test_a_training_that_gets_somewhere_has_no_note(last: nn.Module) -> None:
    assert notes(last) == []


class Column(nn.Module):
    """A sigmoid whose numbers are moved and converted afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid()[:, :, None].double().squeeze(2).float()


def test_a_sigmoid_is_seen_behind_what_only_moves_its_numbers() -> None:
    (_, text), *_ = notes(Column())
    assert text.startswith("All outputs of the network lie from 0 to 1")


def test_logits_that_lie_between_0_and_1_by_chance_have_no_note() -> None:
    class Near(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 + x / 100

    assert notes(Near()) == []


def losses(watch: LossWatch, *values: float) -> list[str]:
    found = []
    for value in values:
        watch.step(torch.tensor([[-1.0, 2.0], [0.5, -3.0]]), value)
        if (note := watch.note()) is not None:
            found.append(note)
    return found


def test_one_high_step_is_no_divergence_and_a_recovery_is_said() -> None:
    watch = LossWatch()
    assert losses(watch, 0.7, 90.0, 0.6, 0.5) == []
    (note,) = losses(watch, 90.0, 91.0, 92.0, 93.0)
    assert note == ("The loss rose from 0.7 to 92: the training diverged. Lower the learning rate.")
    losses(watch, 0.4)
    watch.epoch(0.4)
    assert watch.note() == ""


def test_a_fit_that_is_perfect_may_stand_still() -> None:
    assert losses(LossWatch(), *[1e-9] * 5) == []
    assert math.isclose(0.7, 0.7 * (1 + 1e-7), rel_tol=1e-6)
    assert len(losses(LossWatch(), 0.7, 0.7, 0.7)) == 1


def test_the_run_carries_the_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build(num_classes=10):\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(12, num_classes), nn.Softmax(1))\n"
        "    net.input_size = 2\n"
        "    return net\n"
    )
    analysis = AnalysisOptions(model=f"{tmp_path / 'net.py'}:build", samples=8)
    options = RunOptions(
        analysis, strategy="full", train_samples=8, recipe=Recipe(epochs=1, batch_size=4)
    )
    first, *others = [item for item in Training(options) if isinstance(item, Selection)]
    assert first.note == ""
    assert [s.note.partition(",")[0] for s in others] == ["The network ends in softmax"]
    assert others[0].layers == first.layers
