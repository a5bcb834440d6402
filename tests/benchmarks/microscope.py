"""The live microscope: frames a second while ε is dragged, what is sent, and opening another layer.

Frames are those of a saved page, in which ε moves back and forth with every frame that the browser
offers (60 a second at most).
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page

from analysis.options import AnalysisOptions
from analysis.topology.pipeline import analyze_named
from analysis.topology.store import fingerprint
from app.cache import drawn_images
from app.cache.live import live_cloud
from app.charts.live import live_page
from tests.benchmarks.process import run_python
from tests.benchmarks.table import show_table, verdict
from tests.serving import DESKTOP, PATIENCE, chromium, serve

LAYER = "layer2.0.conv1"
FRAMES = {40: 50.0, 160: 20.0}  # at least, for so many images
PAYLOAD_BYTES = 150_000  # at 40 images
OPENED_SECONDS = 0.3
SECONDS = 3.0  # of dragging
OTHERS = ("conv1", "layer1.1.conv2", "layer2.2.bn1", "layer3.1.conv1", "fc")
SCRUB = """(seconds) => new Promise((done) => {
    const live = document.querySelector('.live'), slider = live.querySelector('[type=range]');
    const first = Number(live.dataset.frames), start = performance.now();
    const step = (now) => {
      const passed = (now - start) / 1000;
      if (passed > seconds) return done((Number(live.dataset.frames) - first) / passed);
      slider.value = slider.max * (0.5 - 0.5 * Math.cos(2 * Math.PI * passed / seconds));
      slider.oninput();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""
SHOWS = """(layer) => [...document.querySelectorAll('*')].some((host) =>
    host.shadowRoot?.querySelector('.live')?.microscope.cloud?.id.includes(` ${layer} `))"""


@dataclass(frozen=True)
class Frames:
    images: int
    bytes: int  # of one layer with its images and the module
    first: float  # frames a second when ε first moves through its range
    again: float  # and once it has


@dataclass(frozen=True)
class Microscope:
    frames: list[Frames]
    opened: list[float]  # seconds from choosing another layer until it is shown


def measure() -> Microscope:
    with tempfile.TemporaryDirectory() as home, chromium() as browser:
        os.environ["BETTISCOPE_HOME"] = home
        frames = [_scrub(browser, Path(home), images) for images in FRAMES]
        run_python("-m", "analysis", "analyze", environment={"BETTISCOPE_HOME": home})
        with serve(home) as server:
            return Microscope(frames, _open(browser.new_page(viewport=DESKTOP), server.url))


def show(result: Microscope) -> None:
    rows = []
    for each in result.frames:
        least, worst = FRAMES[each.images], min(each.first, each.again)
        frames = f"{each.first:.0f}, then {each.again:.0f}"
        what = f"frames a second, {each.images} images"
        rows.append([what, frames, f"≥ {least:g}", verdict(worst >= least)])
        target = f"≤ {PAYLOAD_BYTES / 1000:g}" if each.images == min(FRAMES) else ""
        met = verdict(each.bytes <= PAYLOAD_BYTES) if target else ""
        rows.append([f"kB a layer, {each.images} images", f"{each.bytes / 1000:.0f}", target, met])
    typical = median(result.opened)
    met = verdict(typical <= OPENED_SECONDS)
    rows.append(["seconds to open a layer", f"{typical:.2f}", f"≤ {OPENED_SECONDS:g}", met])
    show_table(["the live microscope", "", "target", ""], rows)


def _scrub(browser: Browser, folder: Path, images: int) -> Frames:
    options = AnalysisOptions(samples=images, pooling="pooled")
    report = analyze_named(options)
    drawn = drawn_images(options, fingerprint(options))
    data = live_cloud(f"{images}", LAYER, 0, 3, 0.0, "light", drawn, report)
    text = live_page(data, LAYER)
    path = folder / f"{images}.html"
    path.write_text(text, encoding="utf-8")
    page = browser.new_page(viewport=DESKTOP)
    page.goto(path.as_uri())
    page.locator(".live[data-frames]").wait_for()
    first, again = (float(page.evaluate(SCRUB, SECONDS)) for _ in range(2))
    page.close()
    return Frames(images, len(text.encode()), first, again)


def _open(page: Page, url: str) -> list[float]:
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(url)
    page.get_by_role("tab", name="Live").click()
    page.locator(".live[data-frames]").wait_for()
    page.get_by_text("predicting …").wait_for(state="detached")
    seconds = []
    for layer in OTHERS:
        box = page.locator(".st-key-layer input")
        box.click()
        page.keyboard.type(layer)
        page.locator("[data-test-script-state=notRunning]").wait_for()
        start = time.perf_counter()
        page.keyboard.press("Enter")
        page.wait_for_function(SHOWS, arg=layer, polling="raf")
        seconds.append(time.perf_counter() - start)
    return seconds
