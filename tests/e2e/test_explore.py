"""Explore in a real browser: the default view, ρ, the normalisation, a click, a link, a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from analysis.options import AnalysisOptions
from analysis.results import TopologyReport
from analysis.selection.ranking import ranking
from analysis.text import plural
from analysis.topology.pipeline import analyze_named
from tests.e2e.pages import choose, stop

pytestmark = pytest.mark.e2e
Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TopologyReport]:
    """The default analysis, computed here and not by the server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTISCOPE_HOME", str(tmp_path_factory.mktemp("own")))
        yield analyze_named(AnalysisOptions())


@pytest.fixture(scope="module")
def rows(report: TopologyReport) -> pd.DataFrame:
    return ranking(report)


def tile(page: Page, label: str) -> str:
    metric = page.get_by_test_id("stMetric").filter(has_text=label)
    return metric.get_by_test_id("stMetricValue").inner_text()


def move(page: Page, key: str, steps: int) -> None:
    slider = page.locator(f".st-key-{key} input[type=range]")
    slider.focus()
    for _ in range(steps):
        page.keyboard.press("ArrowRight")


def layer_name(page: Page) -> str:
    return page.locator(".st-key-layer input").input_value()


def profile(page: Page, kind: str = "wide"):  # type: ignore[no-untyped-def]
    # Streamlit keeps hidden copies of its charts for printing.
    return page.locator(f".st-key-profile_{kind} .js-plotly-plot:visible")


def drawn_scores(page: Page) -> list[float]:
    """The score bars that Plotly holds in the browser, once it has built the chart."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
    scores: list[float] = page.wait_for_function(
        """() => {
            const plots = [...document.querySelectorAll('.st-key-profile_wide .js-plotly-plot')]
            const plot = plots.find(plot => plot.offsetParent)
            const bars = plot?._fullData?.find(trace => trace.name === 'score')
            return bars && Array.from(bars.x)
        }"""
    ).json_value()
    return scores


PLACE = """(plot, row) => {
    const box = plot.getBoundingClientRect(), layout = plot._fullLayout
    return [box.left + layout._size.l + 0.42 * layout._size.w,
            box.top + layout._size.t + layout.yaxis.c2p(row)]
}"""
BAND = """row => {
    const plots = [...document.querySelectorAll('.st-key-profile_wide .js-plotly-plot')]
    const plot = plots.find(plot => plot.offsetParent), layout = plot?._fullLayout
    if (!layout) return false  // it is being replaced
    const frame = plot.closest('[data-testid=stPlotlyChart]')
    const band = getComputedStyle(frame, '::after'), height = parseFloat(band.height)
    const middle = frame.getBoundingClientRect().top + parseFloat(band.top) + height / 2
    const drawn = plot.getBoundingClientRect().top + layout._size.t + layout.yaxis.c2p(row)
    const high = layout.yaxis.c2p(1) - layout.yaxis.c2p(0)
    return Math.abs(middle - drawn) < 1 && Math.abs(height - high) < 1
}"""


def click_row(page: Page, row: int, *, kind: str = "wide") -> None:
    """Click where a row has no mark, between the score and its column's end."""
    page.mouse.click(*profile(page, kind).evaluate(PLACE, row))


def expect_open(page: Page, row: int, name: str) -> None:
    """The layer is under the microscope, and a band lies over its row alone."""
    expect(page.locator(".st-key-layer input")).to_have_value(name)
    page.wait_for_function(BAND, arg=row)


def test_the_default_dashboard(visit: Visit, report: TopologyReport, rows: pd.DataFrame) -> None:
    page = visit()
    assert tile(page, "Selected") == "4 of 42 layers"
    best = rows.loc[rows["rank"] == 1, "layer"].item()
    assert layer_name(page) == best
    names = profile(page).locator("text").all_text_contents()
    assert {"conv1", "layer3.0.downsample.0", "fc"} <= set(names)
    ranked = rows.loc[rows["rank"].notna(), "score"]
    shares = (rows["score"] / ranked.max()).clip(upper=1.12)
    assert drawn_scores(page) == pytest.approx(shares.tolist())
    dots = page.locator(".st-key-diagram .js-plotly-plot:visible").evaluate(
        "plot => Math.max(...plot._fullData.filter(t => t.mode === 'markers').map(t => t.x.length))"
    )
    assert dots == len(report.layer(best).diagrams[0]), "the loops of the first subset"


def test_rho_and_normalisation_change_the_chart(visit: Visit, rows: pd.DataFrame) -> None:
    page = visit()
    before = drawn_scores(page)
    move(page, "rho", 10)
    expect(page.get_by_text("8 of 42 layers")).to_be_visible()
    expect(page).to_have_url(re.compile(r"rho=0\.2"))
    choose(page, "normalization", "none")
    expect(page).to_have_url(re.compile("normalization=none"))
    page.wait_for_function(
        """before => {
            const plots = [...document.querySelectorAll('.st-key-profile_wide .js-plotly-plot')]
            const plot = plots.find(plot => plot.offsetParent)
            const bars = plot?._fullData?.find(trace => trace.name === 'score')
            return bars && Math.abs(bars.x[0] - before) > 1e-6
        }""",
        arg=before[0],
    )
    raw = rows["b1"] / rows.loc[~rows["head"], "b1"].max()
    assert drawn_scores(page) == pytest.approx(raw.tolist())


def test_a_click_on_a_row_opens_its_layer(visit: Visit, rows: pd.DataFrame) -> None:
    page = visit()
    name = rows["layer"][5]
    click_row(page, 5)
    expect_open(page, 5, name)
    expect(page).to_have_url(re.compile(f"layer={re.escape(name)}"))
    loops = f"b₁ = {plural(rows['b1'][5], 'loop')}"
    expect(page.get_by_text(loops).first).to_be_visible()
    move(page, "rho", 10)  # the figure changes, and the layer stays open
    expect(page).to_have_url(re.compile(r"rho=0\.2"))
    page.wait_for_function(  # redrawn, with the rows that are selected now
        """() => {
            const plots = [...document.querySelectorAll('.st-key-profile_wide .js-plotly-plot')]
            const rows = plots.find(plot => plot.offsetParent)?._fullData?.find(
                trace => trace.name === 'selected rows')
            return rows?.y?.length === 8
        }"""
    )
    expect_open(page, 5, name)
    click_row(page, 12)
    expect_open(page, 12, rows["layer"][12])
    choose(page, "layer", rows["layer"][20])
    expect_open(page, 20, rows["layer"][20])
    page.wait_for_function(
        """() => [...document.querySelectorAll('.st-key-profile_wide .js-plotly-plot')]
            .find(plot => plot.offsetParent)?._fullLayout?.selectionrevision === 1"""
    )
    click_row(page, 12)  # which Plotly must not take for the same click once more
    expect_open(page, 12, rows["layer"][12])


def test_a_link_restores_the_view(visit: Visit) -> None:
    page = visit("?model=pocket-vgg&dataset=fashion&rho=0.3&normalization=flops&preset=paper")
    assert tile(page, "Selected") == "3 of 10 layers"
    assert page.locator(".st-key-model input").input_value() == "pocket-vgg"
    assert page.locator(".st-key-normalization input").input_value() == "flops"


def test_a_long_analysis_shows_where_it_is_and_stops(visit: Visit) -> None:
    page = visit()
    images = page.locator(".st-key-samples input")
    images.fill("1000")
    images.press("Enter")
    page.get_by_text("press Analyse for pocket-resnet20 (pre-trained) on 1000 images").wait_for()
    page.get_by_test_id("stSidebarUserContent").get_by_role("button", name="Analyse").click()
    page.get_by_text(re.compile(r": layer \d+ of 43, ")).wait_for()
    stop(page).click()
    page.get_by_text("Stopped. Press Analyse to start again.").wait_for()
    assert tile(page, "Selected") == "4 of 42 layers"


def test_pinned_layers_are_side_by_side(visit: Visit) -> None:
    page = visit()
    cards = page.locator("[class*=st-key-pinned_]:visible")
    for count, row in enumerate((2, 7), start=1):
        click_row(page, row)
        page.get_by_role("button", name="Pin", exact=True).click()
        expect(cards).to_have_count(count)
    boxes = [card.bounding_box() for card in cards.all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_cut_off(visit: Visit, dark: bool) -> None:
    page = visit(width=390, height=844, dark=dark)
    profile(page, "narrow").wait_for()
    assert profile(page, "wide").count() == 0
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    left = profile(page, "narrow").evaluate(
        """plot => Math.min(...[...plot.querySelectorAll('text')].filter(t => t.textContent)
              .map(t => t.getBoundingClientRect().left))"""
    )
    assert left >= 0
    background = page.locator(".stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    assert background == ("rgb(16, 22, 29)" if dark else "rgb(255, 255, 255)")


# Plotly has drawn the profile at its new width.
DRAWN_AGAIN = """() => [...document.querySelectorAll('[class*=st-key-profile_] .js-plotly-plot')]
    .filter(plot => plot.offsetParent)
    .every(plot => Math.abs(plot._fullLayout?.width - plot.clientWidth) < 2)"""
OVERPRINTS = """plot => {
  const texts = [...plot.querySelectorAll('text')].filter(
    text => text.textContent.trim() && !text.closest('.hoverlayer'));
  const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
  const both = [];
  for (const [i, [one, a]] of boxes.entries()) for (const [other, b] of boxes.slice(0, i)) {
    const apart = a.left > b.right - 1 || b.left > a.right - 1
      || a.top > b.bottom - 2 || b.top > a.bottom - 2;
    if (!apart) both.push(`${one} on ${other}`);
  }
  return both;
}"""


def test_each_width_shows_what_it_should(visit: Visit) -> None:
    page = visit(width=1280, height=720)
    plot = profile(page)
    rows = plot.evaluate(
        """plot => {
            const names = plot._fullData.find(trace => trace.name === 'names').text;
            const texts = [...plot.querySelectorAll('text')];
            return texts.filter(text => names.includes(text.textContent)
                && text.getBoundingClientRect().bottom <= innerHeight).length
        }"""
    )
    assert rows >= 20
    decision = page.get_by_text("and the new head").bounding_box()
    diagram = page.locator(".st-key-microscope .js-plotly-plot:visible").first.bounding_box()
    assert decision["y"] + decision["height"] <= 720
    assert diagram["y"] + diagram["height"] <= 720

    table = page.get_by_test_id("stDataFrame").last
    table.hover()
    expect(page.get_by_role("button", name="Search: All layers")).to_be_visible()
    expect(page.get_by_role("button", name="Download as CSV")).to_have_count(0)
    page.get_by_text("and the new head").scroll_into_view_if_needed()

    # The titles and the microscope stay in sight.
    page.mouse.move(600, 600)
    page.mouse.wheel(0, 320)
    titles = page.locator(".st-key-titles_wide .js-plotly-plot:visible")
    expect(titles).to_be_in_viewport(ratio=0.7)
    expect(page.locator(".st-key-layer input")).to_be_in_viewport()

    for width in (1280, 1024, 960, 800, 660):  # 960: 1440 at 150 % zoom
        page.set_viewport_size({"width": width, "height": 720})
        kind = ".st-key-profile_wide, .st-key-profile_narrow"
        plot = page.locator(kind).locator(".js-plotly-plot:visible")
        expect(plot).to_have_count(1)
        page.wait_for_function(DRAWN_AGAIN)
        assert plot.evaluate(OVERPRINTS) == []


def test_the_keyboard_reaches_a_control_before_its_help_and_shows_where_it_is(visit: Visit) -> None:
    page = visit()
    page.get_by_role("link", name="Skip to main content").focus()
    reached = []
    while "rho" not in "".join(reached).replace("ρ", "rho") and len(reached) < 40:
        page.keyboard.press("Tab")
        name, style, width = page.evaluate(
            """() => {
                const at = document.activeElement, looks = getComputedStyle(at);
                return [at.ariaLabel || at.innerText, looks.outlineStyle, looks.outlineWidth];
            }"""
        )
        assert (style, width) == ("solid", "2px"), name
        reached.append(name)
    for control in ("Model", "Weights", "Dataset", "Shift", "Images", "Seed"):
        assert reached.index(control) + 1 == reached.index(f"Help for {control}")


def test_a_clicked_row_at_the_foot_leaves_the_microscope_in_sight(visit: Visit) -> None:
    page = visit()
    plot = page.locator("[class*=st-key-profile_] .js-plotly-plot:visible")
    layer, main = page.locator(".st-key-layer input"), page.get_by_test_id("stMain")
    # 1024: with the sidebar open; 960 × 600: 1440 × 900 at 150 % zoom
    for row, (width, height) in enumerate([(1280, 720), (1024, 768), (960, 600)], start=2):
        page.set_viewport_size({"width": width, "height": height})
        expect(plot).to_have_count(1)
        page.wait_for_function(DRAWN_AGAIN)
        main.evaluate("main => main.scrollTo(0, 0)")
        before, box = layer.input_value(), plot.bounding_box()
        main.evaluate("(main, by) => main.scrollBy(0, by)", box["y"] + box["height"] - height + 20)
        page.wait_for_function(
            """() => [...document.querySelectorAll('[class*=st-key-profile_] .js-plotly-plot')]
                .some(plot => plot.offsetParent
                    && plot.getBoundingClientRect().bottom < innerHeight + 10)"""
        )
        box = plot.bounding_box()
        foot = box["y"] + box["height"] - 10
        page.mouse.click(box["x"] + 0.7 * box["width"], foot - 16 * (row + 0.5))
        expect(layer).not_to_have_value(before)
        expect(page).to_have_url(re.compile("layer=layer3"))
        expect(layer).to_be_in_viewport()
        expect(page.locator(".st-key-microscope .js-plotly-plot").first).to_be_in_viewport(ratio=1)
