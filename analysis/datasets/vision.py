"""Datasets that torchvision lacks, in its manner. Importing this imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analysis.datasets.sources import CUB, STANFORD
from analysis.torchvision_guard import torchvision
from torchvision.datasets import VisionDataset
from torchvision.datasets.utils import download_and_extract_archive


class StanfordDogs(VisionDataset):  # type: ignore[misc]
    """Stanford Dogs: 120 breeds, with the official lists of training and test images.

    A. Khosla, N. Jayadevaprakash, B. Yao and L. Fei-Fei, CVPR workshop on fine-grained visual
    categorization, 2011.

    Parameters
    ----------
    root : path
        Has or gets the folder "stanford-dogs".
    split : {"train", "test"}
    transform, target_transform : callable, optional
        Of an image and of its label.
    download : bool
        Fetch and unpack the archives unless they are unpacked.
    """

    resources = (
        (
            f"{STANFORD}/images.tar",
            "1bb1f2a596ae7057f99d7d75860002ef",
        ),
        (
            f"{STANFORD}/lists.tar",
            "edbb9f16854ec66506b5f09b583e0656",
        ),
    )

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Any = None,
        target_transform: Any = None,
        download: bool = False,
    ) -> None:
        from scipy.io import loadmat

        super().__init__(root, transform=transform, target_transform=target_transform)
        base = Path(root) / "stanford-dogs"
        if download and not (base / "Images").is_dir():
            _unpack(self.resources, base)
        found = loadmat(base / f"{split}_list.mat", squeeze_me=True)
        names = np.atleast_1d(found["file_list"])
        self.image_files = [base / "Images" / str(name) for name in names]
        self.labels = [int(label) - 1 for label in np.atleast_1d(found["labels"])]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return _item(self, index)


class CUB200(VisionDataset):  # type: ignore[misc]
    """Caltech-UCSD Birds-200-2011, with the official split.

    C. Wah, S. Branson, P. Welinder, P. Perona and S. Belongie, Caltech technical report
    CNS-TR-2011-001, 2011.

    Parameters
    ----------
    root : path
        Has or gets the folder "CUB_200_2011".
    split : {"train", "test"}
    transform, target_transform : callable, optional
        Of an image and of its label.
    download : bool
        Fetch and unpack the archive unless it is unpacked.
    """

    resources = (
        (
            CUB,
            "97eceeb196236b17998738112f37df78",
        ),
    )

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Any = None,
        target_transform: Any = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        base = Path(root) / "CUB_200_2011"
        if download and not base.is_dir():
            _unpack(self.resources, Path(root))
        names = _table(base / "images.txt")
        labels = _table(base / "image_class_labels.txt")
        trained_on = _table(base / "train_test_split.txt")
        ids = [k for k in names if (trained_on[k] == "1") == (split == "train")]
        self.classes = list(_table(base / "classes.txt").values())
        self.image_files = [base / "images" / names[k] for k in ids]
        self.labels = [int(labels[k]) - 1 for k in ids]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return _item(self, index)


def _item(dataset: Any, index: int) -> tuple[Any, Any]:
    image = torchvision.datasets.folder.default_loader(dataset.image_files[index])
    label = dataset.labels[index]
    if dataset.transform is not None:
        image = dataset.transform(image)
    if dataset.target_transform is not None:
        label = dataset.target_transform(label)
    return image, label


def _unpack(resources: tuple[tuple[str, str], ...], base: Path) -> None:
    for url, md5 in resources:
        download_and_extract_archive(url, download_root=str(base), md5=md5)


def _table(path: Path) -> dict[int, str]:
    """Lines of a number and a text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {int(number): text.strip() for number, text in pairs}
