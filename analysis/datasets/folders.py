"""Folders of images: what lies in them, which images can be read, and which class each is of."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from analysis.datasets.image_files import BrokenImage, check, is_image_name, shown
from analysis.errors import OptionError
from analysis.options import Split
from analysis.progress import Progress, ProgressCallback
from analysis.system.home import home, replacing

_RULES = 1  # raise it whenever the same folder would be read in another way
_THREADS = 4
_SETTLED = 2 * 10**9  # ns; a folder's time may not tell a change from one just before it
_NAMED = 3  # files that a sentence names
_SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip

Skipped = tuple[str, str]  # a name, and the reason


@dataclass(frozen=True)
class Folder:
    """A folder whose every image has been decoded once."""

    root: Path
    names: tuple[str, ...]  # readable images, relative to `root`, sorted
    labels: tuple[int, ...]  # positions in `class_names`; all 0 without classes
    class_names: tuple[str, ...]
    splits: tuple[Split, ...]  # of each image; empty if no folders are named after splits
    skipped: tuple[Skipped, ...]
    digest: str  # of the names, sizes and times of all its images
    others: int  # files that are no images


@dataclass
class _Listing:
    images: dict[str, tuple[int, int]] = field(default_factory=dict)  # size, and time in ns
    skipped: list[Skipped] = field(default_factory=list)
    directories: list[tuple[str, int]] = field(default_factory=list)
    others: int = 0

    @property
    def digest(self) -> str:
        found = json.dumps([_RULES, sorted(self.images.items())])
        return hashlib.sha256(found.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Seen:
    folder: Folder
    directories: tuple[tuple[str, int], ...]  # all in it, and their times in ns
    listed: int  # ns since 1970


_known: dict[Path, _Seen] = {}


def scan_folder(root: Path, progress: ProgressCallback | None = None) -> Folder:
    """What is in a folder of images: of class folders, or of images alone.

    Images lie in one folder a class, at any depth, or directly in the folder and have no labels.
    With both, the images beside two or more class folders are left out; beside one folder, all
    are taken without labels. A folder around all the class folders is passed through. All this
    may lie within folders "train", "val" and "test", at least "train" and another, which are
    splits then and no classes.

    Hidden files are passed over, and links that leave the folder. Each image is decoded once, in
    threads, and only if it is not known from an earlier time.

    Parameters
    ----------
    root : Path
        An absolute path. Nothing in it is changed.
    progress : callable (Progress), optional
        Called for each image that is decoded.

    Raises
    ------
    OptionError
        If there is no such folder, it cannot be opened, or has no image that can be read.
    """
    known = _known.get(root)
    if known is not None and _unchanged(known):
        return known.folder
    began = time.time_ns()
    listing = _listed(root)
    if known is not None and known.folder.digest == listing.digest:
        folder = known.folder
    else:
        folder = _classified(root, listing, _reasons(root, listing, progress))
    _known[root] = _Seen(folder, tuple(listing.directories), began)
    return folder


def digest_now(root: Path) -> str:
    """The digest of a folder as it is now, which opens no image.

    Raises
    ------
    OptionError
        If it cannot be opened.
    """
    digest = _listed(root).digest
    if root in _known and _known[root].folder.digest != digest:
        del _known[root]
    return digest


def moved(before: Path, after: Path) -> Folder:
    """What is in a folder that was renamed; no image is decoded again."""
    _known.pop(before, None)
    with suppress(OSError):
        _memory(before).replace(_memory(after))
    return scan_folder(after)


def forget(root: Path) -> None:
    """Drop what is remembered of a folder that is gone."""
    _known.pop(root, None)
    with suppress(OSError):
        _memory(root).unlink(missing_ok=True)


def is_scanned(root: Path) -> bool:
    """Whether `scan_folder` would answer without decoding any image."""
    if root in _known and _unchanged(_known[root]):
        return True
    try:
        listing = _listed(root)
    except OptionError:
        return True  # `scan_folder` tells it at once
    remembered = _remembered(root)
    return all(_key(item) in remembered for item in listing.images.items())


def some_of(skipped: tuple[Skipped, ...]) -> str:
    """The first few of what was skipped, as a phrase."""
    named = ", ".join(f"{name} ({reason})" for name, reason in skipped[:_NAMED])
    return named + (f" and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else "")


def _unchanged(known: _Seen) -> bool:
    try:
        return all(
            (known.folder.root / name).stat().st_mtime_ns == then and then < known.listed - _SETTLED
            for name, then in known.directories
        )
    except OSError:
        return False


def _listed(root: Path) -> _Listing:
    try:
        real = root.resolve(strict=True)
        listing = _Listing()
        _list(real, "", listing)
    except FileNotFoundError as error:
        raise OptionError(f"`dataset` must be a folder of images: there is no {root}") from error
    except NotADirectoryError as error:
        raise OptionError(f"`dataset` must be a folder of images: {root} is a file") from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its folders lie too deep, or in a circle"
        raise OptionError(f"`dataset`: the folder {root} cannot be opened ({reason})") from error
    return listing


def _list(root: Path, inside: str, listing: _Listing) -> None:
    here = root / inside
    listing.directories.append((inside, here.stat().st_mtime_ns))
    with os.scandir(here) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = f"{inside}{entry.name}"
        reason = _link_problem(root, entry) if entry.is_symlink() else ""
        if reason:
            listing.skipped.append((shown(name), reason))
        elif entry.is_dir():
            try:
                _list(root, f"{name}/", listing)
            except OSError as error:
                listing.skipped.append((shown(name), f"cannot be opened: {error.strerror}"))
        elif is_image_name(entry.name) and entry.is_file():
            with suppress(FileNotFoundError):  # deleted since the folder was listed
                stat = entry.stat()
                listing.images[name] = (stat.st_size, stat.st_mtime_ns)
        else:
            listing.others += 1


def _link_problem(root: Path, entry: os.DirEntry[str]) -> str:
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return "it is a link that leads nowhere"
    if not target.is_relative_to(root):
        return "it is a link out of the folder"
    return "it is a link to a folder" if target.is_dir() else ""


def _key(item: tuple[str, tuple[int, int]]) -> str:
    name, (size, changed) = item
    return f"{size} {changed} {name}"


def _reasons(root: Path, listing: _Listing, progress: ProgressCallback | None) -> dict[str, str]:
    """Why each image cannot be used; an empty reason if it can."""
    remembered = _remembered(root)
    new = [name for name, about in listing.images.items() if _key((name, about)) not in remembered]
    fresh = dict(zip(new, _checked(root, new, progress), strict=True))
    keys = {name: _key((name, about)) for name, about in listing.images.items()}
    reasons = {n: fresh[n] if n in fresh else remembered[key] for n, key in keys.items()}
    if fresh or len(remembered) != len(reasons):
        found = {"rules": _RULES, "images": {keys[n]: reason for n, reason in reasons.items()}}
        with suppress(OSError), replacing(_memory(root)) as file:  # it is looked through again
            file.write(json.dumps(found).encode())
    return reasons


def _checked(root: Path, names: list[str], progress: ProgressCallback | None) -> Iterator[str]:
    def reason(name: str) -> str:
        try:
            check(root / name)
        except BrokenImage as error:
            return str(error)
        return ""

    pool = ThreadPoolExecutor(_THREADS)
    try:
        for done, (name, found) in enumerate(zip(names, pool.map(reason, names), strict=True), 1):
            if progress is not None:
                progress(Progress("Look through the images", shown(name), done, len(names)))
            yield found
    finally:
        pool.shutdown(cancel_futures=True)


def _memory(root: Path) -> Path:
    return home() / "folders" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _remembered(root: Path) -> dict[str, str]:
    try:
        found = json.loads(_memory(root).read_bytes())
        return dict(found["images"]) if found["rules"] == _RULES else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _classified(root: Path, listing: _Listing, reasons: dict[str, str]) -> Folder:
    skipped = listing.skipped + [(shown(n), reason) for n, reason in reasons.items() if reason]
    names = sorted(name for name, reason in reasons.items() if not reason)
    if not names:
        raise OptionError(_nothing(root, listing, tuple(skipped)))
    depth = _wrapping(names)
    split_of, at = _split_folders(names, depth), depth
    if split_of:
        depth += 1
        names = _all_in_folders(names, depth, "the folders of the splits", skipped)
        depth += _wrapping([name.split("/", depth)[depth] for name in names])
    classes = sorted({name.split("/")[depth] for name in names if name.count("/") > depth})
    if len(classes) > 1:
        names = _all_in_folders(names, depth + 1, "the class folders", skipped)
    elif any(name.count("/") == depth for name in names):
        classes = []
    number = {name: k for k, name in enumerate(classes)}
    splits = tuple(split_of[name.split("/")[at]] for name in names) if split_of else ()
    return Folder(
        root=root,
        names=tuple(names),
        labels=tuple(number.get(name.split("/")[depth], 0) for name in names),
        class_names=tuple(shown(name) for name in classes),
        splits=splits if "train" in splits and len(set(splits)) > 1 else (),
        skipped=tuple(skipped),
        digest=listing.digest,
        others=listing.others,
    )


def _wrapping(names: list[str]) -> int:
    """How many folders lie around all the class folders."""
    depth = 0
    while len({name.split("/")[depth] for name in names}) == 1:
        inside = {name.split("/")[depth + 1] for name in names if name.count("/") > depth + 1}
        beside = any(name.count("/") <= depth + 1 for name in names)
        if not inside or (beside and len(inside) == 1):
            break
        depth += 1
    return depth


def _split_folders(names: list[str], depth: int) -> dict[str, Split]:
    """The split of each folder that lies so deep, if they are named after splits, all of them."""
    folders = {name.split("/")[depth] for name in names if name.count("/") > depth}
    found = {name: _SPLIT_NAMES[name.lower()] for name in folders if name.lower() in _SPLIT_NAMES}
    splits = set(found.values())
    return found if len(found) == len(folders) and len(splits) > 1 and "train" in splits else {}


def _all_in_folders(names: list[str], depth: int, which: str, skipped: list[Skipped]) -> list[str]:
    """The names that lie so deep at least; the others are skipped."""
    skipped += [
        (shown(name), f"it lies beside {which}") for name in names if name.count("/") < depth
    ]
    return [name for name in names if name.count("/") >= depth]


def _nothing(root: Path, listing: _Listing, skipped: tuple[Skipped, ...]) -> str:
    if skipped:
        return f"`dataset`: no image in {root} can be read: {some_of(skipped)}"
    others = f"only {listing.others:,} other file{'s' * (listing.others != 1)}"
    held = others if listing.others else "it is empty"
    return f"`dataset` must be a folder of images: {root} holds none ({held})"
