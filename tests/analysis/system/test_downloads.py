"""Files arrive whole and checked, resume where they stopped, or fail with one sentence."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.errors import AnalysisStopped, AssetError
from analysis.progress import Progress
from analysis.system import downloads
from analysis.system.downloads import digest_of, fetch, is_reachable

BODY = np.random.default_rng(0).bytes(1_200_000)
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()
INSTEAD = "Use the bundled ones."


@dataclass
class Host:
    """A server of one file, and how it behaves."""

    port: int = 0
    body: bytes = BODY
    ranges: bool = True
    length: bool = True  # it announces how many bytes will come
    stop_after: int | None = None  # bytes of an answer, then the connection is closed
    stall: threading.Event | None = None  # after `stop_after` bytes wait for this, then go on
    status: int = 0  # answer nothing but this error
    ranges_seen: list[str | None] = field(default_factory=list)  # the Range of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/file.bin"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    behaviour = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _serve(self, behaviour)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    behaviour.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield behaviour
    if behaviour.stall is not None:
        behaviour.stall.set()
    server.shutdown()
    server.server_close()


def _serve(handler: BaseHTTPRequestHandler, host: Host) -> None:
    range_header = handler.headers.get("Range")
    host.ranges_seen.append(range_header)
    if host.status:
        return handler.send_error(host.status)
    start = _first_byte(range_header) if range_header and host.ranges else 0
    if start >= len(host.body):
        return handler.send_error(416)
    handler.send_response(206 if start else 200)
    if host.length:
        handler.send_header("Content-Length", str(len(host.body) - start))
    if start:
        whole = len(host.body)
        handler.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
    handler.end_headers()
    answer = host.body[start:]
    cut = len(answer) if host.stop_after is None else host.stop_after
    handler.wfile.write(answer[:cut])
    handler.wfile.flush()
    if host.stall is not None:
        host.stall.wait(30)
        handler.wfile.write(answer[cut:])
    return None


def _first_byte(range_header: str) -> int:
    return int(range_header.removeprefix("bytes=").rstrip("-"))


def get(host: Host, to: Path, checksum: str = SHA256, **changes: Any) -> None:
    fetch(host.url, to, checksum=checksum, what="The file", instead=INSTEAD, **changes)


def leftovers(to: Path) -> set[str]:
    return {path.name for path in to.parent.iterdir()}


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


@pytest.mark.parametrize(
    "checksum", [SHA256, SHA256[:15], SHA256.upper().replace("SHA256", "sha256"),
                 "md5:" + hashlib.md5(BODY).hexdigest()]
)  # fmt: skip
def test_a_file_arrives_whole_and_only_once(host: Host, to: Path, checksum: str) -> None:
    get(host, to, checksum)
    get(host, to, checksum)
    assert to.read_bytes() == BODY
    assert leftovers(to) == {"file.bin"}
    assert host.ranges_seen == [None]


@pytest.mark.parametrize("length", [True, False])
def test_progress_counts_the_bytes(host: Host, to: Path, length: bool) -> None:
    reports: list[Progress] = []
    host.length = length
    get(host, to, progress=reports.append)
    assert {(report.stage, report.layer) for report in reports} == {("Download", "file.bin")}
    done = [report.done for report in reports]
    assert done[0] == 0
    assert done == sorted(done)
    assert reports[-1].done == len(BODY)
    assert reports[-1].total == (len(BODY) if length else 0)


@pytest.mark.parametrize("ranges", [True, False])
def test_an_answer_cut_short_resumes_or_starts_afresh(host: Host, to: Path, ranges: bool) -> None:
    host.ranges, host.stop_after = ranges, 500_000
    with pytest.raises(
        AssetError, match=r"file\.bin from 127\.0\.0\.1 stopped early \(0\.5 of 1\.2"
    ):
        get(host, to)
    assert leftovers(to) == {"file.bin.part"}
    host.stop_after = None
    reports: list[Progress] = []
    get(host, to, progress=reports.append)
    assert to.read_bytes() == BODY
    assert leftovers(to) == {"file.bin"}
    assert host.ranges_seen == [None, "bytes=500000-"]
    assert reports[-1].total == len(BODY)
    assert (reports[1].done > 500_000) == ranges


def test_a_part_that_was_whole_already_is_kept(host: Host, to: Path) -> None:
    to.parent.mkdir()
    to.with_name("file.bin.part").write_bytes(BODY)
    get(host, to)
    assert to.read_bytes() == BODY
    assert host.ranges_seen == [f"bytes={len(BODY)}-"]


def test_a_part_longer_than_the_file_starts_afresh(host: Host, to: Path) -> None:
    to.parent.mkdir()
    to.with_name("file.bin.part").write_bytes(BODY + b"more")
    get(host, to)
    assert to.read_bytes() == BODY
    assert host.ranges_seen == [f"bytes={len(BODY) + 4}-", None]


def test_an_unexpected_range_is_not_appended(host: Host, to: Path) -> None:
    assert not downloads._resumes(_Answer(206, "bytes 5-9/10"), 4)  # type: ignore[arg-type]
    assert not downloads._resumes(_Answer(206, "bytes 40-90/100"), 4)  # type: ignore[arg-type]
    assert not downloads._resumes(_Answer(200, "bytes 4-9/10"), 4)  # type: ignore[arg-type]
    assert downloads._resumes(_Answer(206, "bytes 4-9/10"), 4)  # type: ignore[arg-type]


class _Answer:
    def __init__(self, status: int, content_range: str) -> None:
        self.status, self.headers = status, {"Content-Range": content_range}


@pytest.mark.parametrize("older", [None, b"an older file"])
def test_a_wrong_checksum_is_refused_and_nothing_kept(
    host: Host, to: Path, older: bytes | None
) -> None:
    to.parent.mkdir()
    if older:
        to.write_bytes(older)
    host.body = BODY[:-1] + b"x"
    with pytest.raises(
        AssetError,
        match=r"The file arrived from 127\.0\.0\.1 with the wrong checksum.* Use the bundled",
    ):
        get(host, to)
    assert leftovers(to) == ({"file.bin"} if older else set())
    assert older is None or to.read_bytes() == older


def test_a_damaged_file_is_replaced(host: Host, to: Path) -> None:
    to.parent.mkdir()
    to.write_bytes(BODY[:-1])
    get(host, to)
    assert to.read_bytes() == BODY


def test_a_file_changed_since_it_was_checked_is_checked_again(host: Host, to: Path) -> None:
    get(host, to)
    before = digest_of(to)
    to.write_bytes(BODY[::-1])
    os.utime(to, ns=(1, 1))
    assert digest_of(to) != before == SHA256.removeprefix("sha256:")


def test_a_server_that_stalls_fails_and_is_resumed(
    host: Host, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.3)
    host.stop_after, host.stall = 300_000, threading.Event()
    with pytest.raises(AssetError, match=r"stopped early \(no data for 0\.3 seconds\)"):
        get(host, to)
    host.stall.set()
    get(host, to)
    assert host.ranges_seen == [None, "bytes=300000-"]
    assert to.read_bytes() == BODY


@pytest.mark.parametrize("status", [403, 404, 416, 503])
def test_a_server_error_is_reported(host: Host, to: Path, status: int) -> None:
    host.status = status
    with pytest.raises(
        AssetError, match=rf"from 127\.0\.0\.1 \(the server says {status} .*\)\. Use the bundled"
    ):
        get(host, to)
    assert not to.exists()


def failure(to: Path, url: str) -> str:
    with pytest.raises(AssetError) as raised:
        fetch(url, to, checksum=SHA256, what="The file", instead=INSTEAD)
    return str(raised.value)


def test_a_server_that_refuses_is_still_reachable(host: Host) -> None:
    assert is_reachable(host.url)  # it answers that it has no HEAD
    assert not is_reachable("http://127.0.0.1:9/")


def test_a_refused_connection_is_one_sentence(host: Host, to: Path) -> None:
    sentence = (
        "The file could not be downloaded from 127.0.0.1 (no network?). Use the bundled ones."
    )
    assert failure(to, "http://127.0.0.1:9/file.bin") == sentence
    assert leftovers(to) == set()


def test_a_server_that_never_answers_fails_in_time(
    host: Host, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert downloads.ANSWER_SECONDS < 10
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sentence = failure(to, f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin")
    assert "from 127.0.0.1 (no network?)" in sentence


def test_a_name_look_up_that_hangs_fails_in_time(
    host: Host, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.3)
    released = threading.Event()
    # A socket's timeout does not cover the resolver.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    sentence = failure(to, "https://weights.example/file.bin")
    assert not released.is_set()
    released.set()
    assert "could not be downloaded from weights.example (no network?)" in sentence


class FullDisk(io.FileIO):
    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_reported_and_gets_its_space_back(
    host: Host, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to.parent.mkdir()
    to.with_name("file.bin.part").write_bytes(BODY[:1000])
    monkeypatch.setattr(Path, "open", lambda path, mode: FullDisk(path, mode))
    with pytest.raises(
        AssetError, match=rf"written to {to.parent} \({os.strerror(errno.ENOSPC)}\)\. Use the bun"
    ):
        get(host, to)
    assert leftovers(to) == set()


def test_an_unreadable_file_is_reported(
    host: Host, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(host, to)

    def unreadable(*_: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(downloads, "digest_of", unreadable)
    with pytest.raises(AssetError, match=rf"{to.parent} \({os.strerror(errno.EACCES)}\)\. Use"):
        get(host, to)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows always has locks")
@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_gets_a_lease(
    host: Host, to: Path, reason: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("fcntl.flock", fail)
    names: list[set[str]] = []
    get(host, to, progress=lambda _: names.append(leftovers(to)))
    assert to.read_bytes() == BODY
    assert names[0] == {"file.bin.lease"}
    assert leftovers(to) == {"file.bin"}


def test_a_folder_that_cannot_be_made_is_reported(host: Host, to: Path) -> None:
    to.parent.write_text("a file where the folder should be")
    with pytest.raises(AssetError, match=rf"The file could not be written to {to.parent} \("):
        get(host, to)


def test_an_exception_in_progress_stops_it_and_keeps_the_part(host: Host, to: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done:
            raise AnalysisStopped("enough")

    with pytest.raises(AnalysisStopped, match="enough"):
        get(host, to, progress=stop)
    size = to.with_name("file.bin.part").stat().st_size
    assert size > 0
    get(host, to)
    assert host.ranges_seen[1] == f"bytes={size}-"
    assert to.read_bytes() == BODY


PROGRAM = """
import sys
from pathlib import Path
from analysis.system.downloads import fetch
url, to, checksum = sys.argv[1:]
fetch(url, Path(to), checksum=checksum, what="The file", instead="", progress=print)
"""


@contextmanager
def downloading(host: Host, to: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has started to download."""
    command = [sys.executable, "-c", PROGRAM, host.url, str(to), SHA256]
    part = to.with_name("file.bin.part")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: part.exists() and part.stat().st_size > 0)
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the condition never became true")


def test_a_process_killed_half_way_is_resumed(host: Host, to: Path) -> None:
    host.stop_after, host.stall = 300_000, threading.Event()
    with downloading(host, to) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    host.stop_after = None
    size = to.with_name("file.bin.part").stat().st_size
    assert not to.exists()
    assert 0 < size <= 300_000
    host.stall = None
    get(host, to)
    assert host.ranges_seen == [None, f"bytes={size}-"]
    assert to.read_bytes() == BODY
    assert leftovers(to) == {"file.bin"}


def test_of_two_processes_one_downloads(host: Host, to: Path) -> None:
    host.stop_after, host.stall = 300_000, threading.Event()
    reports: list[Progress] = []
    with downloading(host, to) as process:
        stall = host.stall

        def watch(progress: Progress) -> None:
            reports.append(progress)
            stall.set()

        get(host, to, progress=watch)
        assert process.wait(30) == 0
    assert host.ranges_seen == [None]
    assert to.read_bytes() == BODY
    assert leftovers(to) == {"file.bin"}
    assert reports[0].done > 0  # by the other process


def test_a_checksum_that_fits_any_file_is_refused(host: Host, to: Path) -> None:
    for checksum in ("sha256:", "crc:12345678", "abcdef012345"):
        with pytest.raises(ValueError, match="`checksum` must be sha256:"):
            get(host, to, checksum)
