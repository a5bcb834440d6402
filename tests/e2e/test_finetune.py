"""Fine-tune and Runs in a real browser: start three, watch, reload, stop one, compare two."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.pages import stop

pytestmark = pytest.mark.e2e
Visit = Callable[..., Page]


def plot(page: Page, name: str) -> Locator:
    # Streamlit keeps hidden copies of its charts for printing.
    return page.locator(f".st-key-chart_{name} .js-plotly-plot:visible")


# How many points Plotly holds in the browser for a trace of the accuracy chart. A trace without
# points is still in the legend.
POINTS = """name => Math.max(0, ...[...document.querySelectorAll(
    '.st-key-chart_accuracy .js-plotly-plot'
)].flatMap(plot => plot._fullData || []).filter(trace => trace.name === name)
  .map(trace => Array.from(trace.y || []).filter(Number.isFinite).length))"""


def points(page: Page, trace: str) -> int:
    count: int = page.evaluate(POINTS, trace)
    return count


def wait_for_points(page: Page, trace: str, least: int) -> None:
    check = f"([name, least]) => ({POINTS})(name) >= least"
    page.wait_for_function(check, arg=[trace, least])


def tile(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stMetric").filter(has_text=label)


def open_page(page: Page, name: str, title: str) -> None:
    page.get_by_role("link", name=name).first.click()
    expect(page.get_by_role("heading", name=title)).to_be_visible()


def tick(page: Page, row: int) -> None:
    """Tick a row of the table of runs, which is drawn on a canvas."""
    # The filters load late, are lower until then, and the table moves when they are there.
    page.get_by_role("combobox", name="State").wait_for()
    # A tick while the page is drawn after the last one is lost now and then.
    page.locator("[data-test-script-state=notRunning]").wait_for()
    canvas = page.get_by_test_id("stDataFrame").locator("canvas").first
    canvas.wait_for()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 16, box["y"] + 35 + 35 * row + 17)


def test_three_strategies_are_started_watched_reloaded_stopped_and_compared(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    page.goto(re.sub(r"(https?://[^/]+).*", r"\1/finetune?epochs=60", page.url))
    start = page.get_by_role("button", name="Start 3 runs")
    expect(start).to_be_enabled()
    page.screenshot(path=tmp_path / "plan.png")
    start.click()

    # Points arrive while it runs, by step and by epoch.
    wait_for_points(page, "AdaBet, training, by step", 1)
    first = points(page, "AdaBet, training, by step")
    wait_for_points(page, "AdaBet", 1)
    wait_for_points(page, "AdaBet, training, by step", first + 1)
    expect(tile(page, "Size alone")).to_contain_text("waiting")
    expect(
        page.get_by_text(re.compile(r"AdaBet: step \d+ of 960 · [\d,]+ images/s"))
    ).to_be_visible()
    expect(plot(page, "memory")).to_contain_text("predicted")

    # Reloading loses nothing.
    before = points(page, "AdaBet")
    page.reload()
    wait_for_points(page, "AdaBet", max(1, before))
    expect(stop(page)).to_be_visible()

    # Stop one: it keeps what it has, and the next one starts.
    stop(page).click()
    expect(tile(page, "AdaBet")).to_contain_text("stopped")
    expect(tile(page, "AdaBet")).to_contain_text("%")
    expect(page.get_by_text(re.compile(r"Size alone: step \d+"))).to_be_visible()
    wait_for_points(page, "Size alone", 1)
    page.get_by_role("button", name="Cancel 1 waiting").click()
    expect(tile(page, "Head only")).to_contain_text("stopped")
    stop(page).click()
    expect(tile(page, "Size alone")).to_contain_text("stopped")
    expect(stop(page)).to_have_count(0)

    # Compare two.
    open_page(page, "Runs", "What has been tried?")
    tick(page, 1)
    expect(page.get_by_role("heading", name="Size alone")).to_be_visible()
    tick(page, 2)
    expect(page.get_by_role("heading", name="2 runs side by side")).to_be_visible()
    wait_for_points(page, "AdaBet", 1)
    wait_for_points(page, "Size alone", 1)
    assert points(page, "Head only") == 0

    # The link restores the comparison, and the runs can be taken away.
    expect(page).to_have_url(re.compile(r"runs=\w+(\+|%20)\w+"))
    page.reload()
    expect(page.get_by_role("heading", name="2 runs side by side")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    saved = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert {run["options"]["strategy"] for run in saved} == {"adabet", "size"}
    assert all(run["state"] == "stopped" and run["metrics"]["epochs"] for run in saved)


def test_a_phone_has_the_whole_page_without_scrolling_sideways(visit: Visit) -> None:
    page = visit("", width=390, height=844)
    for path, title in (("finetune", "Is training"), ("runs", "What has been tried?")):
        page.goto(re.sub(r"(https?://[^/]+).*", rf"\1/{path}", page.url))
        expect(page.get_by_role("heading", name=title)).to_be_visible()
        page.locator(".js-plotly-plot:visible").first.wait_for()
        sideways = page.evaluate(
            "() => { const main = document.querySelector('[data-testid=stMain]');"
            " return main.scrollWidth - main.clientWidth; }"
        )
        assert sideways <= 0, path
