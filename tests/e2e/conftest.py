"""A real server and a real browser."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.e2e.evidence import RECORD_CLICKS, describe
from tests.serving import PATIENCE, ROOT, chromium, serve

DRAWN = 1000 * PATIENCE  # milliseconds
expect.set_options(timeout=DRAWN)
OURS = re.compile(rf'File "{re.escape(str(ROOT))}/(app|analysis)/')


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="package")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's folder of analyses, empty at first."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="package")
def address(server_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard, served as README says."""
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output, serve(server_home, output) as server:
        yield server.url
        # Streamlit logs its own traceback when a browser leaves while a page is drawn.
        ours = [line for line in log.read_text().splitlines() if OURS.search(line)]
        assert ours == [], "a traceback through our code"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="package")
def contexts(browser: Browser) -> Iterator[Callable[[bool], BrowserContext]]:
    """A light and a dark profile of the browser. What one page has fetched, the next has too."""
    opened: dict[bool, BrowserContext] = {}

    def context(dark: bool) -> BrowserContext:
        if dark not in opened:
            opened[dark] = browser.new_context(
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",  # drawing what moves takes a second of each visit
            )
            opened[dark].add_init_script(RECORD_CLICKS)
        return opened[dark]

    yield context
    for one in opened.values():
        one.close()


@pytest.fixture
def visit(
    request: pytest.FixtureRequest, address: str, contexts: Callable[[bool], BrowserContext]
) -> Iterator[Callable[..., Page]]:
    """Open the dashboard in a fresh session and wait until it is fully drawn."""
    pages: list[Page] = []
    elsewhere: list[str] = []

    def note_request(sent: Request) -> None:
        if urlsplit(sent.url).hostname not in ("localhost", None):
            elsewhere.append(sent.url)

    def open_page(
        query: str = "", *, width: int = 1440, height: int = 900, dark: bool = False
    ) -> Page:
        page = contexts(dark).new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.set_default_timeout(DRAWN)
        page.on("request", note_request)
        page.goto(f"{address}/{query}")
        page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for()
        page.locator(".js-plotly-plot .main-svg:visible").first.wait_for()
        return page

    yield open_page
    for page in pages:
        if request.node.stash.get(_FAILED, False):
            sys.stdout.write(describe(page))
        page.evaluate("localStorage.clear()")
        page.close()
    assert elsewhere == [], "the dashboard must request nothing from other servers"
