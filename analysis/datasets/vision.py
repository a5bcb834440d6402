"""Datasets that torchvision lacks, in its style. Importing this module imports torch."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from analysis.datasets.addresses import CUB, STANFORD
from analysis.system.torchvision_guard import torchvision
from torchvision.datasets import VisionDataset
from torchvision.datasets.utils import download_and_extract_archive


class _Official(VisionDataset):  # type: ignore[misc]
    """A dataset with official lists of training and test images.

    Parameters
    ----------
    root : path
        Holds the dataset's folder, or receives it.
    split : {"train", "test"}
    transform, target_transform : callable, optional
        Applied to an image and to its label.
    download : bool
        Download and unpack the archives unless that is done.
    """

    resources: tuple[tuple[str, str], ...]

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Any = None,
        target_transform: Any = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.image_files, self.labels = self._read(Path(root), split, download)

    @abstractmethod
    def _read(self, root: Path, split: str, download: bool) -> tuple[list[Path], list[int]]:
        """The images of a split and their labels, from 0."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = torchvision.datasets.folder.default_loader(self.image_files[index])
        label = self.labels[index]
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label


class StanfordDogs(_Official):
    """Stanford Dogs: 120 breeds. Its folder is "stanford-dogs".

    A. Khosla, N. Jayadevaprakash, B. Yao and L. Fei-Fei, CVPR workshop on fine-grained visual
    categorization, 2011.
    """

    resources = (
        (f"{STANFORD}/images.tar", "1bb1f2a596ae7057f99d7d75860002ef"),
        (f"{STANFORD}/lists.tar", "edbb9f16854ec66506b5f09b583e0656"),
    )

    def _read(self, root: Path, split: str, download: bool) -> tuple[list[Path], list[int]]:
        from scipy.io import loadmat

        base = root / "stanford-dogs"
        if download and not (base / "Images").is_dir():
            _unpack(self.resources, base)
        lists = loadmat(base / f"{split}_list.mat", squeeze_me=True)
        files = [base / "Images" / str(name) for name in np.atleast_1d(lists["file_list"])]
        return files, [int(label) - 1 for label in np.atleast_1d(lists["labels"])]


class CUB200(_Official):
    """Caltech-UCSD Birds-200-2011. Its folder is "CUB_200_2011".

    C. Wah, S. Branson, P. Welinder, P. Perona and S. Belongie, Caltech technical report
    CNS-TR-2011-001, 2011.
    """

    resources = ((CUB, "97eceeb196236b17998738112f37df78"),)

    def _read(self, root: Path, split: str, download: bool) -> tuple[list[Path], list[int]]:
        base = root / "CUB_200_2011"
        if download and not base.is_dir():
            _unpack(self.resources, root)
        names = _table(base / "images.txt")
        labels = _table(base / "image_class_labels.txt")
        trained_on = _table(base / "train_test_split.txt")
        ids = [k for k in names if (trained_on[k] == "1") == (split == "train")]
        return [base / "images" / names[k] for k in ids], [int(labels[k]) - 1 for k in ids]


def _unpack(resources: tuple[tuple[str, str], ...], base: Path) -> None:
    for url, md5 in resources:
        download_and_extract_archive(url, download_root=str(base), md5=md5)


def _table(path: Path) -> dict[int, str]:
    """Read lines that hold a number and a text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {int(number): text.strip() for number, text in pairs}
