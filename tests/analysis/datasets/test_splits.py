"""Splits of one's own images and of datasets with official ones."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.datasets.splits import official_splits, own_splits, why_untrainable
from analysis.options import SPLITS, Split


def labels_of(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def counts_of(splits: dict[Split, np.ndarray], labels: np.ndarray) -> dict[str, list[int]]:
    classes = labels.max() + 1
    return {s: np.bincount(labels[splits[s]], minlength=classes).tolist() for s in SPLITS}


@pytest.mark.parametrize(
    ("counts", "train", "validation", "test"),
    [
        ((10, 20), [6, 12], [2, 4], [2, 4]),
        ((4, 4), [2, 2], [1, 1], [1, 1]),
        ((5, 7, 8), [3, 5, 4], [1, 1, 2], [1, 1, 2]),
        ((10, 1, 3), [6, 1, 3], [2, 0, 0], [2, 0, 0]),  # too few: to the train split whole
        ((7,), [7], [0], [0]),
        ((3, 3), [3, 3], [0, 0], [0, 0]),
        ((1, 4), [1, 4], [0, 0], [0, 0]),  # three would be left, too few for an analysis
        ((1, 1, 1), [1, 1, 1], [0, 0, 0], [0, 0, 0]),
    ],
)
def test_own_images_are_split_class_by_class(
    counts: tuple[int, ...], train: list[int], validation: list[int], test: list[int]
) -> None:
    labels = labels_of(*counts)
    splits = own_splits(labels, 0)
    assert counts_of(splits, labels) == {"train": train, "validation": validation, "test": test}
    together = np.concatenate([splits[split] for split in SPLITS])
    assert np.array_equal(np.sort(together), np.arange(len(labels)))
    assert all(np.all(np.diff(splits[split]) > 0) for split in SPLITS)
    assert all(splits[split].dtype == np.int64 for split in SPLITS)


def test_whatever_can_be_analysed_leaves_four_images_to_train() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels = labels_of(*rng.integers(1, 7, rng.integers(1, 5)))
        least = min(4, len(labels))
        assert len(own_splits(labels, 0)["train"]) >= least


def test_images_that_come_in_splits_stay_in_them() -> None:
    labels = np.tile(np.arange(2), 30)
    named: list[Split] = ["test"] * 12 + ["train"] * 40 + ["validation"] * 8
    splits = own_splits(labels, 0, named)
    assert splits["test"].tolist() == list(range(12))
    assert splits["train"].tolist() == list(range(12, 52))
    assert splits["validation"].tolist() == list(range(52, 60))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_fifth_of_the_training_images_is_for_validation_if_nothing_else_is(split: Split) -> None:
    labels = np.tile(np.arange(2), 30)
    named: list[Split] = [split] * 20 + ["train"] * 40
    splits = own_splits(labels, 0, named)
    assert splits["test"].tolist() == list(range(20))
    assert counts_of(splits, labels) == {"train": [16, 16], "validation": [4, 4], "test": [10, 10]}
    together = np.concatenate([splits["train"], splits["validation"]])
    assert np.array_equal(np.sort(together), np.arange(20, 60))
    assert not np.array_equal(splits["train"], own_splits(labels, 1, named)["train"])


def test_own_splits_follow_the_seed() -> None:
    labels = labels_of(30, 30)
    first, again, other = (own_splits(labels, seed)["test"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[:6], first[6:] - 30)  # classes are drawn apart


def test_official_splits_are_kept() -> None:
    labels = np.tile(np.arange(4), 30)
    original: dict[Split, np.ndarray] = {"train": np.arange(40, 120), "test": np.arange(40)}
    sizes: dict[Split, int] = {"train": 64, "validation": 16, "test": 40}
    splits = official_splits(labels, original, sizes, 0)
    assert np.array_equal(splits["test"], np.arange(40))
    training = np.concatenate([splits["train"], splits["validation"]])
    assert np.array_equal(np.sort(training), np.arange(40, 120))
    assert counts_of(splits, labels) == {
        "train": [16] * 4, "validation": [4] * 4, "test": [10] * 4,
    }  # fmt: skip
    assert not np.array_equal(splits["train"], official_splits(labels, original, sizes, 1)["train"])
    whole = original | {"validation": np.arange(5)}
    assert official_splits(labels, whole, sizes, 0) == whole


def test_the_reason_why_nothing_can_be_learned() -> None:
    assert why_untrainable(labels_of(4, 9), ("cat", "dog")) == ""
    assert "have no labels" in why_untrainable(labels_of(9), ())
    assert "The only class is “cat”" in why_untrainable(labels_of(9), ("cat",))
    one = why_untrainable(labels_of(9, 1), ("cat", "dog"))
    assert one.startswith("“dog” (1) has too few images to train on: each class needs 4.")
    assert why_untrainable(labels_of(9, 2), ("cat", "dog"), 2) == ""
    many = why_untrainable(labels_of(9, 1, 2, 3, 1, 3), tuple("abcdef"))
    assert many.startswith("“b” (1), “c” (2), “d” (3) and 2 more have too few images")
