"""Which parameters should train and get no gradient, and why."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from analysis.text import first_of
from analysis.training.freezing import owner_of
from analysis.training.metrics import GradientGap

# torch says so itself when a reentrant checkpoint can pass no gradient on.
_REENTRANT = "None of the inputs have requires_grad=True"
_WHY_REENTRANT = (
    "The network recomputes them with reentrant checkpointing, which passes no gradient on where "
    "nothing before it trains: give `checkpoint` the argument use_reentrant=False."
)
_WHY = (
    "What they give does not reach the loss, or is detached or computed without gradients: change "
    "the network, or choose other layers."
)


class GradientWatch:
    """Watches the parameters that should train for those that have had no gradient so far."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._without = {p for p in model.parameters() if p.requires_grad}
        self._reported = GradientGap()
        self._warnings: list[warnings.WarningMessage] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen for torch's warning about reentrant checkpoints; all warnings are passed on."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._warnings = caught
            yield
        for warning in caught:
            if _REENTRANT not in str(warning.message):
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )

    def look(self) -> None:
        """After a backward pass: drop the parameters that have a gradient."""
        if self._without:
            self._without = {p for p in self._without if p.grad is None}

    def gap(self) -> GradientGap | None:
        """The parameters without a gradient so far, if they are others than when last asked."""
        named = self._model.named_parameters(remove_duplicate=False)
        names = tuple(name for name, parameter in named if parameter in self._without)
        if names == self._reported.parameters:
            return None
        self._reported = GradientGap(names, self.sentence(names) if names else "")
        return self._reported

    def sentence(self, names: Iterable[str]) -> str:
        """Which modules got no gradient, and why."""
        modules = dict.fromkeys(owner_of(name) or name for name in names)
        verb = "it does" if len(modules) == 1 else "they do"
        why = self._why()
        if len(modules) == 1:
            why = why.replace("What they give", "What it gives").replace(" them ", " it ")
        return f"No gradient reaches {first_of(modules)}, so {verb} not train. {why}"

    def nothing_trains(self) -> str:
        """The sentence if no gradient reaches anything that should train."""
        return f"No gradient reaches any of the layers that should train. {self._why()}"

    def _why(self) -> str:
        reentrant = any(_REENTRANT in str(warning.message) for warning in self._warnings)
        return _WHY_REENTRANT if reentrant else _WHY
