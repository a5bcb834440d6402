"""Wait in a browser until something is drawn, and look with every frame.

Playwright's own waiting looks only twice a second once it has waited for half of one, which made
pages up to half a second slower than they are.
"""

from __future__ import annotations

from playwright.sync_api import Page

_DRAWN = """(selector) => {
    const roots = [document];
    for (const root of roots) {
      const found = [...root.querySelectorAll(selector)];
      if (found.some((each) => each.checkVisibility({visibilityProperty: true}) &&
          each.getBoundingClientRect().height > 0)) return true;
      for (const each of root.querySelectorAll('*')) {
        if (each.shadowRoot) roots.push(each.shadowRoot);
      }
    }
    return false;
}"""
IDLE = "[data-test-script-state=notRunning]"  # no script of the page runs


def wait_until_drawn(page: Page, selector: str) -> None:
    """Wait until an element is visible, in a component's shadow too."""
    page.wait_for_function(_DRAWN, arg=selector, polling="raf")
