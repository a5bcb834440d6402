"""Load one split of a dataset, shifted or not, and draw images from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from analysis.datasets.image_files import FileImages, Picture
from analysis.datasets.registry import DATASETS, dataset_problem, dataset_spec
from analysis.datasets.shifts import SHIFTS
from analysis.datasets.specs import Bytes, Images
from analysis.datasets.splits import Labels
from analysis.errors import OptionError, choice_problem, raise_problems
from analysis.options import MAX_SEVERITY, MIN_SAMPLES, SPLITS, Split
from analysis.progress import ProgressCallback


@dataclass(frozen=True, eq=False)
class _Undrawn:
    """Images of a downloaded split, which may be large: only the drawn ones become floats."""

    make: Callable[[Labels], Images]  # from positions in the whole dataset
    indices: Labels

    def __getitem__(self, chosen: Labels | slice) -> Images:
        return self.make(self.indices[chosen])


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images of one split."""

    name: str
    split: Split
    held: Images | FileImages | _Undrawn  # see `images`
    labels: Labels  # (N,) int64, positions in `class_names`; all 0 without any
    class_names: tuple[str, ...]  # empty: the images have no labels
    indices: Labels  # (N,) int64, positions in the whole dataset

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def images(self) -> Images | FileImages:
        """float32, values in [0, 1]: an array (N, C, H, W), or a lazy sequence of (3, h, w)."""
        return self.held[:] if isinstance(self.held, _Undrawn) else self.held

    def sample(self, n: int, *, seed: int) -> ImageDataset:
        """Draw images at random, without replacement. Images in files are not opened.

        Parameters
        ----------
        n : int
            Number of images. A larger draw with the same seed starts with the smaller one.
        seed : int
            Seed of the draw, from 0.

        Raises
        ------
        OptionError
            If `n` is less than 1 or more than the number of images.
        """
        problems = _seed_problem(seed)
        if not 1 <= n <= len(self):
            problems.append(self._size_problem(n))
        raise_problems(problems)
        chosen = np.random.default_rng(seed).permutation(len(self))[:n]
        return replace(
            self,
            held=self.held[chosen],
            labels=self.labels[chosen],
            indices=self.indices[chosen],
        )

    def _size_problem(self, n: int) -> str:
        split = f"the {self.split} split of {self.name} has {len(self)} images"
        if len(self) < MIN_SAMPLES <= n:  # no number would do
            return (
                f"{split}, and an analysis needs at least {MIN_SAMPLES}; add images, or use "
                "another split"
            )
        rule = f"at most {len(self)}" if n > 0 else "at least 1"
        return f"`samples` must be {rule}, got {n}: {split}"


def list_datasets() -> list[str]:
    """Names of the registered datasets; `load_dataset` also knows the user's own."""
    return list(DATASETS)


def load_dataset(
    name: str,
    *,
    split: Split = "train",
    shift: str = "none",
    severity: int = 3,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> ImageDataset:
    """Load one split of a dataset, downloading the dataset first if necessary.

    Each image is in exactly one of the three splits; splits made here keep the proportions of
    the classes. A shifted split holds the images of the unshifted one, index by index.

    Parameters
    ----------
    name : str
        One of `list_datasets()`, "folder:" and an absolute path, or an upload ("own:…").
    split : {"train", "validation", "test"}
        60, 20 and 20 % of the images, or the dataset's official splits; if those have no
        validation images, a fifth of the training images.
    shift : str
        One of `analysis.datasets.SHIFTS`.
    severity : int
        Of the shift, 1 (slight) to 5.
    seed : int
        Determines the split of each image, and the noise. Keep it fixed when you compare models
        or runs, so that none is tested on images that another was trained on.
    progress : callable (Progress), optional
        Receives the progress of a download and of the scan of a new folder.

    Returns
    -------
    ImageDataset
        images float32 (N, C, H, W) in [0, 1], or `FileImages`; labels int64 (N,).

    Raises
    ------
    OptionError
        For all unknown names and values out of range at once, or for an empty split.
    AssetError
        If a bundled file is missing or damaged, or a download fails.
    """
    problems = dataset_problem(name, progress)
    problems += choice_problem("split", split, SPLITS)
    problems += choice_problem("shift", shift, SHIFTS)
    if not 1 <= severity <= MAX_SEVERITY:
        problems.append(f"`severity` must be from 1 to {MAX_SEVERITY}, got {severity}")
    raise_problems(problems + _seed_problem(seed))
    spec = dataset_spec(name)
    images, labels, splits = spec.load(progress)
    positions = splits(seed)
    indices = positions[split]
    if not len(indices):
        others = " or ".join(other for other in SPLITS if len(positions[other]))
        raise OptionError(
            f"`split` must be {others} for {name}, got {split!r}: that split is empty. "
            f"{spec.why_untrainable}"
        )
    return ImageDataset(
        name=name,
        split=split,
        held=_apply_shift(images, indices, shift, severity, [seed, SPLITS.index(split)]),
        labels=labels[indices],
        class_names=spec.class_names,
        indices=indices,
    )


def _apply_shift(
    images: Images | Bytes | FileImages, indices: Labels, shift: str, severity: int, seed: list[int]
) -> Images | FileImages | _Undrawn:
    if isinstance(images, FileImages):
        chosen = images[indices]
        alter = partial(_alter, shift, severity, seed)
        return chosen if shift == "none" else replace(chosen, alter=alter)
    make = partial(_floats, images, shift, severity, seed)
    # Draw noise for the whole split, so that it does not depend on how many images are sampled.
    if shift == "noise" or images.dtype == np.float32:
        return make(indices)
    return _Undrawn(make, indices)


def _alter(shift: str, severity: int, seed: list[int], image: Picture, position: int) -> Picture:
    # The noise depends on the image alone, not on the other images in the sample.
    rng = np.random.default_rng([*seed, position])
    result: Picture = SHIFTS[shift].function(image[None], severity, rng)[0]
    return result


def _floats(
    images: Images | Bytes, shift: str, severity: int, seed: list[int], positions: Labels
) -> Images:
    chosen = images[positions]
    if chosen.dtype == np.float32:
        floats = chosen.astype(np.float32, copy=False)
    else:
        floats = np.divide(chosen, 255, dtype=np.float32)
    return SHIFTS[shift].function(floats, severity, np.random.default_rng(seed))


def _seed_problem(seed: int) -> list[str]:
    return [] if 0 <= seed < 2**32 else [f"`seed` must be from 0 to 2³² - 1, got {seed}"]
