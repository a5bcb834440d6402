"""What the paper is known to claim. None of it is measured here.

Source: AdaBet (arXiv 2510.03101), v1 of October 2025 and v2 of March 2026.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MEMORY_MODEL = "analytic model after TinyTL: frozen weights at 4 bit, batches of 8"
_PETS_SAVINGS = {"resnet50": 66.3, "vit_b_16": 75.8, "mobilenet_v2": 14.7, "vgg16": 5.7}
_DATASETS = ("dogs", "pets", "cub", "flowers")
_PAIRS = frozenset((model, dataset) for model in _PETS_SAVINGS for dataset in _DATASETS)


@dataclass(frozen=True)
class PaperClaim:
    """One of the paper's numbers about AdaBet on one pair."""

    saving: float  # per cent less peak training memory than full training

    @property
    def short(self) -> str:
        """For a cell of a table whose heading names the memory model."""
        return f"−{self.saving:g} %"


_ACCURACY = (
    "accuracy 2.5 % above gradient-based baselines on average over its sixteen pairs (v2; v1 said "
    "5 %)"
)
_MEMORY = "peak memory 40 % lower than full training: the mean of the four models on Pets"


def claim_for(model: str, dataset: str) -> PaperClaim | None:
    """The paper's claim about AdaBet's memory on a pair; None where no claim is known.

    Parameters
    ----------
    model, dataset : str
        As registered. There is no claim about shifted datasets.
    """
    if dataset != "pets" or model not in _PETS_SAVINGS:
        return None
    return PaperClaim(_PETS_SAVINGS[model])


def average_claims(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The paper's averages whose pairs are all here: sixteen for accuracy, four for memory."""
    here = set(pairs)
    claims = {_ACCURACY: _PAIRS, _MEMORY: {(model, "pets") for model in _PETS_SAVINGS}}
    return tuple(claim for claim, needed in claims.items() if here >= needed)
