"""Parts of a page that several browser tests use."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


def stop(page: Page) -> Locator:
    """The page's own Stop button; Streamlit sometimes shows another in the header."""
    return page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop")


def choose(page: Page, key: str, option: str) -> None:
    """Choose an option of the select box with this key."""
    page.locator(f".st-key-{key} input").click()
    page.keyboard.type(option)
    page.keyboard.press("Enter")
