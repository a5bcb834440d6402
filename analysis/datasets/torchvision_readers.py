"""Read downloaded archives with torchvision's dataset classes.

Each reader unpacks the archives in a folder laid out as torchvision expects, and returns the
whole dataset. torch is imported only when a reader runs.
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
    """A whole dataset, with its images in files or in an array."""

    labels: Labels
    parts: Labels  # of each image, the position of its official split in `SPLITS`
    names: tuple[str, ...] = ()  # files, relative to the folder
    pixels: NDArray[np.uint8] | None = None  # (N, C, H, W)


Reader = Callable[[Path], Reading]


def read_pets(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    make = torchvision.datasets.OxfordIIITPet
    make(root, download=True)
    datasets = {"train": make(root, "trainval"), "test": make(root, "test")}
    return _file_reading(root, ((s, d._images, d._labels) for s, d in datasets.items()))


def read_flowers(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    make = torchvision.datasets.Flowers102
    make(root, download=True)
    datasets = {"train": make(root), "validation": make(root, "val"), "test": make(root, "test")}
    return _file_reading(root, ((s, d._image_files, d._labels) for s, d in datasets.items()))


def read_dogs(root: Path) -> Reading:
    from analysis.datasets.vision import StanfordDogs

    return _read_official(root, StanfordDogs)


def read_cub(root: Path) -> Reading:
    from analysis.datasets.vision import CUB200

    return _read_official(root, CUB200)


def read_cifar10(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    return _read_arrays(root, torchvision.datasets.CIFAR10)


def read_cifar100(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    return _read_arrays(root, torchvision.datasets.CIFAR100)


def read_fashion(root: Path) -> Reading:
    from analysis.system.torchvision_guard import torchvision

    return _read_arrays(root, torchvision.datasets.FashionMNIST)


def _read_official(root: Path, make: Any) -> Reading:
    datasets = {"train": make(root, "train", download=True), "test": make(root, "test")}
    return _file_reading(root, ((s, d.image_files, d.labels) for s, d in datasets.items()))


def _file_reading(root: Path, datasets: Iterable[tuple[str, list[Path], list[int]]]) -> Reading:
    names: list[str] = []
    labels: list[int] = []
    parts: list[int] = []
    for split, files, split_labels in datasets:
        names += [Path(file).relative_to(root).as_posix() for file in files]
        labels += split_labels
        parts += [_split_position(split)] * len(files)
    return Reading(np.array(labels, np.int64), np.array(parts, np.int64), names=tuple(names))


def _read_arrays(root: Path, make: Any) -> Reading:
    datasets = {"train": make(root, train=True, download=True), "test": make(root, train=False)}
    pixels = np.concatenate([np.asarray(d.data) for d in datasets.values()])
    labels = np.concatenate([np.asarray(d.targets, dtype=np.int64) for d in datasets.values()])
    parts = np.concatenate(
        [np.full(len(d.targets), _split_position(s)) for s, d in datasets.items()]
    )
    # Grey images arrive as (N, H, W), coloured ones as (N, H, W, C).
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return Reading(labels, parts, pixels=np.ascontiguousarray(pixels))


def _split_position(split: str) -> int:
    names: tuple[Split, ...] = SPLITS
    return list(names).index(split)  # type: ignore[arg-type]
