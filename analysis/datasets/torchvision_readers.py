"""What torchvision's dataset classes make of the archives beside which they are started.

Each reader unpacks the archives that lie in a folder as torchvision expects them, and gives the
whole dataset. torch is imported only while one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.datasets.splits import Labels
from analysis.options import SPLITS, Split


@dataclass(frozen=True, eq=False)
class Reading:
    """A whole dataset: its images are files, or an array."""

    labels: Labels
    parts: Labels  # of each image, the position of its official split in `SPLITS`
    names: tuple[str, ...] = ()  # files, relative to the folder
    pixels: NDArray[np.uint8] | None = None  # (N, C, H, W)


Reader = Callable[[Path], Reading]


def read_pets(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    make = torchvision.datasets.OxfordIIITPet
    make(root, download=True)
    found = {"train": make(root, "trainval"), "test": make(root, "test")}
    return _files(root, ((s, d._images, d._labels) for s, d in found.items()))


def read_flowers(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    make = torchvision.datasets.Flowers102
    make(root, download=True)
    found = {"train": make(root), "validation": make(root, "val"), "test": make(root, "test")}
    return _files(root, ((s, d._image_files, d._labels) for s, d in found.items()))


def read_dogs(root: Path) -> Reading:
    from analysis.datasets.vision import StanfordDogs

    return _official(root, StanfordDogs)


def read_cub(root: Path) -> Reading:
    from analysis.datasets.vision import CUB200

    return _official(root, CUB200)


def read_cifar10(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    return _arrays(root, torchvision.datasets.CIFAR10)


def read_cifar100(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    return _arrays(root, torchvision.datasets.CIFAR100)


def read_fashion(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    return _arrays(root, torchvision.datasets.FashionMNIST)


def _official(root: Path, make: Any) -> Reading:
    found = {"train": make(root, "train", download=True), "test": make(root, "test")}
    return _files(root, ((s, d.image_files, d.labels) for s, d in found.items()))


def _files(root: Path, found: Iterable[tuple[str, list[Path], list[int]]]) -> Reading:
    names: list[str] = []
    labels: list[int] = []
    parts: list[int] = []
    for split, files, marks in found:
        names += [Path(file).relative_to(root).as_posix() for file in files]
        labels += marks
        parts += [_part(split)] * len(files)
    return Reading(np.array(labels, np.int64), np.array(parts, np.int64), names=tuple(names))


def _arrays(root: Path, make: Any) -> Reading:
    found = {"train": make(root, train=True, download=True), "test": make(root, train=False)}
    pixels = np.concatenate([np.asarray(d.data) for d in found.values()])
    labels = np.concatenate([np.asarray(d.targets, dtype=np.int64) for d in found.values()])
    parts = np.concatenate([np.full(len(d.targets), _part(s)) for s, d in found.items()])
    # Grey images come as (N, H, W), coloured ones as (N, H, W, C).
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return Reading(labels, parts, pixels=np.ascontiguousarray(pixels))


def _part(split: str) -> int:
    names: tuple[Split, ...] = SPLITS
    return list(names).index(split)  # type: ignore[arg-type]
