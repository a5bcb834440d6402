"""The datasets a person may choose. To add one, write its loader and its entry."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.asset_files import asset_entry, verified
from analysis.errors import choice_problem, raise_problems
from analysis.options import Split

Images = NDArray[np.float32]  # (N, C, H, W), values in [0, 1]
Labels = NDArray[np.int64]  # (N,)


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset. Images that a loader gives always come in the same order."""

    name: str
    title: str
    description: str  # one line
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]  # channels, height, width
    size: int  # images, of all splits together
    licence: str
    source: str
    load: Callable[[], tuple[Images, Labels]]
    asset: str = ""  # the bundled file it is read from, if any

    @property
    def sizes(self) -> dict[Split, int]:
        """Images of each split: 60, 20 and 20 %."""
        train, validation = 3 * self.size // 5, self.size // 5
        return {"train": train, "validation": validation, "test": self.size - train - validation}

    def fingerprint(self) -> str:
        """A name for the data's exact content."""
        return asset_entry(self.asset).sha256 if self.asset else f"{self.name}-{self.size}"


def _load_digits() -> tuple[Images, Labels]:
    from sklearn.datasets import load_digits  # slow to import, and not needed to list datasets

    data = load_digits()
    return data.images[:, None].astype(np.float32) / 16, data.target.astype(np.int64)


def _load_fashion() -> tuple[Images, Labels]:
    with np.load(io.BytesIO(verified("fashion")), allow_pickle=False) as data:
        return data["images"][:, None].astype(np.float32) / 255, data["labels"].astype(np.int64)


_SPECS = (
    DatasetSpec(
        name="digits",
        title="Handwritten digits",
        description="1,797 scanned digits of 8 × 8 grey pixels; new to the pocket models.",
        class_names=tuple("0123456789"),
        image_shape=(1, 8, 8),
        size=1797,
        licence="CC BY 4.0",
        source="scikit-learn; E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998)",
        load=_load_digits,
    ),
    DatasetSpec(
        name="fashion",
        title="Fashion-MNIST",
        description="3,000 test images of clothes, 28 × 28 grey pixels; the pocket models "
        "learned from the training images of the same set.",
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        image_shape=(1, 28, 28),
        size=3000,
        licence="MIT",
        source="H. Xiao, K. Rasul and R. Vollgraf, Zalando Research (2017)",
        load=_load_fashion,
        asset="fashion",
    ),
)
DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}


def dataset_problem(name: str) -> list[str]:
    """Say that there is no such dataset, or nothing."""
    return choice_problem("dataset", name, DATASETS)


def dataset_spec(name: str) -> DatasetSpec:
    """What is known of a dataset by name.

    Raises
    ------
    OptionError
        If there is no such dataset.
    """
    raise_problems(dataset_problem(name))
    return DATASETS[name]
