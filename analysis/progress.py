"""How far a piece of work is, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far an analysis is."""

    stage: str  # what is being done, for the person
    layer: str  # or the file that is being fetched
    done: int  # steps, of `total`: a step a layer in each forward pass and then for topology
    total: int  # 0: not known
    layers: int = 0  # of the model; 0: the steps are not layers, but bytes, say

    @property
    def amount(self) -> str:
        """How much of a download is there, as "12 of 98 MB"; empty of other work."""
        if self.stage != "Download":
            return ""
        of = f" of {self.total / 1e6:,.0f}" if self.total else ""
        return f"{self.done / 1e6:,.0f}{of} MB"


ProgressCallback = Callable[[Progress], None]
