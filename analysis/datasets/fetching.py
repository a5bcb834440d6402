"""Download a dataset's archives, unpack them and keep the complete result, or nothing."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.datasets.own import temporary_folder
from analysis.datasets.torchvision_readers import Reader, Reading
from analysis.errors import AssetError
from analysis.options import SPLITS, Split
from analysis.progress import Progress, ProgressCallback
from analysis.system.downloads import fetch
from analysis.system.home import home

INDEX, PIXELS = "index.npz", "pixels.npy"
_DAY = 86_400.0  # seconds; unpacking to a slow disk may take long
_INSTEAD = "The datasets digits and fashion and your own images need no network."


@dataclass(frozen=True)
class Remote:
    """One file of a dataset."""

    url: str
    to: str  # where torchvision's class expects it, relative to its root
    checksum: str  # "md5:" or "sha256:" and the digest
    local: Path | None = None  # the same data from a system package, compressed differently
    unpacked: str = ""  # the SHA-256 of the data inside `local`


@dataclass(frozen=True)
class Download:
    """A dataset that can be downloaded."""

    name: str
    title: str
    files: tuple[Remote, ...]
    read: Reader
    sizes: dict[Split, int]  # images; a fifth of the training images serve for validation

    @property
    def digest(self) -> str:
        """A name for the exact content of all files."""
        return hashlib.sha256(" ".join(f.checksum for f in self.files).encode()).hexdigest()[:32]


def fetch_dataset(download: Download, progress: ProgressCallback | None = None) -> Path:
    """Download, unpack and read a dataset unless that is done, and return its folder.

    Beside the files that torchvision's class unpacks, the folder holds `INDEX`: one array each of
    the images' labels, parts (positions of their official splits in `SPLITS`) and file names.
    Images that are not files are in `PIXELS`, uint8 (N, C, H, W).

    Raises
    ------
    AssetError
        If a file cannot be downloaded, has the wrong content, or the disk is full.
    """
    final = _folder(download)
    if is_complete(download):
        return final
    report = progress or (lambda _: None)
    archives = home() / "datasets-fetched" / "archives" / download.name
    packed = [file for file in download.files if not _has_local(file)]
    for file in packed:
        fetch(
            file.url,
            archives / file.to,
            checksum=file.checksum,
            what=f"The dataset {download.title}",
            instead=_INSTEAD,
            progress=progress,
        )
    report(Progress("Unpack", download.title, 0, 1))
    try:
        with temporary_folder(final.parent, leftover_seconds=_DAY) as part:
            root = part / download.name
            for file in download.files:
                _place(file, archives / file.to, root / file.to)
            _write_index(root, _read(download, root))
            for file in packed:
                if (root / file.to).suffix != ".mat":  # which is read without unpacking
                    (root / file.to).unlink()
            if not is_complete(download):  # the rest of an interrupted deletion
                shutil.rmtree(final, ignore_errors=True)
            root.rename(final)
    except OSError as error:
        if not is_complete(download):  # else another process has just finished
            raise AssetError(
                f"The dataset {download.title} could not be unpacked into {final.parent} "
                f"({error.strerror or type(error).__name__}): free some space, or set "
                f"BETTISCOPE_HOME to a writable folder. {_INSTEAD}"
            ) from error
    shutil.rmtree(archives, ignore_errors=True)
    return final


def is_complete(download: Download) -> bool:
    """Whether a dataset is downloaded and unpacked completely."""
    return (_folder(download) / INDEX).is_file()


def _folder(download: Download) -> Path:
    return home() / "datasets-fetched" / download.name


def _has_local(file: Remote) -> bool:
    return file.local is not None and _local_data(file) is not None


def _local_data(file: Remote) -> bytes | None:
    with suppress(OSError, EOFError, zlib.error):
        if file.local is not None and file.local.is_file():
            data = gzip.decompress(file.local.read_bytes())
            if hashlib.sha256(data).hexdigest() == file.unpacked:
                return data
    return None


def _place(file: Remote, archive: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    data = _local_data(file)
    if data is not None:
        to.with_suffix("").write_bytes(data)
        return
    try:
        os.link(archive, to)
    except OSError:  # not every file system has links
        shutil.copyfile(archive, to)


def _read(download: Download, root: Path) -> Reading:
    try:
        reading = download.read(root)
    except OSError:
        raise
    except Exception as error:  # the files are the published ones, so torchvision has changed
        raise AssetError(
            f"The dataset {download.title} could not be read ({type(error).__name__}: {error}). "
            f"{_INSTEAD}"
        ) from error
    counts = np.bincount(reading.parts, minlength=len(SPLITS))
    train, validation, test = (download.sizes[split] for split in SPLITS)
    expected = (train, validation, test) if counts[1] else (train + validation, 0, test)
    if tuple(counts) != expected:
        raise AssetError(
            f"The dataset {download.title} has {', '.join(map(str, counts))} images for training, "
            f"validation and test instead of {', '.join(map(str, expected))}. {_INSTEAD}"
        )
    return reading


def _write_index(root: Path, reading: Reading) -> None:
    if reading.pixels is not None:
        np.save(root / PIXELS, reading.pixels)
    names = np.array(reading.names, dtype=np.str_)
    np.savez(root / INDEX, labels=reading.labels, parts=reading.parts, names=names)
