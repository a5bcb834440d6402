"""Compare's section Shift in a real browser: from the button to a layer chosen in a heat map."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e
Visit = Callable[..., Page]
FEW = "model=pocket-vgg&samples=60&batch_size=20&subsets=6"
# A cell of the heat map of b₁: the third layer without the shift.
CELL = """() => {
    const plots = [...document.querySelectorAll('.st-key-drift_b1 .js-plotly-plot')]
    const plot = plots.find(plot => plot.offsetParent), layout = plot._fullLayout
    const cells = plot._fullData.find(trace => trace.name === 'cells')
    const i = cells.x.findIndex((x, i) => x === 2 && cells.y[i] === 0)
    const box = plot.getBoundingClientRect()
    return [box.left + layout._size.l + layout.xaxis.c2p(2),
            box.top + layout._size.t + layout.yaxis.c2p(0), cells.customdata[i][0]]
}"""


def test_a_shift_is_analysed_and_a_click_marks_a_layer(visit: Visit) -> None:
    page = visit(f"compare?{FEW}")
    page.get_by_role("radio", name="Shift").click()
    page.get_by_role("button", name="Analyse every severity").click()
    said = page.locator(".st-key-drift_sentence p").filter(has_text="At severity")
    expect(said).to_contain_text("At severity 5")
    title = page.get_by_role("heading", level=1)
    size = "element => parseFloat(getComputedStyle(element).fontSize)"
    assert said.evaluate(size) > title.evaluate(size)  # the largest type
    page.get_by_role("radio", name="2", exact=True).click()
    expect(said).to_contain_text("At severity 2")
    expect(page.get_by_text("Does the old selection still do?")).to_be_visible()
    page.locator(".st-key-drift_b1 .js-plotly-plot:visible").scroll_into_view_if_needed()
    page.locator("[data-test-script-state=notRunning]").wait_for()  # nothing moves any more
    x, y, name = page.evaluate(CELL)
    page.mouse.click(x, y)
    expect(page.locator(".st-key-layer input")).to_have_value(name)
    expect(page).to_have_url(re.compile(f"layer={re.escape(name)}"))
