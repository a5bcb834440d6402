"""Scan folders of images: which images can be read, and the class of each."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from analysis.datasets.image_files import (
    BrokenImage,
    check,
    display_name,
    is_image_name,
    is_litter,
    why_unread,
)
from analysis.datasets.layout import read_layout
from analysis.datasets.value_ranges import Scales, ValueRange, common_scales
from analysis.errors import OptionError
from analysis.options import Split
from analysis.progress import Progress, ProgressCallback
from analysis.system.home import home, replacing
from analysis.text import plural

_RULES = 1  # raise it whenever the same folder would be read differently
_CHECKS = 3  # raise it whenever more is kept of each image, or a reason is another
_THREADS = 4
_SETTLED = 2 * 10**9  # ns; two changes in quick succession may leave the same folder time
_NAMED = 3  # files that a sentence names

NO_IMAGE = "it is not an image"
_OUT, _MISSING = "it is a link out of the folder", "it is a link to a missing file"
_AGAIN = "it is a link to a folder that is read already"

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
    others: tuple[Skipped, ...]  # files that are not images, with that reason
    scales: Scales = ()  # of values beyond 8 bits
    notes: tuple[str, ...] = ()  # sentences: what was guessed
    rules: str = ""  # of the layout, for the fingerprint


@dataclass
class _Listing:
    follow_links: bool
    images: dict[str, tuple[int, int]] = field(default_factory=dict)  # size, and time in ns
    skipped: list[Skipped] = field(default_factory=list)
    directories: list[tuple[str, int]] = field(default_factory=list)
    others: list[Skipped] = field(default_factory=list)
    entered: set[tuple[int, int]] = field(default_factory=set)  # folders, while links are followed

    @property
    def digest(self) -> str:
        content = json.dumps([_RULES, sorted(self.images.items())])
        return hashlib.sha256(content.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Seen:
    folder: Folder
    directories: tuple[tuple[str, int], ...]  # all its subfolders, with their times in ns
    began: int  # start of the scan, ns since 1970


_known: dict[tuple[Path, bool], _Seen] = {}  # with links followed, and without


def scan_folder(
    root: Path, progress: ProgressCallback | None = None, *, follow_links: bool = False
) -> Folder:
    """Scan a folder of class folders, or of images alone.

    Images lie in one folder per class, at any depth, or directly in the folder and then have no
    labels. With both, images beside two or more class folders are left out; beside a single
    folder, all images are used without labels. Outer folders around all class folders are
    skipped. All this may lie in folders such as "train", "val" and "test" (at least "train" and
    one other), which are then splits, not classes.

    Hidden files are ignored, and links that leave the folder unless they are followed. Each image
    is decoded once, in threads, and only if no earlier scan has decoded it.

    Parameters
    ----------
    root : Path
        An absolute path. Nothing in it is changed.
    progress : callable (Progress), optional
        Called for each image that is decoded.
    follow_links : bool, default=False
        Read what links out of the folder lead to, as DVC and DataLad make them.

    Raises
    ------
    OptionError
        If the folder does not exist, cannot be opened, or has no readable image.
    """
    known = _known.get((root, follow_links))
    if known is not None and _is_unchanged(known):
        return known.folder
    began = time.time_ns()
    listing = _list_folder(root, follow_links)
    if known is not None and known.folder.digest == listing.digest:
        folder = known.folder
    else:
        folder = _classify(root, listing, _check_all(root, listing, progress))
    _known[root, follow_links] = _Seen(folder, tuple(listing.directories), began)
    return folder


def digest_now(root: Path, *, follow_links: bool = False) -> str:
    """The digest of a folder as it is now, computed without opening an image.

    Raises
    ------
    OptionError
        If it cannot be opened.
    """
    digest = _list_folder(root, follow_links).digest
    key = (root, follow_links)
    if key in _known and _known[key].folder.digest != digest:
        del _known[key]
    return digest


def scan_renamed(before: Path, after: Path) -> Folder:
    """Scan a folder after its renaming; no image is decoded again."""
    _known.pop((before, False), None)
    with suppress(OSError):
        _checks_file(before).replace(_checks_file(after))
    return scan_folder(after)


def forget(root: Path) -> None:
    """Discard the scan of a folder that no longer exists."""
    _known.pop((root, False), None)
    with suppress(OSError):
        _checks_file(root).unlink(missing_ok=True)


def is_scanned(root: Path, *, follow_links: bool = False) -> bool:
    """Whether `scan_folder` needs to decode no image."""
    key = (root, follow_links)
    if key in _known and _is_unchanged(_known[key]):
        return True
    try:
        listing = _list_folder(root, follow_links)
    except OptionError:
        return True  # `scan_folder` reports it at once
    checked = _load_checks(root, follow_links)
    return all(_key(item) in checked for item in listing.images.items())


def some_of(skipped: Sequence[Skipped]) -> str:
    """The first few skipped files, as a phrase; a reason stands once."""
    of_reason: dict[str, list[str]] = {}
    for name, reason in skipped[:_NAMED]:
        of_reason.setdefault(reason, []).append(name)
    named = ", ".join(f"{', '.join(names)} ({reason})" for reason, names in of_reason.items())
    return named + (f" and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else "")


def count_left_out(skipped: Sequence[Skipped], *, example: bool = False) -> list[str]:
    """How many files were left out, as phrases: for each reason, the class folders.

    With `example`, each phrase names a file.
    """
    folders: dict[str, Counter[str]] = {}
    first: dict[str, str] = {}
    for name, reason in skipped:
        folder = PurePosixPath(name).parent.name or "beside the folders"
        folders.setdefault(reason, Counter())[folder] += 1
        first.setdefault(reason, name)
    phrases = []
    for reason, counts in sorted(folders.items(), key=lambda item: -item[1].total()):
        where = ", ".join(f"{folder} {count:,}" for folder, count in counts.most_common(_NAMED))
        more = f" and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else ""
        files = plural(counts.total(), "file")
        if example:
            files += f", {'such as ' * (counts.total() > 1)}{first[reason]}"
        phrases.append(f"{files}: {reason} ({where}{more})")
    return phrases


def _link_notes(skipped: Sequence[Skipped]) -> list[str]:
    """What to do about links, in sentences."""
    reasons = Counter(reason for _, reason in skipped)
    notes = []
    if count := reasons[_OUT]:
        notes.append(
            f"{plural(count, 'link')} out of the folder, as DVC and DataLad make them: use "
            "--follow-links, or tick “Follow links”, to read what they lead to."
        )
    if count := reasons[_MISSING]:
        notes.append(
            f"{plural(count, 'link')} to missing files: fetch these first, as with “dvc pull” or "
            "“datalad get”."
        )
    return notes


def _is_unchanged(known: _Seen) -> bool:
    try:
        return all(
            (known.folder.root / name).stat().st_mtime_ns == time and time < known.began - _SETTLED
            for name, time in known.directories
        )
    except OSError:
        return False


def _list_folder(root: Path, follow_links: bool) -> _Listing:
    try:
        real = root.resolve(strict=True)
        listing = _Listing(follow_links)
        _list_into(real, "", listing)
    except FileNotFoundError as error:
        raise OptionError(f"`dataset` must be a folder of images: {root} does not exist") from error
    except NotADirectoryError as error:
        raise OptionError(f"`dataset` must be a folder of images: {_about_file(root)}") from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its folders are too deep, or form a loop"
        raise OptionError(f"`dataset`: the folder {root} cannot be opened ({reason})") from error
    return listing


def _about_file(path: Path) -> str:
    """What to give instead of a file."""
    name = path.name.lower()
    if name.endswith((".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")):
        zipped = ", or upload it on the page" if name.endswith(".zip") else ""
        return f"{path} is a packed file. Unpack it{zipped}"
    if name.endswith((".yaml", ".yml", ".csv", ".json", ".txt")):
        return f"{path} is a list. Give the folder with the images, with one folder for each class"
    return f"{path} is a file. Give the folder that it lies in"


def _list_into(root: Path, inside: str, listing: _Listing) -> None:
    here = root / inside
    listing.directories.append((inside, here.stat().st_mtime_ns))
    with os.scandir(here) as unsorted:
        entries = sorted(unsorted, key=lambda entry: entry.name)
    for entry in entries:
        if is_litter(entry.name):
            continue
        name = f"{inside}{entry.name}"
        reason = _link_problem(root, entry, listing) if entry.is_symlink() else ""
        if reason:
            listing.skipped.append((display_name(name), reason))
        elif entry.is_dir() and listing.follow_links and _was_entered(entry, listing):
            listing.skipped.append((display_name(name), _AGAIN))
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
            listing.others.append((display_name(name), NO_IMAGE))


def _was_entered(entry: os.DirEntry[str], listing: _Listing) -> bool:
    """Whether a folder has been listed, by another way; links may lead in circles."""
    stat = entry.stat()
    identity = (stat.st_dev, stat.st_ino)
    known = identity in listing.entered
    listing.entered.add(identity)
    return known


def _link_problem(root: Path, entry: os.DirEntry[str], listing: _Listing) -> str:
    try:
        target = Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):
        return _MISSING
    if target.is_relative_to(root):
        return "it is a link to a folder" if target.is_dir() else ""
    if not listing.follow_links:
        return _OUT
    return _AGAIN if root.is_relative_to(target) else ""


def _key(item: tuple[str, tuple[int, int]]) -> str:
    name, (size, changed) = item
    return f"{size} {changed} {name}"


def _check_all(
    root: Path, listing: _Listing, progress: ProgressCallback | None
) -> dict[str, Checked]:
    """Why each image cannot be used (empty if it can), and its values beyond 8 bits."""
    earlier = _load_checks(root, listing.follow_links)
    keys = {item[0]: _key(item) for item in listing.images.items()}
    new = [name for name, key in keys.items() if key not in earlier]
    fresh = dict(zip(new, _check_images(root, new, progress), strict=True))
    checked = {n: fresh[n] if n in fresh else earlier[key] for n, key in keys.items()}
    if fresh or len(earlier) != len(checked):
        images = {keys[n]: result for n, result in checked.items()}
        content = {"rules": [_RULES, _CHECKS], "images": images}
        with (
            suppress(OSError),
            replacing(_checks_file(root, listing.follow_links)) as file,
        ):  # else it is scanned again
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


def _checks_file(root: Path, follow_links: bool = False) -> Path:
    identity = os.fsencode(root) + b"\0" * follow_links
    return home() / "folders" / f"{hashlib.sha256(identity).hexdigest()[:32]}.json"


def _load_checks(root: Path, follow_links: bool) -> dict[str, Checked]:
    try:
        content = json.loads(_checks_file(root, follow_links).read_bytes())
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
        others=tuple(listing.others),
        scales=common_scales(values for values in ranges if values is not None),
        notes=(*layout.notes, *_link_notes(skipped)),
        rules=layout.rules,
    )


def _no_image(root: Path, listing: _Listing, skipped: tuple[Skipped, ...]) -> str:
    if skipped:
        text = f"`dataset`: no image in {root} can be read: {some_of(skipped)}"
        return ". ".join((text, *(note.removesuffix(".") for note in _link_notes(skipped))))
    count = len(listing.others)
    others = f"only {count:,} other file{'s' * (count != 1)}"
    content = others if listing.others else "it is empty"
    return f"`dataset` must be a folder of images: {root} contains none ({content})"
