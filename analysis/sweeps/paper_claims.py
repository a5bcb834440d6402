"""What the paper claims, and nothing that it was not found to claim. None of it is measured here.

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
    """A number of the paper's about AdaBet on one pair."""

    saving: float  # per cent less peak training memory than full training

    @property
    def short(self) -> str:
        """For a cell of a table whose heading names the memory model."""
        return f"−{self.saving:g} %"


# Over all sixteen pairs together.
AVERAGE_CLAIMS = (
    "accuracy 2.5 % above gradient-based baselines on average (v2; v1 said 5 %)",
    "peak memory 40 % lower on average",
)


def claim_for(model: str, dataset: str) -> PaperClaim | None:
    """What the paper claims of AdaBet's memory on a pair, or None where it claims nothing known.

    Parameters
    ----------
    model, dataset : str
        As registered; a shifted dataset is another one, of which nothing is claimed.
    """
    if dataset != "pets" or model not in _PETS_SAVINGS:
        return None
    return PaperClaim(_PETS_SAVINGS[model])


def average_claims(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What the paper claims over its sixteen pairs; nothing unless all of them are here."""
    return AVERAGE_CLAIMS if set(pairs) >= _PAIRS else ()
