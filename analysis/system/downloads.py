"""Download one file: whole, checked and resumable, or fail with one sentence that says why."""

from __future__ import annotations

import errno
import hashlib
import math
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from analysis.errors import AssetError
from analysis.progress import Progress, ProgressCallback

ANSWER_SECONDS = 6.0  # until a server answers at all, name look-up included
HEAD_SECONDS = 4.0  # the same, after a slow import: the user waits ten seconds at most
STALL_SECONDS = 20.0  # without a byte; then the download fails
_CHUNK = 2**18  # bytes
_WAIT = 0.2  # seconds between two reports of progress
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # from a file system that has none


@dataclass(frozen=True)
class _File:
    url: str
    to: Path
    checksum: str
    what: str
    instead: str

    @property
    def part(self) -> Path:
        return self.to.with_name(self.to.name + ".part")

    @property
    def part_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or self.url

    def unreachable(self, reason: str) -> AssetError:
        return AssetError(
            f"{self.what} could not be downloaded from {self.host} ({reason}). {self.instead}"
        )

    def stopped_early(self, reason: str) -> AssetError:
        return AssetError(
            f"The download of {self.to.name} from {self.host} stopped early ({reason}). Try again "
            f"to resume it. {self.instead}"
        )

    def unwritable(self, error: OSError) -> AssetError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _delete(self.part)  # other programs need the space more
        reason = error.strerror or type(error).__name__
        return AssetError(
            f"{self.what} could not be written to {self.to.parent} ({reason}). {self.instead}"
        )


def fetch(
    url: str,
    to: Path,
    *,
    checksum: str,
    what: str,
    instead: str,
    progress: ProgressCallback | None = None,
) -> None:
    """Download a file unless it already exists with the right checksum.

    An unfinished download stays beside it with the ending `.part`, and the next call resumes it
    if the server supports that. An existing file with another checksum is replaced once the
    download is complete. If several processes want the same file, one downloads and the others
    wait.

    Parameters
    ----------
    url : str
    to : Path
        Appears whole and checked, or not at all.
    checksum : str
        "sha256:" or "md5:" and the digest in hexadecimal, or its beginning.
    what : str
        What messages call the file: "The pre-trained weights of resnet50".
    instead : str
        The sentence that says what works without it.
    progress : callable (Progress), optional
        Receives the bytes so far and in total; 0 if the total is unknown. An exception from it
        ends the download and is passed on, unless it is an `OSError`.

    Raises
    ------
    AssetError
        If the server cannot be reached within ten seconds, stops sending, or sends something
        else; if the file cannot be read or written.
    """
    file = _File(url, to, checksum, what, instead)
    report = progress or (lambda _: None)
    try:
        if has_checksum(to, checksum):
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(file, report):
            if has_checksum(to, checksum):
                return
            _download(file, report)
            if not has_checksum(file.part, checksum):
                file.part.unlink()
                raise AssetError(
                    f"{what} arrived from {file.host} with the wrong checksum, and nothing was "
                    f"kept. Try again later. {instead}"
                )
            file.part.replace(to)
    except OSError as error:
        raise file.unwritable(error) from error


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether a file exists and has a checksum, written as for `fetch`."""
    algorithm, _, digest = checksum.partition(":")
    if algorithm not in ("sha256", "md5") or len(digest) < 8:
        raise ValueError(f"`checksum` must be sha256:… or md5:…, got {checksum!r}")
    return path.is_file() and digest_of(path, algorithm).startswith(digest.lower())


def is_reachable(url: str) -> bool:
    """Whether a server answers at all within a few seconds."""
    answer = _ask(Request(url, method="HEAD"), HEAD_SECONDS)
    if isinstance(answer, HTTPResponse):
        answer.close()
    return isinstance(answer, HTTPResponse | HTTPError)


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of a file, computed again only if its size or time has changed.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    stat = path.stat()
    return _digest(path, algorithm, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: Path, algorithm: str, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: _hash(algorithm)).hexdigest()


def _hash(algorithm: str) -> Any:
    return hashlib.new(algorithm, usedforsecurity=False)


@contextmanager
def _exclusive(file: _File, report: ProgressCallback) -> Iterator[None]:
    """Wait until no other process downloads the same file. A dead process holds no lock."""
    from filelock import BaseFileLock, FileLock, SoftFileLease  # slow to import

    def keep_waiting() -> bool:
        report(Progress("Download", file.to.name, file.part_bytes, 0))
        return False

    # Beside the file, not in the temporary folder: machines that share the disk share the lock.
    path = file.to.with_name(file.to.name + ".lock")
    lock: BaseFileLock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(poll_interval=_WAIT, cancel_check=keep_waiting)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _delete(path)
        lock = SoftFileLease(file.to.with_name(file.to.name + ".lease"))
        lock.acquire(poll_interval=_WAIT, cancel_check=keep_waiting)
    try:
        yield
    finally:
        if not file.part_bytes:
            _delete(file.part)
        _delete(path)  # while it is locked: a process that waits for it then opens a new one
        lock.release()


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _download(file: _File, report: ProgressCallback) -> None:
    """Complete the `.part` file from the server."""
    start = file.part_bytes
    report(Progress("Download", file.to.name, start, 0))
    response = _request_from(file, start)
    if response is None:
        if has_checksum(file.part, file.checksum):
            return
        response = _request_from(file, 0)
    if response is None:
        raise file.unreachable("the server says 416 Range Not Satisfiable")
    with response, file.part.open("ab") as part:
        done = start if _resumes(response, start) else 0
        part.truncate(done)
        total = done + int(response.headers.get("Content-Length") or -done)
        reported = -math.inf
        while chunk := _read(file, response):
            part.write(chunk)
            done += len(chunk)
            if time.monotonic() - reported > _WAIT:
                reported = time.monotonic()
                report(Progress("Download", file.to.name, done, total))
    report(Progress("Download", file.to.name, done, total))
    if done < total:
        raise file.stopped_early(f"{done / 1e6:.1f} of {total / 1e6:.1f} MB arrived")


def _request_from(file: _File, start: int) -> HTTPResponse | None:
    """The server's response from byte `start` on; None if the file has no more bytes."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    answer = _ask(Request(file.url, headers=headers), ANSWER_SECONDS)
    if isinstance(answer, HTTPResponse):
        return answer
    if isinstance(answer, HTTPError):
        if answer.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return None
        raise file.unreachable(f"the server says {answer.code} {answer.reason}") from answer
    reason = getattr(answer, "reason", None)
    why = str(reason) if isinstance(reason, ssl.SSLError) else "no network?"
    raise file.unreachable(why) from answer


def _ask(request: Request, seconds: float) -> HTTPResponse | Exception:
    answers: SimpleQueue[HTTPResponse | Exception] = SimpleQueue()
    request.add_header("User-Agent", "bettiscope")

    def ask() -> None:
        try:
            answers.put(urlopen(request, timeout=STALL_SECONDS))
        except (OSError, HTTPException) as error:
            answers.put(error)

    # In a thread: a socket's timeout does not cover the name look-up.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return TimeoutError("no answer in time")


def _read(file: _File, response: HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except TimeoutError as error:
        raise file.stopped_early(f"no data for {STALL_SECONDS:g} seconds") from error
    except (OSError, HTTPException) as error:
        raise file.stopped_early(str(error) or type(error).__name__) from error


def _resumes(response: HTTPResponse, start: int) -> bool:
    """Whether the server sends only the missing bytes, not the whole file."""
    prefix = f"bytes {start}-"
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(prefix)
