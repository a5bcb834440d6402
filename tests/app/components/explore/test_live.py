"""The live microscope without a browser: which cloud it gets, and how much is sent."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ripser import ripser
from streamlit.testing.v1 import AppTest

import app.components.shared.live_microscope
from analysis.options import AnalysisOptions
from analysis.topology.pipeline import analyze_named
from analysis.topology.store import fingerprint, load_analysis
from app.cache.live import live_cloud
from app.components.explore import microscope, profile
from tests.app.pages import opened, texts

pytestmark = pytest.mark.usefixtures("home")
PAYLOAD = 150_000  # bytes of one layer with 40 images, the module included


def live_page(**query: str) -> AppTest:
    page = opened(**query)
    page.session_state["loops"] = "Live"
    return page.run()


def sent(page: AppTest) -> tuple[dict[str, Any], int]:
    """What the browser gets, and how many bytes that takes."""
    (component,) = page.get("bidi_component")
    return json.loads(component.proto.json), component.proto.ByteSize()


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_the_open_layer_is_sent_before_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    sent_parts = []
    for part in (profile.render_profile, microscope.render_microscope):

        def render(*args: Any, part: Callable[..., None] = part) -> None:
            sent_parts.append(part.__name__)
            part(*args)

        monkeypatch.setattr(sys.modules[part.__module__], part.__name__, render)
    assert not live_page(layer="conv1").exception
    assert sent_parts[-2:] == ["render_microscope", "render_profile"]


def test_it_shows_the_chosen_subset_of_the_open_layer() -> None:
    page = live_page(layer="conv1", subset="3")
    assert not page.exception
    assert page.query_params["subset"] == "3"
    data, size = sent(page)
    report = load_analysis(fingerprint(AnalysisOptions()))
    assert report is not None
    layer, members = report.layer("conv1"), report.clouds[2]
    within = layer.distances[np.ix_(members, members)]
    np.testing.assert_array_equal(floats(data["distances"]), within[np.triu_indices(40, 1)])
    np.testing.assert_array_equal(floats(data["loops"]).reshape(-1, 2), layer.diagrams[2])
    assert len(data["classes"]) == data["count"] == 40
    assert all(cycle for cycle in data["cycles"])
    assert size <= PAYLOAD
    assert [each.label for each in page.get("tab")].count("Live") == 1
    assert "Map of the images" not in [each.label for each in page.get("tab")]

    page.number_input(key="subset").set_value(0)
    page.session_state["loops"] = "Persistence diagram"
    page.run()
    assert not page.exception
    loops = ripser(layer.distances, distance_matrix=True)["dgms"][1]
    drawn = json.loads(page.get("plotly_chart")[4].proto.spec)["data"]
    dots = [each["x"] for each in drawn if each["mode"] == "markers"]
    np.testing.assert_allclose(np.sort(np.concatenate(dots)), np.sort(loops[:, 0]))
    assert f"drawn are all 160 images as one cloud: {len(loops)} loops" in texts(page)


def test_a_batch_has_its_own_cloud() -> None:
    options = AnalysisOptions(samples=24, pooling="per-batch", batch_size=12)
    report = analyze_named(options)
    data = live_cloud("batches", "fc", 1, 3, 0.0, "dark", None, report)
    within = report.layer("fc").distances[12:, 12:]
    np.testing.assert_array_equal(floats(data["distances"]), within[np.triu_indices(12, 1)])
    assert data["names"] == [f"image {n}" for n in range(12, 24)]
    assert not data["labelled"]


def test_all_images_are_one_cloud() -> None:
    report = analyze_named(AnalysisOptions(samples=24, batch_size=12, pooling="subsets", subsets=3))
    data = live_cloud("subsets", "fc", None, 3, 0.0, "dark", None, report)
    distances = report.layer("fc").distances
    loops = ripser(distances, distance_matrix=True)["dgms"][1]
    np.testing.assert_array_equal(floats(data["distances"]), distances[np.triu_indices(24, 1)])
    np.testing.assert_allclose(floats(data["loops"]).reshape(-1, 2), loops)
    assert data["names"] == [f"image {n}" for n in range(24)]


def test_more_images_than_can_be_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.components.shared.live_microscope, "MOST_IMAGES", 39)
    page = live_page()
    assert not page.get("bidi_component")
    assert "up to 39 images at a time, and here are 40" in texts(page)
