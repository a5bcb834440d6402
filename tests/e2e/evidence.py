"""What a page was like when a browser test failed: such failures seldom come a second time."""

from __future__ import annotations

import json

from playwright.sync_api import Error, Page

_TEXT = 1500  # characters of the page
RECORD_CLICKS = """(() => {
  window.lastClicks = [];
  for (const kind of ['pointerdown', 'pointerup', 'click', 'keydown']) {
    addEventListener(kind, event => {
      const target = event.target.closest?.('button, input, a') || event.target;
      window.lastClicks.push([
        Math.round(performance.now()), kind, event.key || '', target.tagName,
        (target.innerText || target.getAttribute?.('aria-label') || '').slice(0, 30),
      ].join(' '));
      window.lastClicks = window.lastClicks.slice(-12);
    }, true);
  }
})()"""
# Controls without a box, each with the outermost element around it that has none either.
_HIDDEN = """() => [...document.querySelectorAll('[data-testid=stMain] [class*=st-key-]')]
  .filter(each => !each.getClientRects().length)
  .map(each => {
    const key = [...each.classList].find(name => name.startsWith('st-key-'));
    let outer = each;
    while (outer.parentElement && !outer.parentElement.getClientRects().length)
      outer = outer.parentElement;
    const style = getComputedStyle(outer);
    return [key, outer.dataset.testid || outer.tagName, outer.className, outer.dataset.stale,
      style.display].join(' ');
  })"""


def describe(page: Page) -> str:
    """The address, the last clicks, hidden controls and the text of a page, in lines."""
    try:
        facts = {
            "address": page.url,
            "script": page.locator("[data-test-script-state]").first.get_attribute(
                "data-test-script-state", timeout=1000
            ),
            "milliseconds": page.evaluate("Math.round(performance.now())"),
            "clicks": page.evaluate("window.lastClicks"),
            "hidden": page.evaluate(_HIDDEN),
            "text": page.locator("[data-testid=stMain]").inner_text(timeout=1000)[-_TEXT:],
        }
    except Error as error:
        return f"The page could not be described: {error}"
    return json.dumps(facts, indent=1, ensure_ascii=False)
