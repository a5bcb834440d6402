"""The Start button stays where it is when the predictions arrive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.serving import PATIENCE, serve

pytestmark = pytest.mark.e2e
SOON = 3000 * PATIENCE  # milliseconds; five pages at once are slow on a busy machine
VISITS, AT_ONCE = 8, 4
LINK = "finetune?model=pocket-vgg&strategies=adabet&train_batch="


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[str]:
    """The address of a server with an empty home."""
    with serve(tmp_path / "home", script="tests/e2e/quick_server.py") as server:
        yield server.url


def expect_one_button(page: Page) -> None:
    start = page.locator(".st-key-start button:visible")  # there are hidden copies, for printing
    expect(start).to_have_count(1, timeout=SOON)
    expect(start).to_contain_text("Start 1 run")


def test_the_start_button_outlasts_the_predictions(fresh: str, browser: Browser) -> None:
    """Each visit asks for batches of another size, so that each waits for its own predictions."""
    context = browser.new_context(reduced_motion="reduce")
    for first in range(8, 8 + VISITS, AT_ONCE):
        pages = [context.new_page() for _ in range(AT_ONCE)]
        for size, page in enumerate(pages, start=first):
            page.goto(f"{fresh}/{LINK}{size}", wait_until="commit")
        for page in pages:
            expect_one_button(page)
        for page in pages:
            cells = page.locator("[data-testid=stDataFrame] canvas td")
            expect(cells.filter(has_text="1 MB")).to_be_attached(timeout=SOON)
            page.locator("[data-test-script-state=notRunning]").wait_for(timeout=SOON)
            expect_one_button(page)
            page.close()
    context.close()
