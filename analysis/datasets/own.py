"""Images of one's own as datasets: a folder by path, or an upload that is kept."""

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
from analysis.datasets.splits import MIN_CLASS_SIZE, MIN_TRAINED, Labels, own, why_untrainable
from analysis.errors import AssetError, OptionError
from analysis.options import SPLITS, Split
from analysis.progress import ProgressCallback
from analysis.system.home import home

FOLDER, OWN = "folder:", "own:"
LEFTOVER_SECONDS = 3600.0  # an unfinished folder that old belongs to nobody
_PART = ".part-"  # how the names of unfinished folders begin
_ID = re.compile(r"\w[\w-]*")

_specs: dict[str, tuple[Folder, DatasetSpec]] = {}


def is_own(name: str) -> bool:
    """Whether a dataset's name says that it is a folder by path or an upload."""
    return name.startswith((FOLDER, OWN))


def needs_look(name: str) -> bool:
    """Whether `own_spec` would have to decode images first, which takes its time."""
    try:
        return not is_scanned(folder_of(name))
    except OptionError:
        return False


def own_spec(name: str, progress: ProgressCallback | None = None) -> DatasetSpec:
    """What is known of a folder by path or of an upload.

    Parameters
    ----------
    name : str
        "folder:" and an absolute path, or "own:" and what `own_datasets` lists.
    progress : callable (Progress), optional
        Told of each image that has to be decoded to know whether it is whole.

    Raises
    ------
    OptionError
        If there is no such folder, or it holds no image that can be read.
    """
    folder = scan_folder(folder_of(name), progress)
    held = _specs.get(name)
    if held is None or held[0] is not folder:
        held = folder, _described(name, folder)
        _specs[name] = held
    return held[1]


def own_datasets() -> list[str]:
    """Names of the uploads that are kept, the newest first."""
    return [OWN + path.name for path in sorted(_kept(), key=_age)]


def remove_dataset(name: str) -> None:
    """Delete an upload that is kept.

    Raises
    ------
    OptionError
        If there is none of that name.
    AssetError
        If its files cannot be deleted.
    """
    root = folder_of(name)
    if not name.startswith(OWN) or not root.is_dir():
        raise OptionError(f"`dataset` must be an upload that is kept, got {name!r}")
    try:
        gone = Path(tempfile.mkdtemp(dir=root.parent, prefix=_PART))
        root.rename(gone / root.name)  # at once: half a dataset is never listed
        shutil.rmtree(gone)
    except OSError as error:
        raise AssetError(f"{root} could not be deleted ({error.strerror}).") from error
    forget(root)
    _specs.pop(name, None)


def kept_folder(identity: str) -> Path:
    """Where an upload is kept."""
    return home() / "datasets" / identity


@contextmanager
def unfinished(parent: Path, *, leftover_seconds: float = LEFTOVER_SECONDS) -> Iterator[Path]:
    """A new folder beside the finished ones, gone at the end unless it was renamed.

    What a process that was killed left behind is deleted when it is old enough.
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


def _kept() -> Iterator[Path]:
    with suppress(OSError):
        for path in (home() / "datasets").iterdir():
            if _ID.fullmatch(path.name) and path.is_dir():
                yield path


def _age(path: Path) -> tuple[float, str]:
    with suppress(OSError):
        return -path.stat().st_mtime, path.name
    return 0.0, path.name


def folder_of(name: str) -> Path:
    """Where the images of a folder by path or of an upload lie.

    Raises
    ------
    OptionError
        If it is no absolute path, or there is no such upload.
    """
    kind, _, rest = name.partition(":")
    if kind == "folder":
        if not rest or "\0" in rest or not Path(rest).is_absolute():
            raise OptionError(
                f'`dataset` must be "folder:" and an absolute path, got {name!r}: write the path '
                "from the root of the disk on"
            )
        return Path(rest)
    if not _ID.fullmatch(rest) or not kept_folder(rest).is_dir():
        raise OptionError(
            f"`dataset`: there is no upload {name!r}; upload the images again, or choose one of "
            f"{', '.join(own_datasets()) or 'the bundled datasets'}"
        )
    return kept_folder(rest)


def _described(name: str, folder: Folder) -> DatasetSpec:
    labels = np.array(folder.labels, dtype=np.int64)
    divided = partial(own, labels, named=folder.splits)
    # Which images are where depends on the seed, how many does not.
    sizes = {split: len(indices) for split, indices in divided(0).items()}
    kept = name.startswith(OWN)

    def fingerprint() -> str:
        # An upload's name holds the digest of its content, a folder's digest the files' times.
        return f"{name.removeprefix(OWN) if kept else 'folder'}-{digest_now(folder.root)}"

    def load(progress: ProgressCallback | None = None) -> Content:
        images = FileImages(folder.root.resolve(), folder.names)
        return Content(images, labels, divided)

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
    )


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
        text += f"; {folder.others:,} other file{'s' * (folder.others != 1)} passed over"
    repeated = [name for name, n in Counter(folder.class_names).items() if n > 1]
    return text + (f"; several folders are shown as “{repeated[0]}”" if repeated else "") + "."
