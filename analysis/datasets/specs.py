"""The description of a dataset, and the content that its loader returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.datasets.image_files import FileImages
from analysis.datasets.splits import Labels, Splits
from analysis.options import Split
from analysis.progress import ProgressCallback

Images = NDArray[np.float32]  # (N, C, H, W), values in [0, 1]
Bytes = NDArray[np.uint8]  # (N, C, H, W), values up to 255


class Content(NamedTuple):
    """A whole dataset. Its images always come in the same order."""

    images: Images | Bytes | FileImages
    labels: Labels  # positions in the class names; all 0 without any
    splits: Callable[[int], Splits]  # from a seed


class Loader(Protocol):
    def __call__(self, progress: ProgressCallback | None = None) -> Content: ...


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset."""

    name: str
    title: str
    description: str  # one line
    class_names: tuple[str, ...]  # empty: the images have no labels
    image_shape: tuple[int, int, int] | None  # channels, height, width; None: they differ
    sizes: dict[Split, int]  # images
    licence: str
    source: str
    load: Loader
    fingerprint: Callable[[], str]  # a name for the data's exact content, as it is now
    why_untrainable: str = ""  # a sentence; empty if fine-tuning is possible
    megabytes: int = 0  # to download on first use, approximately
    skipped: tuple[tuple[str, str], ...] = ()  # files left out, with the reason
    others: tuple[tuple[str, str], ...] = ()  # files that are no images, with that reason
    notes: tuple[str, ...] = ()  # sentences: how the images were read, and what was guessed

    @property
    def size(self) -> int:
        """Number of images in all splits."""
        return sum(self.sizes.values())
