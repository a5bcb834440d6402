"""Scan folders of images: which images can be read, and the class of each."""

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

from analysis.datasets.image_files import (
    BrokenImage,
    check,
    display_name,
    is_image_name,
    why_unread,
)
from analysis.datasets.layout import read_layout
from analysis.datasets.value_ranges import Scales, ValueRange, common_scales
from analysis.errors import OptionError
from analysis.options import Split
from analysis.progress import Progress, ProgressCallback
from analysis.system.home import home, replacing

_RULES = 1  # raise it whenever the same folder would be read differently
_CHECKS = 2  # raise it whenever more is kept of each image
_THREADS = 4
_SETTLED = 2 * 10**9  # ns; two changes in quick succession may leave the same folder time
_NAMED = 3  # files that a sentence names

Skipped = tuple[str, str]  # a name, and the reason
Checked = tuple[str, ValueRange | None]  # why an image cannot be used; values beyond 8 bits


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
    others: int  # files that are not images
    scales: Scales = ()  # of values beyond 8 bits
    notes: tuple[str, ...] = ()  # sentences: what was guessed
    rules: str = ""  # of the layout, for the fingerprint


@dataclass
class _Listing:
    images: dict[str, tuple[int, int]] = field(default_factory=dict)  # size, and time in ns
    skipped: list[Skipped] = field(default_factory=list)
    directories: list[tuple[str, int]] = field(default_factory=list)
    others: int = 0

    @property
    def digest(self) -> str:
        content = json.dumps([_RULES, sorted(self.images.items())])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Seen:
    folder: Folder
    directories: tuple[tuple[str, int], ...]  # all its subfolders, with their times in ns
    began: int  # start of the scan, ns since 1970


_known: dict[Path, _Seen] = {}


def scan_folder(root: Path, progress: ProgressCallback | None = None) -> Folder:
    """Scan a folder of class folders, or of images alone.

    Images lie in one folder per class, at any depth, or directly in the folder and then have no
    labels. With both, images beside two or more class folders are left out; beside a single
    folder, all images are used without labels. Outer folders around all class folders are
    skipped. All this may lie in folders such as "train", "val" and "test" (at least "train" and
    one other), which are then splits, not classes.

    Hidden files and links that leave the folder are ignored. Each image is decoded once, in
    threads, and only if no earlier scan has decoded it.

    Parameters
    ----------
    root : Path
        An absolute path. Nothing in it is changed.
    progress : callable (Progress), optional
        Called for each image that is decoded.

    Raises
    ------
    OptionError
        If the folder does not exist, cannot be opened, or has no readable image.
    """
    known = _known.get(root)
    if known is not None and _is_unchanged(known):
        return known.folder
    began = time.time_ns()
    listing = _list_folder(root)
    if known is not None and known.folder.digest == listing.digest:
        folder = known.folder
    else:
        folder = _classify(root, listing, _check_all(root, listing, progress))
    _known[root] = _Seen(folder, tuple(listing.directories), began)
    return folder


def digest_now(root: Path) -> str:
    """The digest of a folder as it is now, computed without opening an image.

    Raises
    ------
    OptionError
        If it cannot be opened.
    """
    digest = _list_folder(root).digest
    if root in _known and _known[root].folder.digest != digest:
        del _known[root]
    return digest


def scan_renamed(before: Path, after: Path) -> Folder:
    """Scan a folder after its renaming; no image is decoded again."""
    _known.pop(before, None)
    with suppress(OSError):
        _checks_file(before).replace(_checks_file(after))
    return scan_folder(after)


def forget(root: Path) -> None:
    """Discard the scan of a folder that no longer exists."""
    _known.pop(root, None)
    with suppress(OSError):
        _checks_file(root).unlink(missing_ok=True)


def is_scanned(root: Path) -> bool:
    """Whether `scan_folder` needs to decode no image."""
    if root in _known and _is_unchanged(_known[root]):
        return True
    try:
        listing = _list_folder(root)
    except OptionError:
        return True  # `scan_folder` reports it at once
    checked = _load_checks(root)
    return all(_key(item) in checked for item in listing.images.items())


def some_of(skipped: tuple[Skipped, ...]) -> str:
    """The first few skipped files, as a phrase."""
    named = ", ".join(f"{name} ({reason})" for name, reason in skipped[:_NAMED])
    return named + (f" and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else "")


def _is_unchanged(known: _Seen) -> bool:
    try:
        return all(
            (known.folder.root / name).stat().st_mtime_ns == time and time < known.began - _SETTLED
            for name, time in known.directories
        )
    except OSError:
        return False


def _list_folder(root: Path) -> _Listing:
    try:
        real = root.resolve(strict=True)
        listing = _Listing()
        _list_into(real, "", listing)
    except FileNotFoundError as error:
        raise OptionError(f"`dataset` must be a folder of images: {root} does not exist") from error
    except NotADirectoryError as error:
        raise OptionError(f"`dataset` must be a folder of images: {root} is a file") from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its folders are too deep, or form a loop"
        raise OptionError(f"`dataset`: the folder {root} cannot be opened ({reason})") from error
    return listing


def _list_into(root: Path, inside: str, listing: _Listing) -> None:
    here = root / inside
    listing.directories.append((inside, here.stat().st_mtime_ns))
    with os.scandir(here) as unsorted:
        entries = sorted(unsorted, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = f"{inside}{entry.name}"
        reason = _link_problem(root, entry) if entry.is_symlink() else ""
        if reason:
            listing.skipped.append((display_name(name), reason))
        elif entry.is_dir():
            try:
                _list_into(root, f"{name}/", listing)
            except OSError as error:
                listing.skipped.append((display_name(name), f"cannot be opened: {error.strerror}"))
        elif is_image_name(entry.name) and entry.is_file():
            with suppress(FileNotFoundError):  # deleted since the folder was listed
                stat = entry.stat()
                listing.images[name] = (stat.st_size, stat.st_mtime_ns)
        elif reason := why_unread(entry.name):
            listing.skipped.append((display_name(name), reason))
        else:
            listing.others += 1


def _link_problem(root: Path, entry: os.DirEntry[str]) -> str:
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return "it is a link to a missing file"
    if not target.is_relative_to(root):
        return "it is a link out of the folder"
    return "it is a link to a folder" if target.is_dir() else ""


def _key(item: tuple[str, tuple[int, int]]) -> str:
    name, (size, changed) = item
    return f"{size} {changed} {name}"


def _check_all(
    root: Path, listing: _Listing, progress: ProgressCallback | None
) -> dict[str, Checked]:
    """Why each image cannot be used (empty if it can), and its values beyond 8 bits."""
    earlier = _load_checks(root)
    keys = {item[0]: _key(item) for item in listing.images.items()}
    new = [name for name, key in keys.items() if key not in earlier]
    fresh = dict(zip(new, _check_images(root, new, progress), strict=True))
    checked = {n: fresh[n] if n in fresh else earlier[key] for n, key in keys.items()}
    if fresh or len(earlier) != len(checked):
        images = {keys[n]: result for n, result in checked.items()}
        content = {"rules": [_RULES, _CHECKS], "images": images}
        with suppress(OSError), replacing(_checks_file(root)) as file:  # else it is scanned again
            file.write(json.dumps(content).encode())
    return checked


def _check_images(
    root: Path, names: list[str], progress: ProgressCallback | None
) -> Iterator[Checked]:
    def result(name: str) -> Checked:
        try:
            return "", check(root / name)
        except BrokenImage as error:
            return str(error), None

    pool = ThreadPoolExecutor(_THREADS)
    problems = pool.map(result, names)
    try:
        for done, (name, problem) in enumerate(zip(names, problems, strict=True), 1):
            if progress is not None:
                progress(Progress("Check the images", display_name(name), done, len(names)))
            yield problem
    finally:
        pool.shutdown(cancel_futures=True)


def _checks_file(root: Path) -> Path:
    return home() / "folders" / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _load_checks(root: Path) -> dict[str, Checked]:
    try:
        content = json.loads(_checks_file(root).read_bytes())
        if content["rules"] != [_RULES, _CHECKS]:
            return {}
        return {
            key: (str(reason), ValueRange(*values) if values else None)
            for key, (reason, values) in content["images"].items()
        }
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _classify(root: Path, listing: _Listing, checked: dict[str, Checked]) -> Folder:
    skipped = listing.skipped + [
        (display_name(n), reason) for n, (reason, _) in checked.items() if reason
    ]
    names = sorted(name for name, (reason, _) in checked.items() if not reason)
    if not names:
        raise OptionError(_no_image(root, listing, tuple(skipped)))
    layout = read_layout(names)
    classes = sorted(set(layout.classes) - {""})
    number = {name: k for k, name in enumerate(classes)}
    ranges = (checked[name][1] for name in layout.names)
    return Folder(
        root=root,
        names=tuple(layout.names),
        labels=tuple(number.get(name, 0) for name in layout.classes),
        class_names=tuple(display_name(name) for name in classes),
        splits=tuple(layout.splits),
        skipped=tuple(skipped + layout.skipped),
        digest=listing.digest,
        others=listing.others,
        scales=common_scales(values for values in ranges if values is not None),
        notes=tuple(layout.notes),
        rules=layout.rules,
    )


def _no_image(root: Path, listing: _Listing, skipped: tuple[Skipped, ...]) -> str:
    if skipped:
        return f"`dataset`: no image in {root} can be read: {some_of(skipped)}"
    others = f"only {listing.others:,} other file{'s' * (listing.others != 1)}"
    content = others if listing.others else "it is empty"
    return f"`dataset` must be a folder of images: {root} contains none ({content})"
