"""A real server and a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.serving import PATIENCE, ROOT, chromium, serve

DRAWN = 1000 * PATIENCE  # milliseconds
expect.set_options(timeout=DRAWN)
OURS = re.compile(rf'File "{re.escape(str(ROOT))}/(app|analysis)/')


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard, served as README says, with an empty folder of analyses."""
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output, serve(tmp_path_factory.mktemp("home"), output) as server:
        yield server.url
        # Streamlit logs its own traceback when a browser leaves while a page is drawn.
        ours = [line for line in log.read_text().splitlines() if OURS.search(line)]
        assert ours == [], "a traceback through our code"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def visit(address: str, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the dashboard in a fresh session and wait until it is fully drawn."""
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
    assert elsewhere == [], "the dashboard must request nothing from other servers"
