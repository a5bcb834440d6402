"""Splits and classes from the paths of images."""

from __future__ import annotations

import pytest

from analysis.datasets.layout import read_layout


def layout_of(*folders: str) -> tuple[set[str], dict[str, int]]:
    layout = read_layout(sorted(f"{folder}/{k}.png" for folder in folders for k in range(2)))
    counts = {split: layout.splits.count(split) for split in dict.fromkeys(layout.splits)}
    return set(layout.classes), counts


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_images", "test_images"),
        ("x_train", "x_test"),
        ("Train", "TEST"),
        ("TrainSet", "TestSet"),
        ("train2017", "test2017"),
        ("pets-train", "pets-test"),
        ("01_training", "02_hold-out"),
        ("zip/data/train", "zip/data/test"),
        ("trainval", "testing"),
    ],
)
def test_splits_in_many_spellings(train: str, test: str) -> None:
    folders = [f"{top}/{name}" for top in (train, test) for name in ("cats", "dogs")]
    assert layout_of(*folders) == ({"cats", "dogs"}, {"test": 4, "train": 4})


@pytest.mark.parametrize("other", ["dev", "eval", "valid_images", "Validation-Set"])
def test_validation_in_many_spellings(other: str) -> None:
    assert layout_of("train/a", "train/b", f"{other}/a", f"{other}/b")[1]["validation"] == 4


def test_the_last_fold_is_for_the_test() -> None:
    folders = [f"fold_{k}/{name}" for k in (1, 2, 10) for name in "ab"]
    layout = read_layout(sorted(f"{folder}/0.png" for folder in folders))
    assert [n for n, s in zip(layout.names, layout.splits, strict=True) if s == "test"] == [
        "fold_10/a/0.png",
        "fold_10/b/0.png",
    ]
    assert layout.notes


def test_a_split_without_classes_is_left_out_and_named() -> None:
    folders = [f"seg_{s}/seg_{s}/{c}" for s in ("train", "test") for c in ("forest", "sea")]
    layout = read_layout(sorted(f"{folder}/0.png" for folder in [*folders, "seg_pred/seg_pred"]))
    assert set(layout.classes) == {"forest", "sea"}
    assert [name for name, _ in layout.skipped] == ["seg_pred/seg_pred/0.png"]
    assert "“seg_train” (train)" in layout.notes[0]


def test_splits_inside_the_classes_are_named() -> None:
    inside = read_layout(sorted(f"{c}/{s}/0.png" for c in "ab" for s in ("train", "test")))
    (note,) = inside.notes
    assert note.startswith("Each class contains folders named like splits, which are not used")
    assert (set(inside.classes), inside.splits) == ({"a", "b"}, [])
    beside = [f"{c}/{s}/0.png" for c in "ab" for s in ("train", "test", "more")]
    assert read_layout(sorted(beside)).notes == []


@pytest.mark.parametrize(
    ("folders", "noted"),
    [(("Images", "Ground-Truth"), True), (("images", "cat"), False), (("masks", "labels"), False)],
)
def test_images_and_what_belongs_to_them_are_hardly_classes(
    folders: tuple[str, ...], noted: bool
) -> None:
    layout = read_layout(sorted(f"{folder}/{k}.png" for folder in folders for k in range(2)))
    assert set(layout.classes) == set(folders)
    assert bool(layout.notes) == noted


def test_known_names_of_splits_need_no_note() -> None:
    layout = read_layout(["test/a/0.png", "test/b/0.png", "train/a/0.png", "train/b/0.png"])
    assert (layout.notes, layout.rules) == ([], "")


@pytest.mark.parametrize(
    "folders",
    [("train", "bus"), ("crash_test", "train"), ("train", "test", "plane"), ("contest", "trainer")],
)
def test_classes_named_like_splits_stay_classes(folders: tuple[str, ...]) -> None:
    classes, splits = layout_of(*folders)
    assert (classes, splits) == (set(folders), {})


def test_a_lone_folder_named_like_a_split_is_a_class_with_a_note() -> None:
    layout = read_layout(["bus/0.png", "train/0.png"])
    assert set(layout.classes) == {"bus", "train"}
    assert "named like splits: “train”" in layout.notes[0]


def test_two_spellings_of_a_class_are_one() -> None:
    composed, apart = "\u00c4pfel", "A\u0308pfel"
    classes, _ = layout_of(f"train/{composed}", "train/b", f"test/{apart}", "test/b")
    assert len(classes) == 2
    layout = read_layout(["test/cat/0.png", "test/b/0.png", "train/Cat/0.png", "train/b/0.png"])
    assert set(layout.classes) == {"Cat", "b"}
    assert layout.notes == ["Folders that spell a name differently are one class: “Cat”."]


def test_capital_and_small_letters_side_by_side_are_two_classes() -> None:
    assert layout_of("A", "a", "b")[0] == {"A", "a", "b"}


@pytest.mark.parametrize(
    ("inside", "rules"), [("", ""), ("data/", ""), ("{}/", "splits"), ("{}_images/", "splits")]
)
def test_folders_nested_once_more_have_a_fingerprint_of_their_own(inside: str, rules: str) -> None:
    names = [f"{s}/{inside.format(s)}{c}/0.png" for s in ("test", "train") for c in "ab"]
    layout = read_layout(names)
    assert (set(layout.classes), layout.rules) == ({"a", "b"}, rules)


def test_classes_that_differ_in_case_keep_their_labels_beside_a_stray_image() -> None:
    layout = read_layout(["A/1.png", "a/2.png", "stray.png"])
    assert layout.classes == ["A", "a"]
    assert layout.skipped == [("stray.png", "it lies beside the class folders")]


def test_a_split_without_labels_that_is_left_out_changes_the_fingerprint() -> None:
    layout = read_layout(["dev/1.png", "test/a/2.png", "test/b/3.png", "train/a/4.png"])
    assert "dev/1.png" not in layout.names
    assert layout.rules == "splits"
