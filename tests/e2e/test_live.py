"""The live microscope in a real browser: its numbers, a drag, the keyboard, and a saved page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from ripser import ripser
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN

from analysis.options import AnalysisOptions
from analysis.results import Float32
from analysis.topology.cluster_curve import cluster_curve
from analysis.topology.representatives import representative_cycles
from analysis.topology.store import fingerprint, load_analysis
from app.charts.live import MODULE, live_data
from tests.e2e.pages import choose
from tests.factories import blobs, circle, distances_of

pytestmark = pytest.mark.e2e
LIVE = ".live"
NUMBERS = ("pieces", "loops", "clusters")
COUNT_MESSAGES = """() => {
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (...args) {
      window.messages = (window.messages ?? 0) + 1;
      return send.apply(this, args);
    };
}"""
IMPORT = """const module = await import(
    URL.createObjectURL(new Blob([source], {type: 'text/javascript'})));"""
READ = f"""async ([source, data, scales]) => {{ {IMPORT}
    const cloud = module.read(data);
    return scales.map((scale) => {{
      const now = module.at(cloud, scale);
      const labels = module.dbscan(cloud, scale);
      return [now.pieces, now.loops, now.edges, now.clusters,
        Math.max(...labels) + 1, labels.filter((label) => label < 0).length];
    }});
}}"""


def data_of(distances: Float32) -> dict[str, Any]:
    components, loops = ripser(distances, distance_matrix=True, maxdim=1)["dgms"]
    curve = cluster_curve(distances, min_samples=3)
    return live_data(
        name="cloud", distances=distances, points=np.zeros((len(distances), 2)), loops=loops,
        components=components, cycles=[None] * len(loops), fills=[True] * len(loops),
        radii=curve.eps, clusters=curve.counts.tolist(), min_samples=3,
    )  # fmt: skip


def expected(distances: Float32, scale: float, least: float) -> list[int]:
    """The same numbers by Ripser, SciPy and scikit-learn, without loops no longer than `least`."""
    births, deaths = ripser(distances, distance_matrix=True, maxdim=1)["dgms"][1].T
    near = distances <= scale
    found = DBSCAN(eps=max(scale, 1e-30), min_samples=3, metric="precomputed").fit(distances)
    clusters = int(found.labels_.max()) + 1
    return [
        connected_components(near)[0],
        int(((births <= scale) & (scale < deaths) & (deaths - births > least)).sum()),
        int(np.triu(near, 1).sum()),
        clusters,
        clusters,
        int((found.labels_ < 0).sum()),
    ]


def type_scale(page: Page, value: float) -> None:
    scale = page.locator(LIVE).get_by_role("spinbutton", name="Scale ε")
    scale.fill(str(value))
    scale.press("Enter")


def test_the_live_microscope(
    visit: Callable[..., Page],
    server_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = visit()
    clouds = [blobs(9, 3), circle(20), np.random.default_rng(1).normal(size=(40, 6)),
              np.zeros((5, 2)), np.arange(6.0)[:, None]]  # fmt: skip
    for points in clouds:
        distances = distances_of(points)
        scales = [0.0, *np.unique(distances)[1::17].tolist(), float(distances.max()) * 1.1]
        for least in (0.0, 0.2):
            data = data_of(distances) | {"least": least}
            numbers = page.evaluate(READ, [MODULE.read_text("utf-8"), data, scales])
            assert numbers == [expected(distances, scale, least) for scale in scales]

    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.get_by_role("tab", name="Live").click()
    live = page.locator(LIVE)
    expect(live.get_by_role("combobox", name="Loop")).to_contain_text("Loop 1: ")
    page.locator("[data-test-script-state=notRunning]").wait_for()
    monkeypatch.setenv("BETTISCOPE_HOME", str(server_home))
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    layer = report.layer(page.locator(".st-key-layer input").input_value())
    births, deaths = layer.diagrams[0].T
    members = report.clouds[0]
    distances = layer.distances[np.ix_(members, members)]
    scale = live.get_by_role("spinbutton", name="Scale ε")
    for value in (5.25, 6.125):
        type_scale(page, value)
        alive = int(((births <= value) & (value < deaths)).sum())
        expect(live.locator("[data-n=loops]")).to_have_text(str(alive))
        expect(live.get_by_role("img", name="Betti curve")).to_have_attribute(
            "aria-label", re.compile(f"{alive} loops? at {value}")
        )

    # A drag draws frames without the server; so do the keys.
    expect(page.get_by_text("predicting …")).to_have_count(0)
    page.evaluate(COUNT_MESSAGES)
    requests = len(sent)
    frames = int(live.get_attribute("data-frames") or 0)
    curve = live.locator("[data-v=betti]")
    curve.scroll_into_view_if_needed()
    box = curve.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 40, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, middle, steps=12)
    page.mouse.up()
    dragged = float(scale.input_value())
    assert dragged > float(births.max())
    assert int(live.get_attribute("data-frames") or 0) >= frames + 5
    live.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    expect(scale).not_to_have_value(f"{dragged:g}")
    events = np.unique(np.append(layer.diagrams[0], layer.components[0][:-1, 1]))
    before = float(scale.input_value())
    page.keyboard.press("Shift+ArrowLeft")
    event = float(events[events < before].max())
    expect(scale).to_have_value(f"{float(f'{event:.4g}'):g}")
    page.keyboard.press(" ")
    expect(live.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press(" ")
    expect(live.get_by_role("button", name="Play")).to_be_visible()
    assert page.evaluate("window.messages ?? 0") == 0

    # Another loop moves ε to where it lives; its images are shown in order.
    loops = live.get_by_role("combobox", name="Loop")
    loops.select_option(index=1)
    birth, death = sorted(zip(births, deaths, strict=True), key=lambda bar: bar[0] - bar[1])[1]
    assert birth - 1e-3 <= float(scale.input_value()) < death
    (cycle,) = representative_cycles(distances, np.array([[birth, death]], np.float32))
    expect(live.locator(".strip i")).to_have_count(len(cycle.images))
    type_scale(page, 5.25)
    x, y = live.evaluate("live => [...live.microscope.places.slice(0, 2)]")
    live.locator("[data-v=map]").click(position={"x": x, "y": y})
    labels = DBSCAN(eps=5.25, min_samples=3, metric="precomputed").fit(distances).labels_
    expect(live.locator(".strip i")).to_have_count(int((labels == labels[0]).sum()))
    expect(live.locator(".chosen p")).to_contain_text(re.compile(r"at ε = 5\.25, of .* % are “\d”"))
    live.get_by_label("Show").select_option("clusters")
    assert (page.evaluate("window.messages ?? 0"), len(sent)) == (0, requests)

    # The link opens the tab at its ε.
    expect(page).to_have_url(re.compile(r"[?&]loops=Live&(.*&)?scale=5\.25"))
    received: list[int] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame))),
    )
    page.reload()
    expect(scale).to_have_value("5.25")
    page.locator("[data-test-script-state=notRunning]").wait_for()

    # Another layer is sent alone, without the profile of all layers.
    expect(page.get_by_text("predicting …")).to_have_count(0)
    received.clear()
    choose(page, "layer", "layer2.0.conv1")
    page.wait_for_function(
        "live => live.microscope.cloud.id.includes(' layer2.0.conv1 ')",
        arg=live.element_handle(),
    )
    page.locator("[data-test-script-state=notRunning]").wait_for()
    assert 50_000 < sum(received) < 100_000
    type_scale(page, 5.25)

    # The same on a page of its own, without a server, on a phone.
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as a page").click()
    download.value.save_as(tmp_path / "live.html")
    numbers = [live.locator(f"[data-n={name}]").inner_text() for name in NUMBERS]
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((tmp_path / "live.html").as_uri())
    type_scale(page, 5.25)
    for name, value in zip(NUMBERS, numbers, strict=True):
        expect(live.locator(f"[data-n={name}]")).to_have_text(value)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
