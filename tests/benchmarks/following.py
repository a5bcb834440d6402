"""What following the topology of the default fine-tune costs, and how fast its time-lapse opens.

`python -m tests.benchmarks.following` trains in turns with and without it, in one process.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from statistics import median

from playwright.sync_api import Page

from analysis.options import RunOptions
from analysis.runs.queue import RunQueue
from analysis.training.fine_tune import Training
from tests.benchmarks.click import wait_until_idle
from tests.benchmarks.drawn import wait_until_drawn
from tests.benchmarks.process import run_module
from tests.benchmarks.table import show_table, verdict
from tests.serving import DESKTOP, PATIENCE, Server, chromium, serve

PAIRS = 7
SHARE = 0.10  # of the training's time, at most
OPENED_SECONDS = 1.0
OPENINGS = 5
SURFACE = ".st-key-chart_motion_surface_0 .heatmaplayer image"  # the last chart of the time-lapse


@dataclass(frozen=True)
class Following:
    followed: list[float]  # seconds of a fine-tune, one per pair
    plain: list[float]  # the same without following
    opened: list[float]  # seconds from a click on a run until its time-lapse is drawn

    @property
    def costs(self) -> list[float]:
        """Of each pair, the share of its time that following adds."""
        return [a / b - 1 for a, b in zip(self.followed, self.plain, strict=True)]


def measure() -> Following:
    with tempfile.TemporaryDirectory() as home:
        followed, plain = run_module(
            "tests.benchmarks.following", environment={"BETTISCOPE_HOME": home}
        )
        os.environ["BETTISCOPE_HOME"] = home
        _make_run()
        with serve(home) as server, chromium() as browser:
            opened = _open(browser.new_page(viewport=DESKTOP), server)
    return Following(followed, plain, opened)


def show(result: Following) -> None:
    cost, opened = median(result.costs), median(result.opened)
    spread = f"{min(result.costs):.1%} to {max(result.costs):.1%}"
    rows = [
        ["following costs", f"{cost:.1%}", spread, f"≤ {SHARE:.0%}", verdict(cost <= SHARE)],
        ["the time-lapse opens, s", f"{opened:.2f}",
         f"{min(result.opened):.2f} to {max(result.opened):.2f}",
         f"≤ {OPENED_SECONDS:g}", verdict(opened <= OPENED_SECONDS)],
    ]  # fmt: skip
    show_table(["topology by epoch", "", "range", "target", ""], rows)
    print(f"The default fine-tune takes {median(result.plain):.1f} s without. {PAIRS} pairs.")


def _make_run() -> None:
    """Train and store one run as the page does."""
    queue = RunQueue()
    queue.start([RunOptions()])
    while any(run.active for run in queue.store.runs()):
        time.sleep(0.2)
    queue.close()


def _open(page: Page, server: Server) -> list[float]:
    page.set_default_timeout(1000 * PATIENCE)
    seconds = []
    for _ in range(OPENINGS):
        page.goto(f"{server.url}/runs")
        point = page.locator(".st-key-chart_runs_tradeoff_0 .scatterlayer .point")
        point.first.wait_for()
        wait_until_idle(server)
        point.first.hover(force=True)  # Plotly takes a click only where it has seen the pointer
        start = time.perf_counter()
        page.mouse.down()
        page.mouse.up()
        wait_until_drawn(page, SURFACE)
        seconds.append(time.perf_counter() - start)
    return seconds


def _seconds(options: RunOptions) -> float:
    start = time.perf_counter()
    for _ in Training(options):
        pass
    return time.perf_counter() - start


def main() -> None:
    followed = RunOptions()
    plain = replace(followed, recipe=replace(followed.recipe, follow_topology=False))
    pairs = [(_seconds(followed), _seconds(plain)) for _ in range(PAIRS + 1)]
    print(json.dumps(list(zip(*pairs[1:], strict=True))))  # the first one warms up


if __name__ == "__main__":
    main()
