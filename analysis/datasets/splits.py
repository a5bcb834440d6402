"""Divide a dataset's images into training, validation and test splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.options import MIN_SAMPLES, SPLITS, Split

Labels = NDArray[np.int64]  # (N,)
Splits = dict[Split, Labels]  # positions in the whole dataset, in ascending order

MIN_CLASS_SIZE = 4  # images of a class, so that each of the three splits gets one
MIN_TRAINED = 2  # of them to train on
_NAMED = 3  # classes that a sentence names


def sizes_of(size: int) -> dict[Split, int]:
    """The sizes of splits with 60, 20 and 20 % of the images."""
    train, validation = 3 * size // 5, size // 5
    return {"train": train, "validation": validation, "test": size - train - validation}


def stratify(labels: Labels, sizes: dict[Split, int], seed: int) -> Splits:
    """Make splits of these sizes, each with the classes in the same proportions."""
    everything = np.arange(len(labels), dtype=np.int64)
    train, rest = _divide(everything, labels, sizes["train"], seed)
    validation, test = _divide(rest, labels, sizes["validation"], seed)
    return _sort({"train": train, "validation": validation, "test": test})


def official_splits(labels: Labels, official: Splits, sizes: dict[Split, int], seed: int) -> Splits:
    """A dataset's official splits. Some training images serve for validation if none do yet.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
    official : dict
        The official splits: "train" and "test", perhaps "validation".
    sizes : dict
        Images of each split; the classes have the same proportions in the validation images
        taken as in the training images.
    seed : int
        Determines which images are taken.
    """
    if "validation" in official:
        return official
    train, validation = _divide(official["train"], labels, sizes["train"], seed)
    return _sort({"train": train, "validation": validation, "test": official["test"]})


def own_splits(labels: Labels, seed: int, named: Sequence[Split] = ()) -> Splits:
    """60, 20 and 20 % of each class of the user's images, or the splits that they have.

    If they have no validation split, a fifth of each class of the train split becomes it. If they
    have "train" and "validation" alone, the latter becomes the test split.

    A class of fewer than `MIN_CLASS_SIZE` images stays whole in the train split. So do all images
    if there are fewer than two classes, or if too few would remain there for an analysis.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
        All equal if the images have none.
    seed : int
    named : sequence of {"train", "validation", "test"}, optional
        The split of each image, if they have splits: "train" and at least one other.
    """
    fixed: Splits = {s: np.flatnonzero(np.array(named) == s) for s in SPLITS if s in named}
    if fixed and "test" not in fixed:
        fixed["test"] = fixed.pop("validation")
    undivided = fixed.pop("train", np.arange(len(labels)))
    missing: list[Split] = [split for split in ("test", "validation") if split not in fixed]
    parts: dict[Split, list[Labels]] = {split: [] for split in ("train", *missing)}
    classes, counts = np.unique(labels[undivided], return_counts=True)
    for label, count in zip(classes, counts, strict=True):
        members = undivided[labels[undivided] == label]
        members = np.random.default_rng([seed, int(label)]).permutation(members)
        share = max(1, round(count / 5)) if count >= MIN_CLASS_SIZE and len(classes) > 1 else 0
        for split in missing:
            parts[split].append(members[:share])
            members = members[share:]
        parts["train"].append(members)
    splits: Splits = fixed | {name: np.concatenate(members) for name, members in parts.items()}
    if len(splits["train"]) < MIN_SAMPLES:
        everything, nothing = np.arange(len(labels), dtype=np.int64), np.zeros(0, np.int64)
        return {"train": everything, "validation": nothing, "test": nothing}
    return _sort(splits)


def why_untrainable(
    labels: Labels, class_names: tuple[str, ...], least: int = MIN_CLASS_SIZE, where: str = ""
) -> str:
    """A sentence that says why these images do not allow fine-tuning; empty if they do.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
        Of the images to train on, before any are held out.
    class_names : tuple of str
    least : int
        Minimum number of images per class.
    where : str
        Where they lie, for the sentence.
    """
    remedy = "You can still analyse them, which needs no labels."
    if not class_names:
        return f"These images have no labels to learn: put them into one folder per class. {remedy}"
    if len(class_names) == 1:
        return (
            f"The only class is “{class_names[0]}”: add a folder with images of another class. "
            f"{remedy}"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    small = [k for k, count in enumerate(counts) if count < least]
    if not small:
        return ""
    named = ", ".join(f"“{class_names[k]}” ({counts[k]})" for k in small[:_NAMED])
    more = f" and {len(small) - _NAMED} more" if len(small) > _NAMED else ""
    verb = "has" if len(small) == 1 else "have"
    there = f" {where}" if where else ""
    return (
        f"{named}{more} {verb} too few images to train on{there}: each class needs {least}. "
        f"{remedy}"
    )


def _divide(members: Labels, labels: Labels, first: int, seed: int) -> tuple[Labels, Labels]:
    from sklearn.model_selection import train_test_split  # slow to import

    one, other = train_test_split(
        members, train_size=first, stratify=labels[members], random_state=seed
    )
    return one, other


def _sort(splits: Splits) -> Splits:
    return {name: np.sort(members) for name, members in splits.items()}
