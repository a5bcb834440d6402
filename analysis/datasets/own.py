"""The user's own images as datasets: a folder by path, or a stored upload."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np

from analysis.datasets.folders import Folder, digest_now, forget, is_scanned, scan_folder, some_of
from analysis.datasets.image_files import FileImages
from analysis.datasets.specs import Content, DatasetSpec
from analysis.datasets.splits import (
    MIN_CLASS_SIZE,
    MIN_TRAINED,
    Labels,
    own_splits,
    why_untrainable,
)
from analysis.datasets.value_ranges import scale_note
from analysis.errors import AssetError, OptionError
from analysis.options import SPLITS, Split
from analysis.progress import ProgressCallback
from analysis.system.home import home
from analysis.system.paths import plain_path
from analysis.text import plural

FOLDER, LINKED, OWN = "folder:", "linked:", "own:"  # linked: with links out of it followed
LEFTOVER_SECONDS = 3600.0  # an unfinished folder of that age is abandoned
_PART = ".part-"  # prefix of the names of unfinished folders
_ID = re.compile(r"\w[\w-]*")

_specs: dict[str, tuple[Folder, DatasetSpec]] = {}


def is_own(name: str) -> bool:
    """Whether a dataset's name stands for a folder by path or an upload."""
    return name.startswith((FOLDER, LINKED, OWN))


def needs_look(name: str) -> bool:
    """Whether `own_spec` has to decode images first, which takes time."""
    try:
        return not is_scanned(folder_of(name), follow_links=name.startswith(LINKED))
    except OptionError:
        return False


def own_spec(name: str, progress: ProgressCallback | None = None) -> DatasetSpec:
    """The description of a folder by path or of an upload.

    Parameters
    ----------
    name : str
        "folder:" or "linked:" and an absolute path, or a name from `own_datasets` ("own:…").
    progress : callable (Progress), optional
        Called for each image that has to be decoded to check it.

    Raises
    ------
    OptionError
        If there is no such folder, or it has no readable image.
    """
    folder = scan_folder(folder_of(name), progress, follow_links=name.startswith(LINKED))
    entry = _specs.get(name)
    if entry is None or entry[0] is not folder:
        entry = folder, _make_spec(name, folder)
        _specs[name] = entry
    return entry[1]


def own_datasets() -> list[str]:
    """Names of the stored uploads, newest first."""
    return [OWN + path.name for path in sorted(_upload_folders(), key=_age)]


def remove_dataset(name: str) -> None:
    """Delete a stored upload.

    Raises
    ------
    OptionError
        If there is no upload of that name.
    AssetError
        If its files cannot be deleted.
    """
    root = folder_of(name)
    if not name.startswith(OWN) or not root.is_dir():
        raise OptionError(f"`dataset` must be a stored upload, got {name!r}")
    try:
        trash = Path(tempfile.mkdtemp(dir=root.parent, prefix=_PART))
        root.rename(trash / root.name)  # in one step, so that half a dataset is never listed
        shutil.rmtree(trash)
    except OSError as error:
        raise AssetError(f"{root} could not be deleted ({error.strerror}).") from error
    forget(root)
    _specs.pop(name, None)


def kept_folder(identity: str) -> Path:
    """The folder in which an upload is stored."""
    return home() / "datasets" / identity


@contextmanager
def temporary_folder(parent: Path, *, leftover_seconds: float = LEFTOVER_SECONDS) -> Iterator[Path]:
    """A new folder beside the finished ones, deleted at the end unless it was renamed.

    Folders that killed processes left behind are deleted once they are old enough.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob(f"{_PART}*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > leftover_seconds:
                shutil.rmtree(old)
    part = Path(tempfile.mkdtemp(dir=parent, prefix=_PART))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _upload_folders() -> Iterator[Path]:
    with suppress(OSError):
        for path in (home() / "datasets").iterdir():
            if _ID.fullmatch(path.name) and path.is_dir():
                yield path


def _age(path: Path) -> tuple[float, str]:
    with suppress(OSError):
        return -path.stat().st_mtime, path.name
    return 0.0, path.name


def folder_of(name: str) -> Path:
    """The folder that holds the images of a folder by path or of an upload.

    Raises
    ------
    OptionError
        If the path is not absolute, or there is no such upload.
    """
    rest = name.partition(":")[2]
    if name.startswith((FOLDER, LINKED)):
        rest = plain_path(rest)
        if not rest or "\0" in rest or not Path(rest).is_absolute():
            raise OptionError(
                f'`dataset` must be "folder:" and an absolute path, got {name!r}: write the full '
                "path from the root of the disk"
            )
        return Path(rest)
    if not _ID.fullmatch(rest) or not kept_folder(rest).is_dir():
        raise OptionError(
            f"`dataset`: there is no upload {name!r}; upload the images again, or choose one of "
            f"{', '.join(own_datasets()) or 'the bundled datasets'}"
        )
    return kept_folder(rest)


def _make_spec(name: str, folder: Folder) -> DatasetSpec:
    labels = np.array(folder.labels, dtype=np.int64)
    splits_by_seed = partial(own_splits, labels, named=folder.splits)
    # The seed decides which images are in a split, but not how many.
    sizes = {split: len(indices) for split, indices in splits_by_seed(0).items()}
    kept = name.startswith(OWN)

    def fingerprint() -> str:
        # An upload's name contains the digest of its content; a folder's digest, the files' times.
        # What newer rules decide is added only where they did, so that older keys stay.
        now = digest_now(folder.root, follow_links=name.startswith(LINKED))
        added = "".join(f"-{kind}-{s.least:g}-{s.most:g}" for kind, s in folder.scales)
        added += f"-{folder.rules}" if folder.rules else ""
        return f"{name.removeprefix(OWN) if kept else 'folder'}-{now}{added}"

    def load(progress: ProgressCallback | None = None) -> Content:
        images = FileImages(folder.root.resolve(), folder.names, scales=folder.scales)
        return Content(images, labels, splits_by_seed)

    return DatasetSpec(
        name=name,
        title=folder.root.name.rpartition("-")[0] if kept else folder.root.name or str(folder.root),
        description=_description(folder, sizes),
        class_names=folder.class_names,
        image_shape=None,
        sizes=sizes,
        licence="your own images",
        source="an upload" if kept else str(folder.root),
        load=load,
        fingerprint=fingerprint,
        why_untrainable=_why_untrainable(folder, labels),
        skipped=folder.skipped,
        others=folder.others,
        notes=_notes(folder),
    )


def _notes(folder: Folder) -> tuple[str, ...]:
    return tuple(filter(None, (*folder.notes, scale_note(folder.scales))))


def _why_untrainable(folder: Folder, labels: Labels) -> str:
    if not folder.splits:
        return why_untrainable(labels, folder.class_names)
    trained = labels[np.array(folder.splits) == "train"]
    complete = len(set(folder.splits)) == len(SPLITS)
    least = MIN_TRAINED if complete else MIN_CLASS_SIZE
    return why_untrainable(trained, folder.class_names, least, "in the train folder")


def _description(folder: Folder, sizes: dict[Split, int]) -> str:
    count, classes = len(folder.names), len(folder.class_names)
    text = f"{count:,} image{'s' * (count != 1)}"
    text += f" in {classes:,} class{'es' * (classes != 1)}" if classes else " without labels"
    if folder.splits and sizes["test"]:
        parts = [f"{sizes[split]:,} {split}" for split in SPLITS if sizes[split]]
        text += f", in splits of their own ({', '.join(parts)})"
    if folder.skipped:
        text += f"; left out: {some_of(folder.skipped)}"
    if folder.others:
        text += f"; {plural(len(folder.others), 'other file')} ignored"
    repeated = [name for name, n in Counter(folder.class_names).items() if n > 1]
    text += (f"; several folders are shown as “{repeated[0]}”" if repeated else "") + "."
    return " ".join((text, *_notes(folder)))
