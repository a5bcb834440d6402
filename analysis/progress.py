"""The progress of a piece of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How much of an analysis, a download or other work is done."""

    stage: str  # what is being done, for the user
    layer: str  # or the file that is being downloaded
    done: int  # steps of `total`: one per layer in each forward pass, and one for its topology
    total: int  # 0: unknown
    layers: int = 0  # of the model; 0: the steps are something else, such as bytes

    @property
    def amount(self) -> str:
        """How much of a download is done, as "12 of 98 MB"; empty for other work."""
        if self.stage != "Download":
            return ""
        of = f" of {self.total / 1e6:,.0f}" if self.total else ""
        return f"{self.done / 1e6:,.0f}{of} MB"


ProgressCallback = Callable[[Progress], None]
