"""How long from the click on Start to the first point on the plot, and to the end of the run.

The run is the default one: adabet on pocket-resnet20 and the digits, 500 images, 8 epochs, ρ 0.1.
Server, browser and page are new for each number. An idle worker is ready, as it is for a user who
has looked at the page for a few seconds.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from statistics import median

import psutil

from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_table, verdict
from tests.serving import DESKTOP, PATIENCE, Server, chromium, serve

FIRST_POINT_SECONDS, DONE_SECONDS = 3.0, 20.0
LOOK = 0.5  # seconds between two readings of the server's and its workers' computing time
IDLE = 0.1  # core seconds between two readings; below it they are idle
QUIET_LOOKS = 4
POLL = 50  # milliseconds between two checks in the browser
# Plotly's input may be packed; `_fullData` is what it draws. A trace without points is in the
# legend too.
HAS_POINT = """() => {
    const charts = document.querySelectorAll('.st-key-chart_accuracy .js-plotly-plot');
    const traces = Array.from(charts).flatMap(chart => chart._fullData || []);
    return traces.some(trace => Array.from(trace.y || []).some(Number.isFinite));
}"""
# A tile shows seconds once the run is done; until then it shows the epoch.
IS_DONE = """() => {
    const tile = document.querySelector('.st-key-live_tiles [data-testid=stMetricDelta]');
    return Boolean(tile && / s( ·|$)/.test(tile.innerText.trim()));
}"""


@dataclass(frozen=True)
class ClickResult:
    first_point: list[float]  # seconds from the click, one per repeat
    done: list[float]  # seconds from the click, one per repeat


def measure(repeats: int) -> ClickResult:
    """Start the server anew for each pair of numbers, in a folder of its own."""
    pairs = [_click_once() for _ in range(repeats)]
    return ClickResult([first for first, _ in pairs], [done for _, done in pairs])


def show(result: ClickResult) -> None:
    rows = []
    for what, seconds, target in (
        ("first point on the plot", result.first_point, FIRST_POINT_SECONDS),
        ("run done, test accuracy shown", result.done, DONE_SECONDS),
    ):
        typical = median(seconds)
        spread = f"{min(seconds):.1f}–{max(seconds):.1f}"
        met = verdict(typical <= target)
        rows.append([what, f"{typical:.1f}", spread, f"≤ {target:g}", met])
    show_table(["from the click on Start", "median s", "range", "target", ""], rows)


def _click_once() -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as home:
        run_python("-m", "analysis", "analyze", environment={"BETTISCOPE_HOME": home})
        with serve(home) as server, chromium() as browser:
            page = browser.new_page(viewport=DESKTOP)
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(f"{server.url}/finetune?strategies=adabet")
            start = page.get_by_role("button", name="Start 1 run")
            start.wait_for()
            wait_until_idle(server)
            clicked = time.perf_counter()
            start.click()
            seconds = []
            for sign in (HAS_POINT, IS_DONE):
                page.wait_for_function(sign, polling=POLL)
                seconds.append(time.perf_counter() - clicked)
            return seconds[0], seconds[1]


def wait_until_idle(server: Server) -> None:
    """Wait until the predictions are ready and an idle worker has started."""
    end = time.monotonic() + PATIENCE
    quiet, before = 0, computed(server)
    while quiet < QUIET_LOOKS:
        if time.monotonic() > end:
            raise SystemExit("the server and its workers stay busy")
        time.sleep(LOOK)
        now = computed(server)
        quiet = quiet + 1 if abs(now - before) < IDLE else 0
        before = now


def computed(server: Server) -> float:
    """Core seconds that the server and its workers have taken so far, those that ended too."""
    process = psutil.Process(server.process.pid)
    times = [part.cpu_times() for part in (process, *process.children(recursive=True))]
    return float(sum(t.user + t.system + t.children_user + t.children_system for t in times))
