"""Learn as a whole: how long somebody waits on the way to a finished bet, and reads.

Each step is opened by Next and its question is answered; the last one trains the four bets. Waiting
is from a click until what it asks for is drawn. Between two clicks the visitor reads for some
seconds, in which the noise of step 2 is drawn and a worker starts. The folder has the analysis that
`make app` makes. Reading counts the words of every step with its answer; what a visitor drags is
left out.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field

from playwright.sync_api import Page

from tests.benchmarks.drawn import IDLE, wait_until_drawn
from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_table, verdict
from tests.serving import PATIENCE, chromium, serve

WAITED_SECONDS, MINUTES = 15.0, 12.0
WORDS_A_MINUTE = 130  # of somebody new to it; adults read 200 and more of an easy text
DOING_SECONDS = 45  # of each step: to drag, think and answer
READ_MILLISECONDS = 8000  # before each click; a fifth of what a step takes to read
# Of each step: what it shows beside the question, the answer, and what appears with that.
STEPS = (
    ("loop", ".live canvas", "1", ".live .small"),
    ("Circle", ".live canvas", "1", ".st-key-longest .scatterlayer .trace"),
    ("layers", ".live canvas", "falls", ".st-key-learn_counts .main-svg"),
    ("selection", ".st-key-learn_draw", "few", ".st-key-learn_scores .main-svg"),
    ("bet", ".st-key-bet_rho", "Random", ".st-key-bet_train"),
)
TEXT = """() => [...document.querySelectorAll(
    '[data-testid=stMain] :is([data-testid=stMarkdown], [data-testid=stCaptionContainer],' +
    ' [data-testid=stMetric], [data-testid=stHeading], [data-testid=stWidgetLabel])')]
    .filter(part => part.offsetParent).map(part => part.innerText).join(' ')"""


@dataclass(frozen=True)
class Walk:
    waited: dict[str, float] = field(default_factory=dict)  # seconds, by what was waited for
    words: list[int] = field(default_factory=list)  # on each step with its answer

    @property
    def minutes(self) -> float:
        return sum(self.words) / WORDS_A_MINUTE + len(self.words) * DOING_SECONDS / 60


def measure() -> Walk:
    """Walk once, on a fresh server and in a fresh browser."""
    with tempfile.TemporaryDirectory() as home:
        run_python("-m", "analysis", "analyze", environment={"BETTISCOPE_HOME": home})
        with serve(home) as server, chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.set_default_timeout(1000 * PATIENCE)
            return _walk(page, server.url)


def show(result: Walk) -> None:
    waited, minutes = sum(result.waited.values()), result.minutes
    rows = [[what, f"{seconds:.1f}", "", ""] for what, seconds in result.waited.items()]
    met = verdict(waited <= WAITED_SECONDS)
    rows.append(["all of it", f"{waited:.1f}", f"≤ {WAITED_SECONDS:g}", met])
    show_table(["waited for, s", "", "target", ""], rows)
    print(
        f"\n{sum(result.words)} words at {WORDS_A_MINUTE} a minute, and {DOING_SECONDS} s of doing "
        f"a step: {minutes:.1f} minutes (≤ {MINUTES:g}: {verdict(minutes <= MINUTES)})"
    )


def _walk(page: Page, url: str) -> Walk:
    walk, start = Walk(), time.perf_counter()
    page.goto(f"{url}/learn")
    for number, (question, first, answer, last) in enumerate(STEPS, start=1):
        if number > 1:
            page.wait_for_timeout(READ_MILLISECONDS)
            start = time.perf_counter()
            page.get_by_role("button", name="Next").click()
        radios = page.locator(f".st-key-guess_{question}").get_by_role("radio")
        wait_until_drawn(page, f".st-key-guess_{question} button")
        wait_until_drawn(page, first)
        walk.waited[f"step {number}"] = time.perf_counter() - start
        page.wait_for_timeout(READ_MILLISECONDS)
        start = time.perf_counter()
        radios.and_(page.get_by_role("radio", name=answer, exact=True)).click()
        wait_until_drawn(page, last)
        page.locator(IDLE).wait_for()
        walk.waited[f"answer {number}"] = time.perf_counter() - start
        if number < len(STEPS):
            walk.words.append(len(page.evaluate(TEXT).split()))
    page.wait_for_timeout(READ_MILLISECONDS)
    start = time.perf_counter()
    page.get_by_role("button", name="Train all 4").click()
    wait_until_drawn(page, ".st-key-answer [data-testid=stMetricValue]")
    wait_until_drawn(page, ".st-key-bet .main-svg")
    walk.waited["the training"] = time.perf_counter() - start
    walk.words.append(len(page.evaluate(TEXT).split()))
    return walk
