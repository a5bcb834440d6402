"""Which image falls into which split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.options import MIN_SAMPLES, SPLITS, Split

Labels = NDArray[np.int64]  # (N,)
Splits = dict[Split, Labels]  # positions in the whole dataset, in rising order

MIN_CLASS_SIZE = 4  # images of a class that all three splits get some of
MIN_TRAINED = 2  # of them to train on
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


def own(labels: Labels, seed: int, named: Sequence[Split] = ()) -> Splits:
    """60, 20 and 20 % of each class of images that somebody brings, or the splits they come in.

    Of images that come in splits without one for validation, a fifth of each class of the train
    split is that. Those that come as "train" and "validation" alone are tested on the latter.

    A class of less than `MIN_CLASS_SIZE` images is never divided, but in the train split whole.
    So is everything if there are no two classes, or if less would be left there than an analysis
    needs.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
        All alike if the images have none.
    seed : int
    named : sequence of {"train", "validation", "test"}, optional
        The split of each image, if they come in splits: "train" and at least one other.
    """
    given: Splits = {s: np.flatnonzero(np.array(named) == s) for s in SPLITS if s in named}
    if given and "test" not in given:
        given["test"] = given.pop("validation")
    undivided = given.pop("train", np.arange(len(labels)))
    wanted: list[Split] = [split for split in ("test", "validation") if split not in given]
    parts: dict[Split, list[Labels]] = {split: [] for split in ("train", *wanted)}
    classes, counts = np.unique(labels[undivided], return_counts=True)
    for label, count in zip(classes, counts, strict=True):
        members = undivided[labels[undivided] == label]
        members = np.random.default_rng([seed, int(label)]).permutation(members)
        held = max(1, round(count / 5)) if count >= MIN_CLASS_SIZE and len(classes) > 1 else 0
        for split in wanted:
            parts[split].append(members[:held])
            members = members[held:]
        parts["train"].append(members)
    splits: Splits = given | {name: np.concatenate(members) for name, members in parts.items()}
    if len(splits["train"]) < MIN_SAMPLES:
        everything, nothing = np.arange(len(labels), dtype=np.int64), np.zeros(0, np.int64)
        return {"train": everything, "validation": nothing, "test": nothing}
    return _sorted(splits)


def why_untrainable(
    labels: Labels, class_names: tuple[str, ...], least: int = MIN_CLASS_SIZE, where: str = ""
) -> str:
    """The sentence that says why nothing can be fine-tuned on such images, or nothing.

    Parameters
    ----------
    labels : ndarray of int64 (N,)
        Of the images to train on, before any are held back.
    class_names : tuple of str
    least : int
        Images that each class must have of them.
    where : str
        They lie, to be told.
    """
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


def _divided(members: Labels, labels: Labels, first: int, seed: int) -> tuple[Labels, Labels]:
    from sklearn.model_selection import train_test_split  # slow to import

    one, other = train_test_split(
        members, train_size=first, stratify=labels[members], random_state=seed
    )
    return one, other


def _sorted(splits: Splits) -> Splits:
    return {name: np.sort(members) for name, members in splits.items()}
