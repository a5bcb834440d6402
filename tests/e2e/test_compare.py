"""Compare in a real browser: sliders, clicks, and work that a button starts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from scipy.sparse.csgraph import connected_components

from analysis.options import AnalysisOptions
from analysis.topology.permuted_store import PermutedRequest, load_permuted
from analysis.topology.store import fingerprint, load_analysis

pytestmark = pytest.mark.e2e
Visit = Callable[..., Page]
# The traces of the chart that is seen; Streamlit keeps hidden copies of its charts.
TRACES = """key => {
    const plots = [...document.querySelectorAll(`.st-key-${key} .js-plotly-plot`)]
    return plots.find(plot => plot.offsetParent)?._fullData
}"""
POINT = """() => {
    const plots = [...document.querySelectorAll('.st-key-ranks .js-plotly-plot')]
    const plot = plots.find(plot => plot.offsetParent), layout = plot._fullLayout
    const best = plot._fullData.find(trace => trace.name === 'selected')
    const i = best.x.findIndex((x, i) => x === 2 && best.y[i] === 1)
    const box = plot.getBoundingClientRect()
    return [box.left + layout._size.l + layout.xaxis.c2p(best.x[i]),
            box.top + layout._size.t + layout.yaxis.c2p(best.y[i]), [...best.x.keys()]
        .filter(j => best.x[j] === 2 && best.y[j] === 1).map(j => best.customdata[j][0])]
}"""


def test_a_slider_adds_a_ranking_and_a_click_marks_its_layer(visit: Visit) -> None:
    page = visit("compare?normalization=none")
    page.locator(".st-key-choices .js-plotly-plot .main-svg:visible").first.wait_for()
    slider = page.locator(".st-key-power_flops input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"normalization=flops(\^|%5E)0\.25"))
    page.wait_for_function(
        f"() => (({TRACES})('ranks') || []).some(t => t.name === 'selected' && t.x.includes(5))"
    )
    # The best by parameters, in the third column.
    page.locator("[data-test-script-state=notRunning]").wait_for()  # nothing moves any more
    page.locator(".st-key-ranks .js-plotly-plot:visible").scroll_into_view_if_needed()
    x, y, names = page.evaluate(POINT)  # some layers may share a rank
    page.mouse.click(x, y)
    any_of_them = "|".join(map(re.escape, names))
    expect(page.locator(".st-key-layer input")).to_have_value(re.compile(f"^({any_of_them})$"))
    page.wait_for_function(
        f"() => (({TRACES})('ranks') || []).some("
        "t => t.name === 'the marked layer' && t.y[2] === 1)"
    )
    expect(page).to_have_url(re.compile(f"layer=({any_of_them})"))


CELL = """place => {
    const plots = [...document.querySelectorAll('.st-key-surface .js-plotly-plot')]
    const plot = plots.find(plot => plot.offsetParent), layout = plot._fullLayout
    const cells = plot._fullData.find(trace => trace.name === 'cells')
    const box = plot.getBoundingClientRect()
    return [box.left + layout._size.l + layout.xaxis.c2p(cells.x[place]),
            box.top + layout._size.t + layout.yaxis.c2p(cells.y[place]), ...cells.customdata[place]]
}"""


def test_a_click_on_the_surface_moves_the_live_view(
    visit: Visit, server_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit("compare")
    page.get_by_role("radio", name="Alike").click()
    live = page.locator(".live")
    live.locator("canvas").first.wait_for()
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.locator(".st-key-surface .js-plotly-plot:visible").scroll_into_view_if_needed()
    monkeypatch.setenv("BETTISCOPE_HOME", str(server_home))
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    mark = page.locator(".st-key-surface .annotation-text:visible")
    for place in (9 * len(report.layers) + 30, 14 * len(report.layers) + 30):
        x, y, name, share = page.evaluate(CELL, place)
        page.mouse.click(x, y)
        layer = report.layer(name)
        expect(page.locator(".st-key-layer input")).to_have_value(name)
        expect(mark).to_have_text(f"{100 * share:.1f} %")
        scale = share * layer.diameter
        expect(live.get_by_role("spinbutton", name="Scale ε")).to_have_value(
            f"{float(f'{scale:.4g}'):g}"
        )
        births, deaths = layer.diagrams[0].T
        alive = int(((births <= scale) & (scale < deaths)).sum())
        expect(live.locator("[data-n=loops]")).to_have_text(str(alive))
        members = report.clouds[0]
        near = layer.distances[np.ix_(members, members)] <= scale
        expect(live.locator("[data-n=pieces]")).to_have_text(str(connected_components(near)[0]))
    typed = live.get_by_role("spinbutton", name="Scale ε").input_value()
    for part in (f"layer={re.escape(name)}", "height=0", f"scale={re.escape(typed)}"):
        expect(page).to_have_url(re.compile(f"[?&]{part}"))  # where ε rests, the link follows
    page.reload()
    expect(mark).to_have_text(f"{100 * share:.1f} %")
    expect(live.get_by_role("spinbutton", name="Scale ε")).to_have_value(typed)


def test_luck_is_said_and_images_are_left_out(visit: Visit) -> None:
    page = visit("compare", width=390, height=844)
    page.get_by_role("radio", name="Luck").click()
    verdict = page.locator(".st-key-verdict h2")
    expect(verdict).to_contain_text(re.compile("draws? of images|Other images"))
    sizes = (
        "h => [h, document.querySelector('h1')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    largest, title = verdict.evaluate(sizes)
    assert largest > title  # how sure the selection is stands in the largest type
    page.wait_for_function(  # drawn, with a bar for each layer
        f"() => (({TRACES})('luck') || []).filter(t => t.type === 'bar')"
        ".reduce((bars, t) => bars + t.x.length, 0) > 30"
    )
    page.locator(".st-key-left_out label").first.click()
    page.get_by_role("button", name="Measure without 1 image").click()
    expect(page.get_by_text("Measured without them")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_loops_are_tested_and_features_permuted(
    visit: Visit, server_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit("compare?model=pocket-vgg")
    page.get_by_role("radio", name="Topology").click()
    page.get_by_role("button", name="Test the loops").click()
    page.get_by_role("button", name="Permute the features").click()
    said = page.get_by_text("with permuted features in")
    expect(said).to_be_visible()
    monkeypatch.setenv("BETTISCOPE_HOME", str(server_home))
    options = AnalysisOptions("pocket-vgg")
    key = fingerprint(options)
    report = load_analysis(key)
    assert report is not None
    loops = load_permuted(PermutedRequest(options, key), report)
    assert loops is not None
    expect(said).to_have_text(loops.sentence().replace("**", ""))
    page.wait_for_function(  # the chart has a line for what permuted clouds of each layer give
        f"() => (({TRACES})('null') || []).some(t => t.name === 'permuted features')"
    )
