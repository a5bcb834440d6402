"""Read classes and splits from the paths of images."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from analysis.datasets.image_files import display_name
from analysis.datasets.split_names import SURE, are_roles, looks_like_split, plain, split_folders
from analysis.options import Split

_NAMED = 4  # folders that a sentence names


@dataclass
class Layout:
    """Where each image belongs."""

    names: list[str] = field(default_factory=list)  # relative to the root, sorted
    classes: list[str] = field(default_factory=list)  # of each name; "" without classes
    splits: list[Split] = field(default_factory=list)  # of each name; empty without splits
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rules: str = ""  # which rules beyond the oldest decided; part of the fingerprint


def read_layout(names: list[str]) -> Layout:
    """Find outer folders, splits and classes among sorted paths."""
    layout = Layout(names=names)
    depth = _outer_depth(names)
    tops = {name.split("/")[depth] for name in names if name.count("/") > depth}
    split_of = _accepted_splits(names, depth, tops, layout)
    inner = {name: name.split("/", depth)[depth] for name in names}
    if split_of:
        inner = _inside_splits(inner, split_of, layout)
    elif odd := sorted(top for top in tops if looks_like_split(top)):
        layout.notes.append(
            f"Taken as classes, although named like splits: {_quote(odd)}. "
            "Put every image into train, val or test if they are splits."
        )
    classes = {path.split("/")[0] for path in inner.values() if "/" in path}
    if len(classes) > 1:
        layout.skipped += [
            (display_name(name), "it lies beside the class folders")
            for name, path in inner.items()
            if "/" not in path
        ]
        inner = {name: path for name, path in inner.items() if "/" in path}
    elif any("/" not in path for path in inner.values()):
        classes = set()
    elif are_roles(classes):
        layout.rules += "+roles"
        classes = set()
    _note_guesses(inner, classes, layout)
    layout.names = sorted(inner)
    layout.classes = [inner[n].split("/")[0] if classes else "" for n in layout.names]
    layout.splits = [split_of[n.split("/")[depth]] for n in layout.names] if split_of else []
    if not ("train" in layout.splits and len(set(layout.splits)) > 1):
        layout.splits = []
    _join_spellings(layout)
    return layout


def _note_guesses(inner: dict[str, str], classes: set[str], layout: Layout) -> None:
    """Say what else the folders that are taken as classes may be."""
    if are_roles(classes):
        layout.notes.append(
            f"Taken as classes: {_quote(sorted(classes))}. If these are images and what belongs to "
            "each of them, give the folder with the images alone."
        )
    within = [path.split("/")[1] if path.count("/") > 1 else "" for path in inner.values()]
    splits = split_folders(set(within)) if classes and all(within) else {}
    if splits and set(within) == set(splits):
        layout.notes.append(
            f"Each class contains folders named like splits, which are not used: "
            f"{_quote(sorted(splits))}. Put the classes into the splits to use them."
        )


def _outer_depth(names: list[str]) -> int:
    """How many outer folders enclose all the class folders."""
    depth = 0
    while len({name.split("/")[depth] for name in names}) == 1:
        inside = {name.split("/")[depth + 1] for name in names if name.count("/") > depth + 1}
        beside = any(name.count("/") <= depth + 1 for name in names)
        if not inside or (beside and len(inside) == 1):
            break
        depth += 1
    return depth


def _accepted_splits(
    names: list[str], depth: int, tops: set[str], layout: Layout
) -> dict[str, Split]:
    split_of = split_folders(tops)
    others = tops - set(split_of)
    if not split_of:
        return {}
    inside: dict[str, list[str]] = {top: [] for top in tops}  # paths below each folder
    for name in names:
        top, _, path = name.split("/", depth)[depth].partition("/")
        if top in inside:
            inside[top].append(path)
    known = {name for folder in split_of for name in _classes_in(inside[folder], folder)}
    if others and not known:
        return {}
    for other in others:  # splits without labels, or with the same classes once more
        if not _classes_in(inside[other], other) <= known:
            return {}
    if others or not {plain(name) for name in split_of} <= SURE:
        layout.rules = "splits"
    if not {plain(name) for name in split_of} <= SURE:
        taken = [f"“{display_name(name)}” ({split})" for name, split in sorted(split_of.items())]
        layout.notes.append(
            f"Folders taken as splits by their names: {_list(taken)}. "
            "Rename them if they are classes."
        )
    return split_of


def _classes_in(paths: list[str], folder: str) -> set[str]:
    return {plain(path.split("/")[0]) for path in _unwrap(paths, folder) if "/" in path}


def _unwrap(paths: list[str], folder: str) -> list[str]:
    """Paths inside a split's folder, without folders around all of its classes."""
    if not paths:
        return paths
    depth = _outer_depth(paths)
    paths = [path.split("/", depth)[depth] for path in paths]
    if all("/" in p and plain(p.split("/")[0]) == plain(folder) for p in paths):
        paths = [path.partition("/")[2] for path in paths]  # the same name once more
    return paths


def _inside_splits(
    inner: dict[str, str], split_of: dict[str, Split], layout: Layout
) -> dict[str, str]:
    """Each path without its split's folder; what is in no split, or unlabelled, is left out."""
    result: dict[str, str] = {}
    unlabelled: dict[str, dict[str, str]] = {}
    all_inside = [path.partition("/")[2] for path in inner.values() if "/" in path]
    common = _outer_depth(all_inside)  # what the oldest rules unwrap
    for name, path in inner.items():
        if path.split("/")[0] not in split_of or "/" not in path:
            reason = "it lies beside the folders of the splits"
            layout.skipped.append((display_name(name), reason))
    for folder in split_of:
        names = [name for name, path in inner.items() if path.startswith(folder + "/")]
        paths = _unwrap([inner[name].partition("/")[2] for name in names], folder)
        paths_of = dict(zip(names, paths, strict=True))
        if any(inner[n].split("/", common + 1)[-1] != path for n, path in paths_of.items()):
            layout.rules = "splits"
        labelled = any("/" in path for path in paths)
        (result if labelled else unlabelled.setdefault(folder, {})).update(paths_of)
    if not result:
        return {name: path for paths in unlabelled.values() for name, path in paths.items()}
    for folder, paths_of in unlabelled.items():
        layout.rules = "splits"
        reason = f"the folder “{display_name(folder)}” has no class folders"
        layout.skipped += [(display_name(name), reason) for name in paths_of]
    return result


def _join_spellings(layout: Layout) -> None:
    """One class for each name, in whatever spelling of Unicode, or of case in another split.

    Names that differ in case and stand side by side are two classes, such as "A" and "a".
    """
    parents: dict[str, set[str]] = {}
    for name, own in zip(layout.names, layout.classes, strict=True):
        above = name.rpartition(f"{own}/")[0] if own else ""
        parents.setdefault(own, set()).add(above)
    spelling: dict[str, str] = {}
    classes: dict[str, list[str]] = {}  # those that differ in spelling alone
    for own in sorted(parents):
        alike = classes.setdefault(plain(own), [])
        for other in alike:
            if _composed(other) == _composed(own) or not parents[own] & parents[other]:
                spelling[own] = other
                parents[other] |= parents[own]
                break
        else:
            spelling[own] = own
            alike.append(own)
    joined = sorted({first for own, first in spelling.items() if own != first})
    if joined:
        layout.classes = [spelling[own] for own in layout.classes]
        layout.rules += "+spellings"
        layout.notes.append(
            f"Folders that spell a name differently are one class: {_quote(joined)}."
        )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _quote(names: list[str]) -> str:
    return _list([f"“{display_name(name)}”" for name in names])


def _list(items: list[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more
