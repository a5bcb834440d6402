"""Which folders hold splits, in the many spellings that people and archives use."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from analysis.options import Split

_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trainval", "trn", "traindata", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "development"), "validation"),
    **dict.fromkeys(("eval", "evaluation", "valset", "validset", "devset"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout", "testdata"), "test"),
    **dict.fromkeys(("testset",), "test"),
}  # fmt: skip
SURE = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_FILLERS = {
    *("set", "sets", "data", "dataset", "split", "splits", "folder", "part", "seg", "x", "all"),
    *("image", "images", "img", "imgs", "pic", "pics", "picture", "pictures", "photos", "samples"),
    *("public", "private", "the"),
}  # fmt: skip
_IMAGES = {"image", "images", "img", "imgs", "jpegimages", "rgb", "inputs"}
# What belongs to an image and is an image itself, or a list of boxes.
_TARGETS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "gt", "groundtruth"),
    *("segmentation", "segmentations", "segmentationclass", "targets", "depth"),
}
_FOLD = re.compile(r"(?:k|cv)?fold(\d+)", re.IGNORECASE)


def plain(name: str) -> str:
    """A name in one spelling of Unicode and in one case."""
    return unicodedata.normalize("NFC", name).casefold()


def split_folders(folders: Iterable[str]) -> dict[str, Split]:
    """The split of each folder whose name says one; empty without "train" and another.

    What else the names contain, such as "pets" in "pets_train", must be the same in all.
    """
    by_rest: dict[frozenset[str], dict[str, Split]] = {}
    for name in folders:
        split, rest = _parse(name)
        if split is not None:
            by_rest.setdefault(rest, {})[name] = split
    groups = [g for g in by_rest.values() if len(set(g.values())) > 1 and "train" in g.values()]
    return max(groups, key=len, default={}) or _folds(list(folders))


def looks_like_split(name: str) -> bool:
    """Whether a name alone would do for a split."""
    return _parse(name) in [(split, frozenset()) for split in _WORDS.values()]


def are_roles(folders: Iterable[str]) -> bool:
    """Whether folders hold images, and what belongs to each, such as masks: they are no classes."""
    words = {re.sub(r"[\W_]", "", plain(name)) for name in folders}
    return bool(words & _IMAGES) and words <= _IMAGES | _TARGETS


def _parse(name: str) -> tuple[Split | None, frozenset[str]]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    spaced = re.sub(r"h(old|eld)[\W_]+out", r"h\1out", spaced.casefold())
    words = [word for word in re.split(r"[\W_\d]+", spaced) if word]
    splits = [_WORDS[word] for word in words if word in _WORDS]
    rest = frozenset(word for word in words if word not in _WORDS and word not in _FILLERS)
    both: Split | None = "train" if "train" in splits and "test" not in splits else None
    return (splits[0] if len(set(splits)) == 1 else both), rest


def _folds(folders: list[str]) -> dict[str, Split]:
    """Of folders fold1, fold2, …, the last is for the test, as each could be."""
    numbers = {name: _FOLD.fullmatch(re.sub(r"[\W_]", "", name)) for name in folders}
    if len(folders) < 2 or not all(numbers.values()):
        return {}
    order = sorted(folders, key=lambda name: int(m[1]) if (m := numbers[name]) else 0)
    return {name: "test" if name == order[-1] else "train" for name in order}
