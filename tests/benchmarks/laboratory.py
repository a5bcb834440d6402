"""How long the page Compare takes for a network of 107 layers: to be drawn, and after a slider.

The report is synthetic and stands in the folder of analyses as that of ResNet50, before the clock
starts. On the server, the script's own time counts; in the browser, the time from the click or
the key until the ranks are drawn anew.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlencode

from tests.benchmarks.click import wait_until_idle
from tests.benchmarks.drawn import wait_until_drawn
from tests.benchmarks.process import run_module
from tests.benchmarks.table import show_table, verdict
from tests.serving import DESKTOP, PATIENCE, chromium, serve

VIEW = {"model": "resnet50", "weights": "random", "dataset": "digits", "samples": "40", "seed": "0"}
LAYERS = 107
DRAWN_SECONDS, SERVER_MS, BROWSER_MS = 1.0, 150.0, 300.0
CHANGES = 12
VALUES = (-1.5, -0.75, 0.25, 1.25, 0.75, -0.25)
# Whether the ranks that Plotly has drawn are others than before. Streamlit keeps hidden copies of
# its charts.
WATCH = """() => {
    const charts = [...document.querySelectorAll('.st-key-ranks .js-plotly-plot')];
    const chart = charts.find(chart => chart.offsetParent !== null);
    if (!chart?._fullData) return false;  // it is being replaced
    const held = JSON.stringify(chart._fullData.map(trace => Array.from(trace.y || [])));
    if (window.held === undefined) window.held = held;
    return held !== window.held;
}"""


@dataclass(frozen=True)
class LaboratoryResult:
    first_ms: list[float]  # of the script that draws the section for the first time
    slider_ms: list[float]  # of the script after a slider moved to a new value
    drawn_seconds: list[float]  # from the click on Compare to all charts
    redrawn_ms: list[float]  # from the key on a slider to the redrawn ranks


def measure(repeats: int) -> LaboratoryResult:
    """Time the script in fresh processes, and the page in a browser."""
    first, slider, drawn, redrawn = [], [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as home:
            environment = {"BETTISCOPE_HOME": home}
            times = run_module("tests.benchmarks.laboratory", environment=environment)
            first.append(times["first"])
            slider += times["slider"]
            seconds, milliseconds = _browse(home)
            drawn.append(seconds)
            redrawn += milliseconds
    return LaboratoryResult(first, slider, drawn, redrawn)


def show(result: LaboratoryResult) -> None:
    rows = []
    for what, values, unit, target in (
        ("script, first drawing", result.first_ms, "ms", 1000 * DRAWN_SECONDS),
        ("script, after a slider", result.slider_ms, "ms", SERVER_MS),
        ("browser, click on Compare to drawn", result.drawn_seconds, "s", DRAWN_SECONDS),
        ("browser, slider to redrawn ranks", result.redrawn_ms, "ms", BROWSER_MS),
    ):
        typical, spread = median(values), f"{min(values):.3g}–{max(values):.3g}"
        met = verdict(typical <= target)
        rows.append([what, f"{typical:.3g} {unit}", spread, f"≤ {target:g} {unit}", met])
    show_table([f"Compare, {LAYERS} layers", "median", "range", "target", ""], rows)


def save_report() -> None:
    """Put the synthetic report where the page looks for that of ResNet50."""
    from analysis.options import AnalysisOptions
    from analysis.topology.store import fingerprint, save_analysis
    from tests.factories import deep_report

    numbers = {name: int(VIEW[name]) for name in ("samples", "seed")}
    options = AnalysisOptions(**{**VIEW, **numbers})  # type: ignore[arg-type]
    save_analysis(fingerprint(options), deep_report(LAYERS))


def time_script() -> dict[str, object]:
    """Draw Compare in Streamlit's test driver, whose own work is counted too."""
    from streamlit.testing.v1 import AppTest

    from tests.benchmarks.process import ROOT

    page = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=PATIENCE)
    for key, value in VIEW.items():
        page.query_params[key] = value
    _run(page)  # Explore, as a visitor comes from there
    page.switch_page("views/compare.py")
    first = _run(page)
    if len(page.get("plotly_chart")) < 4:
        raise SystemExit("the page does not show its charts")
    slider = []
    for number in range(CHANGES):
        name = ("activation", "parameters", "flops", "memory")[number % 4]
        page.slider(key=f"power_{name}").set_value(VALUES[number % len(VALUES)])
        slider.append(_run(page))
    return {"first": first, "slider": slider}


def _run(page) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    page.run()
    if page.exception:
        raise SystemExit(f"the page failed: {page.exception[0].message}")
    return 1000 * (time.perf_counter() - start)


def _browse(home: str) -> tuple[float, list[float]]:
    with serve(home) as server, chromium() as browser:
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(f"{server.url}/?{urlencode(VIEW)}")
        page.locator(".st-key-map .js-plotly-plot .main-svg:visible").first.wait_for()
        _wait_until_done(page)
        wait_until_idle(server)  # a worker starts meanwhile, of which a visitor sees nothing
        start = time.perf_counter()
        page.get_by_role("link", name="Compare", exact=True).click()
        for key in ("ranks", "places", "orders", "choices"):
            wait_until_drawn(page, f".st-key-{key} .js-plotly-plot .main-svg")
        drawn = time.perf_counter() - start
        _wait_until_done(page)
        handle = page.locator(".st-key-power_parameters input[type=range]")
        times = []
        for number in range(CHANGES):
            handle.focus()
            page.evaluate("window.held = undefined")
            page.wait_for_function(f"({WATCH})() || window.held !== undefined")
            begun = time.perf_counter()
            page.keyboard.press("ArrowLeft" if number % 4 < 2 else "ArrowRight")
            page.wait_for_function(WATCH, polling=10)
            times.append(1000 * (time.perf_counter() - begun))
            _wait_until_done(page)
        return drawn, times


def _wait_until_done(page) -> None:  # type: ignore[no-untyped-def]
    """Wait until no script runs, so that what follows is not delayed by what came before."""
    page.wait_for_function(
        "document.querySelector('[data-test-script-state]')?.dataset.testScriptState"
        " === 'notRunning'"
    )


if __name__ == "__main__":
    os.environ.setdefault("BETTISCOPE_HOME", tempfile.gettempdir())
    save_report()
    print(json.dumps(time_script()))
