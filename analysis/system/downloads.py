"""Fetch one file over the network: whole, checked and resumable, or one sentence why not."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import ssl
import sys
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

if sys.platform != "win32":
    import fcntl

    def _locked(file: int, part: Path) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it may have renamed or deleted the file that is locked now.
            return os.path.samestat(os.fstat(file), part.stat())
        except (BlockingIOError, FileNotFoundError):
            return False
        except OSError:  # not every file system has locks; the checksum guards what comes
            return True


ANSWER_SECONDS = 6.0  # for a server to answer at all, name look-up included
HEAD_SECONDS = 4.0  # likewise, where a slow import comes before: a person waits ten at most
STALL_SECONDS = 20.0  # without a byte, then a download is given up
_CHUNK = 2**18  # bytes
_WAIT = 0.2  # seconds between two messages, and two looks at another process' download


@dataclass(frozen=True)
class _Wanted:
    url: str
    to: Path
    checksum: str
    what: str
    instead: str

    @property
    def part(self) -> Path:
        return self.to.with_name(self.to.name + ".part")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or self.url

    def unreachable(self, reason: str) -> AssetError:
        return AssetError(
            f"{self.what} could not be fetched from {self.host} ({reason}). {self.instead}"
        )

    def broken_off(self, reason: str) -> AssetError:
        return AssetError(
            f"The download of {self.to.name} from {self.host} broke off ({reason}): ask again, and "
            f"it goes on from there. {self.instead}"
        )

    def unwritable(self, error: OSError) -> AssetError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with suppress(OSError):  # whatever else runs needs the room more
                self.part.unlink(missing_ok=True)
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
    """Have a file from the network, unless it is there already.

    What has come so far is kept beside it, named `.part`, and the next call goes on from there
    if the server can. A file that is there with another checksum is replaced once the right one
    has come. Of several processes that want the same file one downloads and the others wait.

    Parameters
    ----------
    url : str
    to : Path
        Appears whole and checked, or not at all.
    checksum : str
        "sha256:" or "md5:" and the digest in hexadecimal, or its beginning.
    what : str
        What a person calls the file: "The pre-trained weights of resnet50".
    instead : str
        The sentence that says what works without it.
    progress : callable (Progress), optional
        Told the bytes so far, and of how many; 0 if that is unknown. What it raises ends the
        download and is passed on, unless it is an `OSError`.

    Raises
    ------
    AssetError
        If the server cannot be reached (within ten seconds), stops sending, or sends something
        else; if the file cannot be read or written.
    """
    wanted = _Wanted(url, to, checksum, what, instead)
    tell = progress or (lambda _: None)
    try:
        if has_checksum(to, checksum):
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        with _alone(wanted, tell):
            if has_checksum(to, checksum):
                return
            _download(wanted, tell)
            if not has_checksum(wanted.part, checksum):
                wanted.part.unlink()
                raise AssetError(
                    f"{what} came from {wanted.host} with another checksum than expected, and "
                    f"nothing was kept: try again later. {instead}"
                )
            wanted.part.replace(to)
    except OSError as error:
        raise wanted.unwritable(error) from error


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether a file is there and has a checksum, written as for `fetch`."""
    algorithm, _, digest = checksum.partition(":")
    if algorithm not in ("sha256", "md5") or len(digest) < 8:
        raise ValueError(f"`checksum` must be sha256:… or md5:…, got {checksum!r}")
    return path.is_file() and digest_of(path, algorithm).startswith(digest.lower())


def reachable(url: str) -> bool:
    """Whether a server answers at all, within a few seconds."""
    answer = _ask(Request(url, method="HEAD"), HEAD_SECONDS)
    if isinstance(answer, HTTPResponse):
        answer.close()
    return isinstance(answer, HTTPResponse | HTTPError)


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of a file, computed again only when its size or time changed.

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
def _alone(wanted: _Wanted, tell: ProgressCallback) -> Iterator[None]:
    """Wait until no other process downloads the same file; a dead one holds nothing.

    On Windows nobody waits: of two downloads at once the checksum refuses what they spoil.
    """
    if sys.platform == "win32":
        yield
        return
    while True:
        with wanted.part.open("ab") as file:
            if _locked(file.fileno(), wanted.part):
                try:
                    yield
                finally:
                    if wanted.part.exists() and not wanted.part.stat().st_size:
                        wanted.part.unlink()
                return
            tell(Progress("Download", wanted.to.name, os.fstat(file.fileno()).st_size, 0))
        time.sleep(_WAIT)


def _download(wanted: _Wanted, tell: ProgressCallback) -> None:
    """Bring the part up to what the server has."""
    there = wanted.part.stat().st_size if wanted.part.exists() else 0
    tell(Progress("Download", wanted.to.name, there, 0))
    response = _answer(wanted, there)
    if response is None:
        if has_checksum(wanted.part, wanted.checksum):
            return
        response = _answer(wanted, 0)
    if response is None:
        raise wanted.unreachable("the server says 416 Range Not Satisfiable")
    with response, wanted.part.open("ab") as file:
        done = there if _goes_on(response, there) else 0
        file.truncate(done)
        total = done + int(response.headers.get("Content-Length") or -done)
        told = -math.inf
        while chunk := _read(wanted, response):
            file.write(chunk)
            done += len(chunk)
            if time.monotonic() - told > _WAIT:
                told = time.monotonic()
                tell(Progress("Download", wanted.to.name, done, total))
    tell(Progress("Download", wanted.to.name, done, total))
    if done < total:
        raise wanted.broken_off(f"{done / 1e6:.1f} of {total / 1e6:.1f} MB came")


def _answer(wanted: _Wanted, there: int) -> HTTPResponse | None:
    """The answer that brings the file from byte `there` on; None if there is nothing beyond."""
    headers = {"Range": f"bytes={there}-"} if there else {}
    answer = _ask(Request(wanted.url, headers=headers), ANSWER_SECONDS)
    if isinstance(answer, HTTPResponse):
        return answer
    if isinstance(answer, HTTPError):
        if answer.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and there:
            return None
        raise wanted.unreachable(f"the server says {answer.code} {answer.reason}") from answer
    reason = getattr(answer, "reason", None)
    why = str(reason) if isinstance(reason, ssl.SSLError) else "no network?"
    raise wanted.unreachable(why) from answer


def _ask(request: Request, seconds: float) -> HTTPResponse | Exception:
    answers: SimpleQueue[HTTPResponse | Exception] = SimpleQueue()
    request.add_header("User-Agent", "bettiscope")

    def ask() -> None:
        try:
            answers.put(urlopen(request, timeout=STALL_SECONDS))
        except (OSError, HTTPException) as error:
            answers.put(error)

    # In a thread: no timeout of a socket covers the name look-up.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return TimeoutError("no answer in time")


def _read(wanted: _Wanted, response: HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except TimeoutError as error:
        raise wanted.broken_off(f"nothing came for {STALL_SECONDS:g} seconds") from error
    except (OSError, HTTPException) as error:
        raise wanted.broken_off(str(error) or type(error).__name__) from error


def _goes_on(response: HTTPResponse, there: int) -> bool:
    """Whether the server sends what is missing, rather than everything."""
    begins = f"bytes {there}-"
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(begins)
