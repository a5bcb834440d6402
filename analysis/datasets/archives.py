"""Turn an uploaded archive of images into a stored dataset, or refuse it with a reason."""

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

from analysis.datasets.folders import (
    NO_IMAGE,
    Folder,
    Skipped,
    forget,
    scan_folder,
    scan_renamed,
)
from analysis.datasets.image_files import display_name, is_image_name, is_litter, why_unread
from analysis.datasets.own import FOLDER, LINKED, OWN, kept_folder, temporary_folder
from analysis.datasets.zip_names import maker_names
from analysis.errors import AssetError, OptionError
from analysis.progress import Progress, ProgressCallback
from analysis.system.downloads import digest_of
from analysis.system.home import home

MAX_FILES = 200_000
MAX_BYTES = 20 * 2**30  # of all files together, unpacked
MAX_FILE_BYTES = 2**29  # of one file, unpacked
MAX_RATIO = 200  # unpacked to packed; images compress little, even flat drawings rarely this well
FREE_RATIO_BYTES = 2**24  # files, and archives, that unpack to less may have any ratio
_NESTED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar"}
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: encrypted, strongly encrypted, encrypted directory
_PATCH = 0x20
_CHUNK = 2**20  # bytes
_DIGITS = 12  # of the content's digest, in a dataset's name
_LONGEST = 40  # characters of the archive's name, in a dataset's name


@dataclass(frozen=True)
class ImportRequest:
    """An archive to import, or a folder to scan where it is."""

    path: Path  # a zip file, which is not changed, or a folder
    name: str  # the user's name for it; unused for a folder
    follow_links: bool = False  # out of a folder


@dataclass(frozen=True)
class Imported:
    """A dataset that can now be loaded."""

    dataset: str  # its name
    images: int
    classes: int  # 0: the images have no labels
    skipped: tuple[Skipped, ...]  # files left out, with the reason


@dataclass(frozen=True)
class _Entry:
    info: zipfile.ZipInfo
    parts: tuple[str, ...]  # of its path

    @property
    def name(self) -> str:
        return "/".join(self.parts)


def import_archive(
    path: Path, name: str, *, follow_links: bool = False, progress: ProgressCallback | None = None
) -> Imported:
    """Unpack a zip of images and keep it as a dataset.

    Everything is checked before anything is written. Only images are unpacked, into a folder
    that is renamed when it is complete. The same archive always gives the same dataset.

    Parameters
    ----------
    path : Path
        A zip file with one folder per class, or with images alone; a single outer folder is
        removed. A folder is scanned where it is instead.
    name : str
        The user's name for it.
    follow_links : bool, default=False
        Read what links out of a folder lead to.
    progress : callable (Progress), optional

    Returns
    -------
    Imported

    Raises
    ------
    AssetError
        If the archive is refused, naming the entry and its problem, or the disk is full. Then
        nothing is kept.
    OptionError
        If `path` does not exist, or is a folder without a readable image.
    """
    if not path.is_file():
        folder = scan_folder(path.absolute(), progress, follow_links=follow_links)
        kind = LINKED if follow_links else FOLDER
        return _summarize(kind + str(folder.root), folder, folder.others)
    try:
        digest = digest_of(path)[:_DIGITS]
        earlier = _find_earlier(digest)
        if earlier is not None:
            with _open(path) as archive:
                left_out = _skip_others(list(_check_entries(name, archive)))
            return _summarize(OWN + earlier.name, scan_folder(earlier, progress), left_out)
        final = kept_folder(f"{_slug(name)}-{digest}")
        with temporary_folder(final.parent) as part:
            return _unpack_and_keep(path, name, part / "images", final, progress)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "try again, or set BETTISCOPE_HOME"
        reason = error.strerror or type(error).__name__
        raise AssetError(
            f"{name} could not be unpacked into {home()} ({reason}): {remedy}. Nothing was kept."
        ) from error


def _unpack_and_keep(
    path: Path, name: str, part: Path, final: Path, progress: ProgressCallback | None
) -> Imported:
    left_out = _unpack(path, name, part, progress)
    try:
        scan_folder(part, progress)
        try:
            part.rename(final)
        except OSError:
            if not final.is_dir():  # else another process has just imported the same archive
                raise
        return _summarize(OWN + final.name, scan_renamed(part, final), left_out)
    except OptionError as error:
        reason = str(error).partition(": ")[2]
        raise _refusal(name, reason.replace(f" in {part}", "")) from None
    finally:
        forget(part)


def _unpack(
    path: Path, name: str, to: Path, progress: ProgressCallback | None
) -> tuple[Skipped, ...]:
    try:
        with _open(path) as archive:
            entries = list(_check_entries(name, archive))
            images = [entry for entry in entries if is_image_name(entry.name)]
            if not images:
                unread = next(filter(None, (why_unread(entry.name) for entry in entries)), "")
                raise _refusal(name, unread or "it contains no image")
            total = sum(entry.info.file_size for entry in images)
            if total > shutil.disk_usage(to.parent).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            outer = int(_have_one_folder(images))
            done = 0
            for entry in images:
                if progress is not None:
                    progress(Progress("Unpack", display_name(entry.name), done, total))
                done += _write(name, archive, entry, to.joinpath(*entry.parts[outer:]))
    except (zipfile.BadZipFile, OSError) as error:
        # The offsets in a damaged archive may point before its start.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise _refusal(name, "it is not a zip archive, or is damaged") from error
    return _skip_others(entries)


def _skip_others(entries: list[_Entry]) -> tuple[Skipped, ...]:
    others = [entry for entry in entries if not is_image_name(entry.name)]
    return tuple((display_name(entry.name), why_unread(entry.name) or NO_IMAGE) for entry in others)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # zipfile trusts the numbers in a directory, and may fail on them
        raise zipfile.BadZipFile from error


def _check_entries(name: str, archive: zipfile.ZipFile) -> Iterator[_Entry]:
    """The files of an archive without litter; refuse it if any entry has a problem."""
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise _refusal(name, f"it has {len(infos):,} entries, and the limit is {MAX_FILES:,}")
    total = sum(info.file_size for info in infos)
    if total > MAX_BYTES:
        raise _refusal(
            name,
            f"it unpacks to {total / 2**30:,.1f} GiB, and the limit is {MAX_BYTES / 2**30:g} GiB",
        )
    files: set[str] = set()
    entries = []
    for info, full in zip(infos, maker_names(infos), strict=True):
        # Newer Pythons unpack to a name from an extra field, which may differ.
        listed = info.orig_filename if full == info.filename else full
        problem = _name_problem(listed) or _name_problem(full)
        problem = problem or _kind_problem(info) or _size_problem(info)
        plain = unicodedata.normalize("NFC", str(PurePosixPath(full)))
        is_folder = info.is_dir() or full.endswith("/")
        if not problem and not is_folder and plain in files:
            problem = "it appears twice"
        if problem:
            raise _refusal(name, f"“{display_name(listed)}”: {problem}")
        if not is_folder:
            files.add(plain)
            entries.append(_Entry(info, PurePosixPath(full).parts))
    packed = sum(info.compress_size for info in infos)
    if archive.filename is not None:  # entries that share their bytes pack to less than they say
        packed = min(packed, Path(archive.filename).stat().st_size)
    if total > max(FREE_RATIO_BYTES, MAX_RATIO * packed):
        reason = f"it unpacks to more than {MAX_RATIO} times its size, which no images do"
        raise _refusal(name, reason)
    for entry in entries:
        for above in PurePosixPath(unicodedata.normalize("NFC", entry.name)).parents:
            if str(above) in files:
                raise _refusal(
                    name, f"“{display_name(str(above))}”: it is both a file and a folder"
                )
    return (entry for entry in entries if not _is_litter(entry))


def _name_problem(name: str) -> str:
    if name.startswith("/") or re.search("(^|/)[A-Za-z]:", name):
        return "its name is an absolute path, which could be anywhere"
    if "\\" in name:
        return "its name contains a backslash, which means another folder on some systems"
    if ".." in name.split("/"):
        return "its name leads out of the dataset's folder"
    if any(ord(sign) < 32 for sign in name):
        return "its name contains control characters"
    if not PurePosixPath(name).parts:
        return "it has no name"
    if any(len(os.fsencode(part)) > 255 for part in name.split("/")) or len(name) > 1000:
        return "its name is too long"
    return ""


def _kind_problem(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted; create the archive without a password"
    if info.flag_bits & _PATCH or info.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        return "its compression method is not supported; create the archive with Deflate"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "it is a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a special file"
    if PurePosixPath(info.filename).suffix.lower() in _NESTED and not info.is_dir():
        return "it is an archive inside the archive; unpack it first"
    return ""


def _size_problem(info: zipfile.ZipInfo) -> str:
    if info.file_size > MAX_FILE_BYTES:
        return (
            f"it unpacks to {info.file_size / 2**20:,.0f} MiB, and the limit is "
            f"{MAX_FILE_BYTES / 2**20:g} MiB"
        )
    if info.file_size > max(FREE_RATIO_BYTES, MAX_RATIO * info.compress_size):
        return f"it unpacks to more than {MAX_RATIO} times its size, which no image does"
    return ""


def _is_litter(entry: _Entry) -> bool:
    return any(map(is_litter, entry.parts))


def _have_one_folder(images: list[_Entry]) -> bool:
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
        raise _refusal(name, f"“{display_name(entry.name)}”: it appears twice") from None
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        UnicodeDecodeError,  # from a name that claims to be UTF-8
        zlib.error,
        RuntimeError,
    ) as error:
        raise _refusal(
            name, f"“{display_name(entry.name)}”: it is damaged, or not what the archive says"
        ) from error
    if written != entry.info.file_size:
        raise _refusal(
            name, f"“{display_name(entry.name)}”: it is damaged, or not what the archive says"
        )
    os.utime(to, (0, 0))  # the same archive gives the same dataset
    return written


def _refusal(name: str, reason: str) -> AssetError:
    return AssetError(f"{name} was refused: {reason}. Nothing was kept.")


def _find_earlier(digest: str) -> Path | None:
    return next((home() / "datasets").glob(f"[!.]*-{digest}"), None)


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFC", Path(name).stem).lower()
    return re.sub(r"[\W_]+", "-", plain)[:_LONGEST].strip("-") or "images"


def _summarize(dataset: str, folder: Folder, left_out: tuple[Skipped, ...] = ()) -> Imported:
    return Imported(
        dataset=dataset,
        images=len(folder.names),
        classes=len(folder.class_names),
        skipped=folder.skipped + left_out,
    )
