"""How long the Explore page's script runs after ρ or the normalisation moved.

The report has ResNet50's 107 layers and is analysed once, into a folder of its own, before the
clock starts. `python -m tests.benchmarks.rerun` opens the page with `BETTISCOPE_HOME`.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.benchmarks.process import ROOT, run_module, run_python
from tests.benchmarks.table import show_table, verdict

VIEW = {"model": "resnet50", "weights": "random", "dataset": "digits", "samples": "40", "seed": "0"}
LAYERS = 107
TARGET_MS = 150.0
CHANGES = 20
PATIENCE = 120  # seconds until the page has the report
RHOS = (0.05, 0.2, 0.3, 0.1)
WIDGETS = ("slider", "select_slider", "number_input", "selectbox", "radio", "button_group")


@dataclass(frozen=True)
class RerunResult:
    milliseconds: list[float]  # of each rerun
    changed: list[str]  # the widget moved before it

    def median_of(self, widget: str | None = None) -> float:
        pairs = zip(self.milliseconds, self.changed, strict=True)
        return median(ms for ms, changed in pairs if widget in (None, changed))


def measure() -> RerunResult:
    """Analyse ResNet50 once, then time the reruns in a fresh process."""
    with tempfile.TemporaryDirectory() as home:
        environment = {"BETTISCOPE_HOME": home}
        options = [part for key, value in VIEW.items() for part in (f"--{key}", value)]
        run_python("-m", "analysis", "analyze", *options, environment=environment)
        return RerunResult(**run_module("tests.benchmarks.rerun", environment=environment))


def show(result: RerunResult) -> None:
    rows = [
        ["ρ", f"{result.median_of('rho'):.0f}", "", ""],
        ["normalisation", f"{result.median_of('normalization'):.0f}", "", ""],
        [
            "both",
            f"{result.median_of():.0f}",
            f"≤ {TARGET_MS:g}",
            verdict(result.median_of() <= TARGET_MS),
        ],
    ]
    show_table([f"rerun of Explore, {LAYERS} layers", "median ms", "target", ""], rows)


def time_reruns() -> RerunResult:
    """Move one widget at a time in Streamlit's test driver, whose own work is counted too."""
    from streamlit.testing.v1 import AppTest

    from analysis.selection.scores import NORMALIZATIONS

    page = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=PATIENCE)
    for key, value in VIEW.items():
        page.query_params[key] = value
    _open(page)
    values: dict[str, itertools.cycle[Any]] = {
        "rho": itertools.cycle(RHOS),
        "normalization": itertools.cycle(sorted(NORMALIZATIONS)),
    }
    milliseconds, changed = [], []
    for widget in itertools.islice(itertools.cycle(values), CHANGES):
        _widget(page, widget).set_value(next(values[widget]))
        start = time.perf_counter()
        _run(page)
        milliseconds.append(1000 * (time.perf_counter() - start))
        changed.append(widget)
    return RerunResult(milliseconds, changed)


def _open(page: Any) -> None:
    """Run the page until its table has one row per layer, so that the times are of a full page."""
    deadline = time.monotonic() + PATIENCE
    while True:
        _run(page)
        if any(len(table.value) == LAYERS for table in page.dataframe):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"the page shows no table of {LAYERS} layers")
        time.sleep(0.5)


def _run(page: Any) -> None:
    page.run()
    if page.exception:
        raise SystemExit(f"the page failed: {page.exception[0].message}")


def _widget(page: Any, key: str) -> Any:
    widgets = [widget for kind in WIDGETS for widget in page.get(kind) if widget.key == key]
    if not widgets:
        raise SystemExit(f"the page has no widget with the key {key!r}")
    return widgets[0]


if __name__ == "__main__":
    print(json.dumps(time_reruns().__dict__))
