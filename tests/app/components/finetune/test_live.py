"""The time left of a running training, by known answers."""

from __future__ import annotations

from analysis.training.metrics import StepMetrics
from app.components.finetune.live import pace_text


def steps(first: float, later: float, count: int, per_epoch: int = 10) -> list[StepMetrics]:
    """Steps of 32 images that take so many seconds in the first epoch, and in later ones."""
    taken, at = [], 0.0
    for number in range(1, count + 1):
        epoch = 1 + (number - 1) // per_epoch
        at += first if epoch == 1 else later
        taken.append(StepMetrics(number, epoch, 1.0, 0.5, 0.05, 32, at, tracked=False))
    return taken


def test_steps_of_one_length() -> None:
    assert pace_text(steps(0.5, 0.5, 20), 80) == " · 64 images/s · about 30 s left"
    assert pace_text(steps(0.5, 0.5, 2), 80) == ""


def test_the_first_epoch_is_the_slow_one_where_the_frozen_part_runs_once() -> None:
    first = pace_text(steps(1.0, 0.1, 10), 80, once=True)
    assert first == " · 32 images/s · at most 70 s left"
    later = pace_text(steps(1.0, 0.1, 20), 80, once=True)
    assert later.endswith("about 6 s left")
    assert pace_text(steps(1.0, 0.1, 20), 80).endswith("about 33 s left")
