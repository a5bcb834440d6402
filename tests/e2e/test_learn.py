"""The page Learn by the keyboard alone: its numbers are Ripser's, also while points move."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from ripser import ripser

from analysis.options import AnalysisOptions
from analysis.runs.records import Ending, Outcome
from analysis.runs.store import Bet, RunStore
from analysis.selection.strategies import STRATEGIES
from analysis.text import share_text
from analysis.topology.known_shapes import SHAPES, shape_points
from analysis.topology.store import fingerprint, load_analysis
from analysis.training.metrics import FinetuneResult
from app.cache.learn import Known, ring
from app.charts.live import MODULE
from app.components.learn.bet import BETS, bet_options
from tests.factories import choices_by_draw, circle, distances_of
from tests.serving import PATIENCE

pytestmark = pytest.mark.e2e
FIND = """async ([source, clouds]) => {
    const module = await import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'})));
    const empty = {count: 0, cycles: [], fills: [], least: 0, reach: 3};
    return clouds.map((points) => {
      const cloud = module.moved(empty, Float32Array.from(points.flat()));
      return [cloud.loops.map(({birth, death}) => [birth, death]), cloud.merges, cloud.pieces];
    });
}"""
DEEP = """() => {
    let active = document.activeElement;
    while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
    return active;
}"""


def reach(page: Page, goal: Locator) -> None:
    """Press Tab until the focus is there."""
    goal.wait_for()
    for _ in range(60):
        if goal.evaluate(f"(goal) => goal === ({DEEP})()"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"Tab never reaches {goal}")


def type_at(page: Page, goal: Locator, text: str) -> None:
    reach(page, goal)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def answer(page: Page, question: str, text: str) -> None:
    group = page.locator(f".st-key-guess_{question}")
    reach(page, group.get_by_role("radio").first)
    names = group.get_by_role("radio").all_inner_texts()
    for _ in range(names.index(text)):
        page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")


def loops_of(points: np.ndarray) -> np.ndarray:
    loops: np.ndarray = ripser(distances_of(points), distance_matrix=True, maxdim=1)["dgms"][1]
    return loops


def linked_count(url: str) -> int:
    """How many points a link carries."""
    return len(parse_qs(urlsplit(url).query).get("ring", [""])[0].split(";"))


def long(points: np.ndarray) -> str:
    births, deaths = loops_of(points).T
    return str(int((deaths > 2 * births).sum()))


def opened(contexts: Callable[[bool], BrowserContext], address: str, query: str) -> Page:
    """A link to a state of Learn, opened by somebody new."""
    page = contexts(False).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(f"{address}/learn?{query}")
    return page


def fits(page: Page) -> bool:
    """Whether all of the page is on the screen, once it is drawn."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    inside: bool = page.get_by_test_id("stMain").evaluate(
        "main => main.scrollHeight <= main.clientHeight && main.scrollWidth <= main.clientWidth"
    )
    return inside


def press(page: Page, button: str) -> None:
    reach(page, page.get_by_role("button", name=button))
    page.keyboard.press("Enter")


def test_learn(address: str, contexts: Callable[[bool], BrowserContext]) -> None:
    page = opened(contexts, address, "step=1")
    live = page.locator(".live")
    found = page.get_by_test_id("stMetricValue")

    # What the browser finds while a point is dragged.
    rng = np.random.default_rng(0)
    clouds = [circle(30, noise=0.1), rng.normal(size=(40, 2)), rng.uniform(size=(25, 2)), circle(3)]
    results = page.evaluate(FIND, [MODULE.read_text("utf-8"), [c.tolist() for c in clouds]])
    for points, (loops, merges, pieces) in zip(clouds, results, strict=True):
        points = points.astype(np.float32)
        components, expected = ripser(distances_of(points), distance_matrix=True, maxdim=1)["dgms"]
        order = np.lexsort(expected.T[::-1])
        np.testing.assert_allclose(np.reshape(loops, (-1, 2)), expected[order], rtol=1e-5)
        np.testing.assert_allclose(merges, np.sort(components[:-1, 1]), rtol=1e-5)
        assert pieces == len(points)

    # Nothing gives the answer away before the guess.
    points = np.array(ring(0))
    expect(live.get_by_role("img", name=f"Map of {len(points)} points")).to_be_visible()
    expect(live.locator("[data-n=loops]")).to_be_hidden()
    expect(found).to_have_count(0)
    assert not re.search(r"loop", live.locator("[data-v=map]").get_attribute("aria-label") or "")
    answer(page, "loop", "2")
    expect(found).to_have_text(long(points))
    page.locator("[data-test-script-state=notRunning]").wait_for()

    # A point is moved, and another added.
    type_at(page, live.get_by_role("spinbutton", name="Point"), "5")
    type_at(page, live.get_by_role("spinbutton", name="x"), "0.05")
    type_at(page, live.get_by_role("spinbutton", name="y"), "-0.1")
    points[4] = 0.05, -0.1
    reach(page, live.get_by_role("button", name="Add"))
    page.keyboard.press("Enter")
    points = np.vstack([points, points[4]])
    expect(live.get_by_role("img", name=f"Map of {len(points)} points")).to_be_visible()
    births, deaths = loops_of(points).T
    expect(found).to_have_text(long(points))
    longest = (deaths / births).argmax()
    story = (
        f"born at ε = {births[longest]:.2f}, when edges close it, and dies at {deaths[longest]:.2f}"
    )
    expect(page.get_by_text(story)).to_be_visible()
    page.wait_for_url(lambda url: linked_count(url) == len(points))  # the rest may be as before
    scale = float(np.float32((births[longest] + deaths[longest]) / 2))
    type_at(page, live.get_by_role("spinbutton", name="Scale ε"), f"{scale:.3f}")
    alive = ((births <= round(scale, 3)) & (round(scale, 3) < deaths)).sum()
    expect(live.locator("[data-n=loops]")).to_have_text(str(alive))

    # The next step, by its key; the link leads there.
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.keyboard.press("PageDown")
    page.wait_for_url(re.compile("step=2"))
    usual = Known("Circle")
    shown = shape_points("Circle", usual.points, noise=usual.noise, dimension=usual.dimension)
    expect(page.get_by_text("Pure noise has loops too.")).to_be_visible()
    assert page.locator(".st-key-longest .scatterlayer .trace").count() == 0
    answer(page, "Circle", "0")
    expect(found).to_have_text(long(shown))
    expect(page.get_by_text(f"By theory b₁ = {SHAPES['Circle'].loops}.")).to_be_visible()
    expect(page.get_by_text("More than noise")).to_be_visible()
    expect(page.locator(".st-key-longest .scatterlayer .trace")).to_have_count(1)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_the_steps_about_a_network(
    address: str,
    server_home: Path,
    contexts: Callable[[bool], BrowserContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each by its link and by the keyboard alone, without the steps before it."""
    monkeypatch.setenv("BETTISCOPE_HOME", str(server_home))
    store = RunStore()
    for name, accuracy in (("size", 0.3), ("random", 0.25), ("head", 0.2)):
        result = FinetuneResult(accuracy, 1, accuracy, accuracy, None, 1.0)
        store.keep(
            bet_options(name, 0, 0.06), Outcome(Ending("done", result=result), 0.0), group="class"
        )
    for number in range(6):
        store.add_bet(Bet(f"Student {number}", "size", 0.06))
    # First the bet, which trains the last choice while the other steps are drawn.
    bet = opened(contexts, address, "step=5&bet_rho=0.06")
    best = bet.get_by_test_id("stMetricValue")
    expect(best).to_have_count(0)
    answer(bet, "bet", "Random")
    press(bet, "Train the rest")
    expect(bet.get_by_text("0 of 1 trained")).to_be_visible()

    # A layer.
    page = opened(contexts, address, "step=3&learn_at=layer2.1.conv1")
    found = page.get_by_test_id("stMetricValue")
    answer(page, "layers", "rises")
    found.wait_for()
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    expect(found).to_have_text(f"{report.layer('layer2.1.conv1').b1:.1f}")
    reach(page, page.get_by_role("slider", name="Layer, from"))
    page.keyboard.press("ArrowRight")
    after = report.names[report.names.index("layer2.1.conv1") + 1]
    expect(found).to_have_text(f"{report.layer(after).b1:.1f}")
    page.close()

    # A choice.
    page = opened(contexts, address, "step=4&learn_rho=0.2")
    reach(page, page.get_by_role("slider", name="Draw of"))
    page.keyboard.press("ArrowRight")
    choices = choices_by_draw(report, rho=0.2)
    names = ", ".join(name for name in report.names if name in choices[0])
    expect(page.get_by_text(f"Draw 1 chooses {names}.")).to_be_visible()
    answer(page, "selection", "most")
    shared = np.mean([len(one & other) for one, other in combinations(choices, 2)])
    found = page.get_by_test_id("stMetricValue")
    expect(found).to_have_text(f"{shared:.1f} of {len(choices[0])}")
    answer(page, "trust", "the mean")
    expect(page.get_by_text("puts it to the test")).to_be_visible()
    page.close()

    # The result of the bet.
    expect(bet.get_by_text("of 1 trained")).to_have_count(0)
    best.wait_for()
    right = {
        STRATEGIES[run.options.strategy].title: run.result.test_accuracy
        for run in store.runs()
        if run.options.rho == 0.06 and run.result is not None
    }
    assert len(right) == 4
    most = max(right.values())
    assert right[best.inner_text()] == most
    expect(bet.get_by_text(f"{share_text(most)} right", exact=True)).to_be_visible()
    expect(bet.get_by_text("Bets by name")).to_be_visible()
    bet.locator("[data-test-script-state=notRunning]").wait_for()
    assert fits(bet)
    bet.close()


def test_each_step_fits_a_projector(
    address: str,
    server_home: Path,
    contexts: Callable[[bool], BrowserContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In large type no step scrolls, before its answer and after it."""
    monkeypatch.setenv("BETTISCOPE_HOME", str(server_home))
    store = RunStore()
    for name in BETS:
        for seed in (0, 1):
            result = FinetuneResult(0.8, 1, 0.8, 0.8, None, 1.0)
            ending = Outcome(Ending("done", result=result), 0.0)
            store.keep(bet_options(name, seed, 0.24), ending, group="projector")
    for number in range(12):
        store.add_bet(Bet(f"Pupil {number}", "random", 0.24))
    steps = {
        1: ("loop", "1", ".live .small"),
        2: ("Circle", "1", ".st-key-longest .main-svg"),
        3: ("layers", "falls", ".st-key-learn_counts .main-svg"),
        4: ("selection", "few", ".st-key-learn_scores .main-svg"),
        5: ("bet", "Random", ".st-key-bet .main-svg"),
    }
    for step, (question, answer, last) in steps.items():
        page = opened(contexts, address, f"step={step}&large=true&bet_rho=0.24")
        radio = page.locator(f".st-key-guess_{question}").get_by_role("radio")
        radio.first.wait_for()
        assert fits(page), f"step {step} scrolls before its answer"
        radio.and_(page.get_by_role("radio", name=answer, exact=True)).click()
        page.get_by_test_id("stMetricValue").wait_for()
        page.locator(last).first.wait_for()
        if step == 4:
            page.locator(".st-key-guess_trust").get_by_role("radio").last.click()
            page.get_by_text("puts it to the test").wait_for()
        assert fits(page), f"step {step} scrolls after its answer"
        if step == 5:
            page.get_by_role("tab", name="Bets by name").click()
            page.get_by_role("button", name="Forget all bets").wait_for()
            assert fits(page), "the table of bets scrolls the page"
        page.close()
