"""Whether a training gets anywhere: a loss that diverges or stands still, and why."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from analysis.instruments.outputs import first_tensor

_START = 100.0  # times the loss of guessing, above which outputs are no logits
_RISE = 5.0  # times the first loss, above which the training diverged
_RECENT = 3  # steps that decide whether it did
_STILL = 1e-6  # of the loss: less than this is no change
_PERFECT = 1e-3  # nats, below which a loss need not fall
# What autograd calls the operations that keep any number between 0 and 1, and those that only move
# or convert numbers, which may follow.
_SQUASHING = {"Sigmoid", "Hardsigmoid", "Clamp", "Hardtanh"}
_MOVING = {"View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Permute", "Transpose", "T",
           "ToCopy", "Clone", "Slice", "Select", "Alias"}  # fmt: skip


class LossWatch:
    """Watches the losses of one training."""

    def __init__(self) -> None:
        self._guessing = self._first = math.nan
        self._outputs = self._risen = self._reported = ""
        self._least, self._most, self._steps = math.inf, -math.inf, 0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._validated: list[float] = []
        self._squashes = False

    @contextmanager
    def listening(self, network: nn.Module) -> Iterator[None]:
        """During the first step: see whether the network ends in a sigmoid."""

        def look(_module: nn.Module, _inputs: object, output: object) -> None:
            self._squashes = _is_squashed(first_tensor(output))

        hook = network.register_forward_hook(look)
        try:
            yield
        finally:
            hook.remove()

    def step(self, logits: Tensor, loss: float) -> None:
        """After a step: the outputs for its batch, (N, classes), and their loss."""
        self._steps += 1
        self._recent.append(loss)
        self._least, self._most = min(self._least, loss), max(self._most, loss)
        if self._steps == 1:
            self._guessing, self._first = math.log(max(2, logits.shape[1])), loss
            self._outputs = _about_outputs(logits, self._squashes)
        usual = max(self._guessing, self._first)
        is_high = len(self._recent) == _RECENT and min(self._recent) > _RISE * usual
        if is_high and not self._risen:
            self._risen = (
                f"The loss rose from {self._first:.3g} to {loss:.3g}: the training diverged. Lower "
                "the learning rate."
            )

    def epoch(self, loss: float) -> None:
        """After an epoch: the validation loss."""
        self._validated.append(loss)
        usual = max(self._guessing, self._first)
        if min(self._recent) <= _RISE * usual:
            self._risen = ""  # it has recovered

    def note(self) -> str | None:
        """What there is to say, if it is something else than when last asked."""
        note = self._outputs or self._risen or self._high_start() or self._standstill()
        if note == self._reported:
            return None
        self._reported = note
        return note

    def _high_start(self) -> str:
        if self._first <= _START * self._guessing or self._recent[-1] <= self._guessing:
            return ""
        return (
            f"The loss began at {self._first:.3g}, where guessing gives {self._guessing:.2g}. "
            "Check how large the network's outputs are, and how its images are prepared."
        )

    def _standstill(self) -> str:
        steps = self._steps >= _RECENT and _same(self._least, self._most)
        epochs = len(self._validated) > 1 and _same(min(self._validated), max(self._validated))
        loss = self._validated[0] if epochs else self._first
        if loss < _PERFECT or not (steps or epochs):
            return ""
        return (
            f"The loss stands still at {loss:.3g}: the steps do not change what the network gives. "
            "Raise the learning rate, or choose other layers."
        )


def _same(least: float, most: float) -> bool:
    return most - least <= _STILL * most


def _is_squashed(output: Tensor | None) -> bool:
    """Whether the last operation that computed something was a sigmoid, or the like."""
    node = None if output is None else output.grad_fn
    while node is not None:
        name = node.name().rstrip("0123456789").removesuffix("Backward")
        if name not in _MOVING:
            return name in _SQUASHING
        node = node.next_functions[0][0]
    return False


def _about_outputs(logits: Tensor, squashes: bool) -> str:
    outputs = logits.float()
    if outputs.min() < 0 or outputs.max() > 1:
        return ""
    if ((outputs.sum(1) - 1).abs() < 1e-3).all():
        return (
            "The network ends in softmax, so its loss can hardly fall. Return the logits from its "
            "forward pass, without softmax."
        )
    # Logits may lie there by chance. Standing still is another matter.
    if not squashes or outputs.max() - outputs.min() < 1e-6:
        return ""
    return (
        "All outputs of the network lie from 0 to 1, so its loss can hardly fall. Return the "
        "logits from its forward pass, without sigmoid."
    )
