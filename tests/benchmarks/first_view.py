"""How long until the dashboard is served, and until a browser has drawn the default view in full.

`make app` analyses the default model when it installs, so the first visit finds it; "nothing
saved" is a first visit without that analysis, opened as soon as the server answers.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.drawn import wait_until_drawn
from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_table, verdict
from tests.serving import DESKTOP, PATIENCE, chromium, serve

TARGET_SECONDS = 5.0
DRAWN = (
    "[data-testid=stDataFrame] canvas",
    ".st-key-profile_wide .js-plotly-plot .main-svg",
    ".st-key-diagram .js-plotly-plot .main-svg",
    ".st-key-map .js-plotly-plot .main-svg",
)


@dataclass(frozen=True)
class FirstView:
    served: float  # seconds from the start of the server to its first answer; median
    drawn: float  # seconds from opening the address to the last figure, analysis saved; median
    drawn_unsaved: float  # the same with nothing saved; median


def measure(repeats: int) -> FirstView:
    """Start the server anew for each number, in a folder of its own."""
    saved = [_visit(saved=True) for _ in range(repeats)]
    unsaved = [_visit(saved=False) for _ in range(repeats)]
    return FirstView(
        median(served for served, _ in saved + unsaved),
        median(drawn for _, drawn in saved),
        median(drawn for _, drawn in unsaved),
    )


def show(result: FirstView) -> None:
    def row(what: str, seconds: float, *, target: bool = True) -> list[str]:
        met = verdict(seconds <= TARGET_SECONDS) if target else ""
        return [what, f"{seconds:.1f}", f"≤ {TARGET_SECONDS:g}" if target else "", met]

    rows = [
        row("served, from the start", result.served),
        row("drawn in full, from opening it", result.drawn),
        row("the same with nothing saved", result.drawn_unsaved, target=False),
    ]
    show_table(["first visit", "median s", "target", ""], rows)


def _visit(*, saved: bool) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as home:
        if saved:
            run_python("-m", "analysis", "analyze", environment={"BETTISCOPE_HOME": home})
        with serve(home) as server:
            return server.started, _draw(server.url)


def _draw(url: str) -> float:
    with chromium() as browser:
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(1000 * PATIENCE)
        start = time.perf_counter()
        page.goto(url)
        for selector in DRAWN:
            wait_until_drawn(page, selector)
        return time.perf_counter() - start
