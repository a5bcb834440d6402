"""An uploaded archive of images becomes a dataset that is kept, or is refused with a reason."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from analysis.datasets.folders import Folder, Skipped, forget, moved, scan_folder
from analysis.datasets.image_files import is_image_name, shown
from analysis.datasets.own import FOLDER, OWN, kept_folder, unfinished
from analysis.errors import AssetError, OptionError
from analysis.progress import Progress, ProgressCallback
from analysis.system.downloads import digest_of
from analysis.system.home import home

MAX_FILES = 200_000
MAX_BYTES = 20 * 2**30  # of all files together, unpacked
MAX_FILE_BYTES = 2**29  # of one file, unpacked
MAX_RATIO = 200  # unpacked to packed; images hardly pack, and flat drawings rarely so well
FREE_RATIO_BYTES = 2**24  # files that unpack to less may have any ratio
_NESTED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar"}
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}  # and whatever is hidden
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: encrypted, strongly, and the directory too
_PATCH = 0x20
_CHUNK = 2**20  # bytes
_DIGITS = 12  # of the content's digest, in a dataset's name
_LONGEST = 40  # characters of the archive's name, in a dataset's name


@dataclass(frozen=True)
class ImportRequest:
    """An archive to import, or a folder to look through where it is."""

    path: Path  # a zip file, which stays as it is, or a folder
    name: str  # what the person calls it; for a folder without meaning


@dataclass(frozen=True)
class Imported:
    """A dataset that can now be loaded."""

    dataset: str  # its name
    images: int
    classes: int  # 0: the images have no labels
    skipped: tuple[Skipped, ...]  # files left out, by name, and why


@dataclass(frozen=True)
class _Entry:
    info: zipfile.ZipInfo
    parts: tuple[str, ...]  # of its path

    @property
    def name(self) -> str:
        return "/".join(self.parts)


def import_archive(path: Path, name: str, *, progress: ProgressCallback | None = None) -> Imported:
    """Unpack a zip of images and keep it as a dataset.

    Everything is checked before anything is written. Only images are unpacked, into a folder
    that is renamed when it is whole; the same archive again is the same dataset.

    Parameters
    ----------
    path : Path
        A zip file with one folder a class, or with images alone; one folder around all of it is
        peeled off. If it is a folder, that is looked through where it is instead.
    name : str
        What the person calls it.
    progress : callable (Progress), optional

    Returns
    -------
    Imported

    Raises
    ------
    AssetError
        If the archive is refused, naming what is wrong with which entry, or the disk is full;
        then nothing is kept.
    OptionError
        If there is nothing at `path`, or it is a folder without an image that can be read.
    """
    if not path.is_file():
        folder = scan_folder(path.absolute(), progress)
        return _imported(FOLDER + str(folder.root), folder)
    try:
        digest = digest_of(path)[:_DIGITS]
        earlier = _earlier(digest)
        if earlier is not None:
            with _opened(path) as archive:
                left_out = _others(list(_checked(name, archive)))
            return _imported(OWN + earlier.name, scan_folder(earlier, progress), left_out)
        final = kept_folder(f"{_readable(name)}-{digest}")
        with unfinished(final.parent) as part:
            return _kept(path, name, part / "images", final, progress)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "try again, or set BETTISCOPE_HOME"
        reason = error.strerror or type(error).__name__
        raise AssetError(
            f"{name} could not be unpacked into {home()} ({reason}): {remedy}. Nothing was kept."
        ) from error


def _kept(
    path: Path, name: str, part: Path, final: Path, progress: ProgressCallback | None
) -> Imported:
    left_out = _unpack(path, name, part, progress)
    try:
        scan_folder(part, progress)
        try:
            part.rename(final)
        except OSError:
            if not final.is_dir():  # else another process was as quick with the same archive
                raise
        return _imported(OWN + final.name, moved(part, final), left_out)
    except OptionError as error:
        reason = str(error).partition(": ")[2]
        raise _refused(name, reason.replace(f" in {part}", "")) from None
    finally:
        forget(part)


def _unpack(
    path: Path, name: str, to: Path, progress: ProgressCallback | None
) -> tuple[Skipped, ...]:
    try:
        with _opened(path) as archive:
            entries = list(_checked(name, archive))
            images = [entry for entry in entries if is_image_name(entry.name)]
            if not images:
                raise _refused(name, "it holds no image")
            total = sum(entry.info.file_size for entry in images)
            if total > shutil.disk_usage(to.parent).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            peeled = _in_one_folder(images)
            done = 0
            for entry in images:
                if progress is not None:
                    progress(Progress("Unpack", shown(entry.name), done, total))
                done += _write(name, archive, entry, to.joinpath(*entry.parts[peeled:]))
    except (zipfile.BadZipFile, OSError) as error:
        # The numbers in a damaged archive may point before its beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise _refused(name, "it is no zip archive, or damaged") from error
    return _others(entries)


def _others(entries: list[_Entry]) -> tuple[Skipped, ...]:
    others = [entry for entry in entries if not is_image_name(entry.name)]
    return tuple((shown(entry.name), "it is no image") for entry in others)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # zipfile trusts the numbers in a directory, and may stumble
        raise zipfile.BadZipFile from error


def _checked(name: str, archive: zipfile.ZipFile) -> Iterator[_Entry]:
    """The files of an archive, litter left out, if nothing is wrong with any."""
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise _refused(name, f"it has {len(infos):,} entries, and at most {MAX_FILES:,} are taken")
    total = sum(info.file_size for info in infos)
    if total > MAX_BYTES:
        raise _refused(
            name,
            f"it unpacks to {total / 2**30:,.1f} GiB, and at most {MAX_BYTES / 2**30:g} are taken",
        )
    files: set[str] = set()
    entries = []
    for info in infos:
        # Newer Pythons write to a name from an extra field, which may be another.
        problem = _name_problem(info.orig_filename) or _name_problem(info.filename)
        problem = problem or _kind_problem(info) or _size_problem(info)
        plain = unicodedata.normalize("NFC", str(PurePosixPath(info.filename)))
        if not problem and not info.is_dir() and plain in files:
            problem = "it is there twice"
        if problem:
            raise _refused(name, f"“{shown(info.orig_filename)}”: {problem}")
        if not info.is_dir():
            files.add(plain)
            entries.append(_Entry(info, PurePosixPath(info.filename).parts))
    for entry in entries:
        for above in PurePosixPath(unicodedata.normalize("NFC", entry.name)).parents:
            if str(above) in files:
                raise _refused(name, f"“{shown(str(above))}”: it is both a file and a folder")
    return (entry for entry in entries if not _is_litter(entry))


def _name_problem(name: str) -> str:
    if name.startswith("/") or re.search("(^|/)[A-Za-z]:", name):
        return "its name holds an absolute path, which could be anywhere"
    if "\\" in name:
        return "its name has a backslash, which leads to another folder on some systems"
    if ".." in name.split("/"):
        return "its name leads out of the dataset's folder"
    if any(ord(sign) < 32 for sign in name):
        return "its name has control characters"
    if not PurePosixPath(name).parts:
        return "it has no name"
    if any(len(os.fsencode(part)) > 255 for part in name.split("/")) or len(name) > 1000:
        return "its name is too long"
    return ""


def _kind_problem(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted; make an archive without a password"
    if info.flag_bits & _PATCH or info.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        return "it is packed in a way that is not read; make the archive with Deflate"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "it is a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a special file"
    if PurePosixPath(info.filename).suffix.lower() in _NESTED and not info.is_dir():
        return "it is an archive in the archive; unpack it first"
    return ""


def _size_problem(info: zipfile.ZipInfo) -> str:
    if info.file_size > MAX_FILE_BYTES:
        return (
            f"it unpacks to {info.file_size / 2**20:,.0f} MiB, and at most "
            f"{MAX_FILE_BYTES / 2**20:g} are taken"
        )
    if info.file_size > max(FREE_RATIO_BYTES, MAX_RATIO * info.compress_size):
        return f"it unpacks to more than {MAX_RATIO} times its size, as no image does"
    return ""


def _is_litter(entry: _Entry) -> bool:
    return any(part.startswith(".") or part.lower() in _LITTER for part in entry.parts)


def _in_one_folder(images: list[_Entry]) -> bool:
    tops = {entry.parts[0] for entry in images}
    return len(tops) == 1 and all(len(entry.parts) > 1 for entry in images)


def _write(name: str, archive: zipfile.ZipFile, entry: _Entry, to: Path) -> int:
    to.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with archive.open(entry.info) as packed, to.open("xb") as file:
            while chunk := packed.read(_CHUNK):
                written += len(chunk)
                if written > entry.info.file_size:
                    raise zipfile.BadZipFile
                file.write(chunk)
    except FileExistsError:
        raise _refused(name, f"“{shown(entry.name)}”: it is there twice") from None
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        UnicodeDecodeError,  # of a name that says it is UTF-8
        zlib.error,
        RuntimeError,
    ) as error:
        raise _refused(
            name, f"“{shown(entry.name)}”: it is damaged, or not what the archive says"
        ) from error
    if written != entry.info.file_size:
        raise _refused(name, f"“{shown(entry.name)}”: it is damaged, or not what the archive says")
    os.utime(to, (0, 0))  # the same archive gives the same dataset
    return written


def _refused(name: str, reason: str) -> AssetError:
    return AssetError(f"{name} was refused: {reason}. Nothing was kept.")


def _earlier(digest: str) -> Path | None:
    return next((home() / "datasets").glob(f"[!.]*-{digest}"), None)


def _readable(name: str) -> str:
    plain = unicodedata.normalize("NFC", Path(name).stem).lower()
    return re.sub(r"[\W_]+", "-", plain)[:_LONGEST].strip("-") or "images"


def _imported(dataset: str, folder: Folder, left_out: tuple[Skipped, ...] = ()) -> Imported:
    return Imported(
        dataset=dataset,
        images=len(folder.names),
        classes=len(folder.class_names),
        skipped=folder.skipped + left_out,
    )
