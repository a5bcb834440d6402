"""How long the page's default plan takes, with the frozen part running once and in every epoch.

Three strategies on pocket-resnet20 and the digits, from the click on Start until all have their
test accuracy: a real server, its queue and its workers. Both ways are measured in turns.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.click import POLL, computed, wait_until_idle
from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_table, verdict
from tests.serving import DESKTOP, PATIENCE, chromium, serve

TARGET = 0.5  # of the plan in which the frozen part runs in every epoch
RUNS = 3
# A tile shows seconds once its run is done; until then it shows the epoch.
ALL_DONE = """runs => {
    const tiles = document.querySelectorAll('.st-key-live_tiles [data-testid=stMetricDelta]');
    const done = Array.from(tiles).filter(tile => / s( ·|$)/.test(tile.innerText.trim()));
    return done.length === runs;
}"""


@dataclass(frozen=True)
class PlanResult:
    """One number per repeat: with the frozen part in every epoch, and once."""

    seconds: tuple[list[float], list[float]]  # from the click
    computed: tuple[list[float], list[float]]  # core seconds of server and workers


def measure(repeats: int) -> PlanResult:
    """Start the server anew for each number, in a folder of its own."""
    turns = [(_run_plan("?reuse_frozen=false"), _run_plan("")) for _ in range(repeats)]
    plain, once = zip(*turns, strict=True)
    seconds, cores = ([[way[i] for way in ways] for ways in (plain, once)] for i in (0, 1))
    return PlanResult((seconds[0], seconds[1]), (cores[0], cores[1]))


def show(result: PlanResult) -> None:
    rows = []
    for what, (plain, once) in (
        ("from the click until all are done", result.seconds),
        ("computed by server and workers", result.computed),
    ):
        ratio = median(once) / median(plain)
        met = (
            [f"≤ {TARGET:g}", verdict(ratio <= TARGET)] if plain is result.seconds[0] else [""] * 2
        )
        rows.append([what, _numbers(plain), _numbers(once), f"{ratio:.2f}", *met])
    show_table(["the default plan, s", "every epoch", "once", "ratio", "target", ""], rows)


def _numbers(seconds: list[float]) -> str:
    return ", ".join(f"{number:.1f}" for number in seconds)


def _run_plan(query: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as home:
        run_python("-m", "analysis", "analyze", environment={"BETTISCOPE_HOME": home})
        with serve(home) as server, chromium() as browser:
            page = browser.new_page(viewport=DESKTOP)
            page.set_default_timeout(1000 * PATIENCE)
            page.goto(f"{server.url}/finetune{query}")
            start = page.get_by_role("button", name=f"Start {RUNS} runs")
            start.wait_for()
            wait_until_idle(server)
            before, clicked = computed(server), time.perf_counter()
            start.click()
            page.wait_for_function(ALL_DONE, arg=RUNS, polling=POLL)
            return time.perf_counter() - clicked, computed(server) - before
