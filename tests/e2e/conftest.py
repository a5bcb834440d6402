"""The real server and a real browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
DRAWN = 60_000  # milliseconds; a machine may be busy


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard, served as README says, with an empty folder of analyses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"BETTISCOPE_HOME": str(tmp_path_factory.mktemp("home"))}
    command = [sys.executable, "-m", "streamlit", "run", "app/server.py"]
    command += ["--server.port", str(port), "--server.headless", "true"]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://localhost:{port}"
    try:
        _wait_for(f"{url}/_stcore/health", server)
        yield url
        assert "Traceback" not in log.read_text()
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + DRAWN / 1000
    while True:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < end, "the server does not answer"
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except OSError:
            time.sleep(0.1)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = subprocess.run(
        [ROOT / ".ci" / "find-chromium"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=found.stdout.strip(), args=["--no-sandbox"]
        )
        yield launched
        launched.close()


@pytest.fixture
def visit(address: str, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the dashboard in a fresh session and wait until it is drawn in full."""
    contexts, elsewhere = [], []

    def open_page(
        query: str = "", *, width: int = 1440, height: int = 900, dark: bool = False
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(DRAWN)
        page.on(
            "request",
            lambda request: (
                elsewhere.append(request.url)
                if urlsplit(request.url).hostname not in ("localhost", None)
                else None
            ),
        )
        page.goto(f"{address}/{query}")
        page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for()
        page.locator(".js-plotly-plot .main-svg:visible").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert elsewhere == [], "the dashboard must need nothing but its own server"
