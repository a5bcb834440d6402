"""Images and their classes, as a training reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class LabelledImages(Protocol):
    """Images ready for the model, and their classes."""

    @property
    def labels(self) -> Tensor:
        """int64 (N,)."""

    def images(self, indices: Tensor) -> Tensor:
        """Floating (len(indices), C, H, W)."""


@dataclass(frozen=True, eq=False)
class TensorImages:
    """Labelled images in memory."""

    tensor: Tensor  # floating (N, C, H, W), preprocessed for the model
    labels: Tensor  # int64 (N,)

    def images(self, indices: Tensor) -> Tensor:
        return self.tensor[indices]
