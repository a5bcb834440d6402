"""Load one split of a dataset, shifted or not, and draw images from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.datasets.registry import DATASETS, Images, Labels, dataset_problem, dataset_spec
from analysis.datasets.shifts import SHIFTS
from analysis.errors import choice_problem, raise_problems
from analysis.options import MAX_SEVERITY, SPLITS, Split


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images of one split."""

    name: str
    split: Split
    images: Images  # (N, C, H, W) float32, values in [0, 1]
    labels: Labels  # (N,) int64, positions in `class_names`
    class_names: tuple[str, ...]
    indices: Labels  # (N,) int64, positions in the whole dataset

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, n: int, *, seed: int) -> ImageDataset:
        """Draw images at random, without replacement.

        Parameters
        ----------
        n : int
            Number of images. A larger draw with the same seed starts with the smaller one.
        seed : int
            Seed of the draw, from 0.

        Raises
        ------
        OptionError
            If `n` is less than 1 or more than there are.
        """
        problems = _seed_problem(seed)
        if not 1 <= n <= len(self):
            problems.append(
                f"`samples` must be from 1 to {len(self)}, got {n}: "
                f"the {self.split} split of {self.name} has {len(self)} images"
            )
        raise_problems(problems)
        chosen = np.random.default_rng(seed).permutation(len(self))[:n]
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            indices=self.indices[chosen],
        )


def list_datasets() -> list[str]:
    """Names that `load_dataset` knows."""
    return list(DATASETS)


def load_dataset(
    name: str,
    *,
    split: Split = "train",
    shift: str = "none",
    severity: int = 3,
    seed: int = 0,
) -> ImageDataset:
    """Load one split of a dataset.

    The three splits hold every image once, each with the classes in the same proportions. A
    shifted split holds the images of the unshifted one, index by index.

    Parameters
    ----------
    name : str
        One of `list_datasets()`.
    split : {"train", "validation", "test"}
        60, 20 and 20 % of the images.
    shift : str
        One of `analysis.datasets.SHIFTS`.
    severity : int
        Of the shift, 1 (slight) to 5.
    seed : int
        Decides which image falls into which split, and the noise. Keep it fixed when models or
        runs are compared, lest one is tested on what another learned from.

    Returns
    -------
    ImageDataset
        images float32 (N, C, H, W) in [0, 1], labels int64 (N,).

    Raises
    ------
    OptionError
        Naming every unknown name and every value out of range.
    AssetError
        If a bundled file is missing or damaged.
    """
    problems = dataset_problem(name)
    problems += choice_problem("split", split, SPLITS)
    problems += choice_problem("shift", shift, SHIFTS)
    if not 1 <= severity <= MAX_SEVERITY:
        problems.append(f"`severity` must be from 1 to {MAX_SEVERITY}, got {severity}")
    raise_problems(problems + _seed_problem(seed))
    spec = dataset_spec(name)
    images, labels = spec.load()
    indices = _split_indices(labels, spec.sizes, seed)[split]
    # Drawn for the whole split: an image's noise does not depend on how many are sampled later.
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    return ImageDataset(
        name=name,
        split=split,
        images=SHIFTS[shift].function(images[indices], severity, rng),
        labels=labels[indices],
        class_names=spec.class_names,
        indices=indices,
    )


def _split_indices(labels: Labels, sizes: dict[Split, int], seed: int) -> dict[Split, Labels]:
    from sklearn.model_selection import train_test_split  # slow to import

    everything = np.arange(len(labels), dtype=np.int64)
    train, rest = train_test_split(
        everything, train_size=sizes["train"], stratify=labels, random_state=seed
    )
    validation, test = train_test_split(
        rest, train_size=sizes["validation"], stratify=labels[rest], random_state=seed
    )
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}


def _seed_problem(seed: int) -> list[str]:
    return [] if 0 <= seed < 2**32 else [f"`seed` must be from 0 to 2³² - 1, got {seed}"]
