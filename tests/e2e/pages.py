"""Parts of a page that several browser tests use."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


def stop(page: Page) -> Locator:
    """The page's own Stop button; Streamlit sometimes shows another in the header."""
    return page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop")
