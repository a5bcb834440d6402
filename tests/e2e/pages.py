"""What several browser tests look for on a page."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


def stop(page: Page) -> Locator:
    """Stop on the page itself: Streamlit shows one of its own in the header now and then."""
    return page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop")
