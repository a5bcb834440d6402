"""Which image falls into which split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.options import MIN_SAMPLES, Split

Labels = NDArray[np.int64]  # (N,)
Splits = dict[Split, Labels]  # positions in the whole dataset, in rising order

MIN_CLASS_SIZE = 4  # images of a class that all three splits get some of; two to train on
_NAMED = 3  # classes that a sentence names


def sizes_of(size: int) -> dict[Split, int]:
    """60, 20 and 20 % of a dataset's images."""
    train, validation = 3 * size // 5, size // 5
    return {"train": train, "validation": validation, "test": size - train - validation}


def stratified(labels: Labels, sizes: dict[Split, int], seed: int) -> Splits:
    """Splits of given sizes, each with the classes in the same proportions."""
    everything = np.arange(len(labels), dtype=np.int64)
    train, rest = _divided(everything, labels, sizes["train"], seed)
    validation, test = _divided(rest, labels, sizes["validation"], seed)
    return _sorted({"train": train, "validation": validation, "test": test})


def official(labels: Labels, given: Splits, sizes: dict[Split, int], seed: int) -> Splits:
    """A dataset's own splits. Where it has no validation images, some of the training images are.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
    given : dict
        The dataset's own: "train" and "test", perhaps "validation".
    sizes : dict
        Images of each split; the validation images that are taken have the classes in the same
        proportions as the training images.
    seed : int
        Decides which images are taken.
    """
    if "validation" in given:
        return given
    train, validation = _divided(given["train"], labels, sizes["train"], seed)
    return _sorted({"train": train, "validation": validation, "test": given["test"]})


def own(labels: Labels, seed: int) -> Splits:
    """60, 20 and 20 % of each class of images that somebody brings.

    A class of less than `MIN_CLASS_SIZE` images is in the train split whole. So is everything if
    there are no two classes, or if less would be left there than an analysis needs.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
        All alike if the images have none.
    seed : int
    """
    parts: dict[Split, list[Labels]] = {"train": [], "validation": [], "test": []}
    classes, counts = np.unique(labels, return_counts=True)
    for label, count in zip(classes, counts, strict=True):
        members = np.flatnonzero(labels == label)
        members = np.random.default_rng([seed, int(label)]).permutation(members)
        held = max(1, round(count / 5)) if count >= MIN_CLASS_SIZE and len(classes) > 1 else 0
        parts["test"].append(members[:held])
        parts["validation"].append(members[held : 2 * held])
        parts["train"].append(members[2 * held :])
    splits: Splits = {name: np.concatenate(members) for name, members in parts.items()}
    if len(splits["train"]) < MIN_SAMPLES:
        everything, nothing = np.arange(len(labels), dtype=np.int64), np.zeros(0, np.int64)
        return {"train": everything, "validation": nothing, "test": nothing}
    return _sorted(splits)


def why_untrainable(labels: Labels, class_names: tuple[str, ...]) -> str:
    """The sentence that says why nothing can be fine-tuned on such images, or nothing."""
    remedy = "An analysis needs no labels and works."
    if not class_names:
        return (
            "These images have no labels, so there is nothing to learn: put them into one folder "
            f"for each class. {remedy}"
        )
    if len(class_names) == 1:
        return (
            f"There is one class only, “{class_names[0]}”, so there is nothing to tell apart: add "
            f"a folder with images of another class. {remedy}"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    small = [k for k, count in enumerate(counts) if count < MIN_CLASS_SIZE]
    if not small:
        return ""
    named = ", ".join(f"“{class_names[k]}” ({counts[k]})" for k in small[:_NAMED])
    more = f" and {len(small) - _NAMED} more" if len(small) > _NAMED else ""
    verb = "has" if len(small) == 1 else "have"
    return (
        f"{named}{more} {verb} too few images: to train, choose and test, each class needs at "
        f"least {MIN_CLASS_SIZE}. {remedy}"
    )


def _divided(members: Labels, labels: Labels, first: int, seed: int) -> tuple[Labels, Labels]:
    from sklearn.model_selection import train_test_split  # slow to import

    one, other = train_test_split(
        members, train_size=first, stratify=labels[members], random_state=seed
    )
    return one, other


def _sorted(splits: Splits) -> Splits:
    return {name: np.sort(members) for name, members in splits.items()}
