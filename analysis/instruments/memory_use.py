"""Bytes of live tensors, by purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

MemoryKind = Literal["parameters", "gradients", "optimizer", "activations", "other"]
MEMORY_KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)
LedgerKind = MemoryKind | Literal["cache"]


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of live tensors at one moment, by purpose."""

    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0  # the optimiser's state
    activations: int = 0  # kept for the backward pass
    other: int = 0  # buffers, the batch, and temporary results
    # Kept results of the frozen part. Not in `total`: they buy time, and can be switched off.
    cache: int = 0

    @property
    def total(self) -> int:
        """What a step of training needs, by which methods are compared."""
        return self.parameters + self.gradients + self.optimizer + self.activations + self.other
