"""Start the dashboard as README says, and a browser to view it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from playwright.sync_api import Browser, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 90.0  # seconds; the machine may be busy
DESKTOP: ViewportSize = {"width": 1440, "height": 900}


@dataclass(frozen=True)
class Server:
    """A running dashboard in its own process."""

    url: str
    process: subprocess.Popen[bytes]
    started: float  # seconds from the start to the first answer


def restore_ctrl_c() -> None:
    """Let a child process react to Ctrl+C; a shell's background jobs ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def serve(
    home: Path | str,
    output: IO[str] | int = subprocess.DEVNULL,
    *,
    script: str = "app/server.py",
) -> Iterator[Server]:
    """Start the dashboard on a free port, wait until it answers, and stop it afterwards.

    Parameters
    ----------
    home : path
        Its folder of analyses and runs.
    output : file, optional
        Receives everything the server prints.
    script : str
        What is served, below the root of the repository.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", script]
    command += ["--server.port", str(port), "--server.headless", "true"]
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"BETTISCOPE_HOME": str(home)},
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://localhost:{port}"
        _wait_for(f"{url}/_stcore/health", process)
        yield Server(url, process, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser that `.ci/find-chromium` finds, without a window."""
    search = subprocess.run(
        [ROOT / ".ci" / "find-chromium"], capture_output=True, text=True, check=False
    )
    if search.returncode:
        raise RuntimeError(search.stderr.strip())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=search.stdout.strip(), args=["--no-sandbox"]
        )
        try:
            yield browser
        finally:
            browser.close()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server stopped with exit code {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"the server did not answer within {PATIENCE:g} s")
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except OSError:
            time.sleep(0.02)
