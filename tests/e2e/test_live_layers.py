"""Several layers under one scale, and the walk through all, on saved pages in a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from ripser import ripser
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist
from sklearn.cluster import DBSCAN

from app.cache.live import cloud_data
from app.charts.live import image_data, live_page, look_of, together_data, tour_data
from app.theme import PALETTES
from tests.factories import circle, distances_of

pytestmark = pytest.mark.e2e
LAYERS = {
    "ring": circle(20),
    "larger": 30 * np.random.default_rng(3).normal(size=(20, 5)),
    "ring <b>twice</b>": 7 * np.concatenate([circle(10), circle(10) + 9]),
}
CLASSES = ["cat", "dog", "dog", "cow"] * 5
IMAGES = (
    image_data([f"image {n}" for n in range(20)], CLASSES, [np.zeros((9, 9, 3), np.uint8)] * 20)
    | {"look": look_of(PALETTES["light"]), "group": "all"}
)  # fmt: skip
LIT = "root => [...root.querySelectorAll('.panel')].map(p => p.microscope.cluster?.images)"
DRAWN = "root => [...root.querySelectorAll('.panel')].map(p => p.microscope.scale)"


DOGS = [image for image, name in enumerate(CLASSES) if name == "dog"]
MAPS = [points[:, :2] for points in LAYERS.values()]
TOUR = tour_data([*LAYERS], MAPS) | IMAGES | {"id": "walk", "open": "larger"}


def together() -> dict[str, Any]:
    layers = []
    for name, points in LAYERS.items():
        distances = distances_of(points)
        diagrams = ripser(distances, distance_matrix=True)["dgms"]
        cloud = cloud_data(name, distances, points[:, :2], diagrams, min_samples=3)
        layers.append(cloud | IMAGES | {"title": name, "diameter": float(distances.max())})
    return together_data(layers)


def expected(points: np.ndarray, scale: float) -> tuple[int, int]:
    """Pieces and loops at a scale, by SciPy and Ripser."""
    distances = distances_of(points)
    births, deaths = ripser(distances, distance_matrix=True)["dgms"][1].T
    pieces = connected_components(distances <= scale)[0]
    return int(pieces), int(((births <= scale) & (scale < deaths)).sum())


def check_numbers(page: Page) -> None:
    scales = page.locator(".live:has(.panels)").evaluate(DRAWN)
    for k, (points, scale) in enumerate(zip(LAYERS.values(), scales, strict=True)):
        pieces, loops = expected(points, scale)
        panel = page.locator(".panel").nth(k)
        expect(panel.locator("[data-n=pieces]")).to_have_text(str(pieces))
        expect(panel.locator("[data-n=loops]")).to_have_text(str(loops))


def test_layers_share_a_scale_and_light_the_same_images(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "live.html"
    path.write_text(live_page(together(), "Three layers"), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(path.as_uri())
    live = page.locator(".live:has(.panels)")
    slider = live.get_by_role("slider", name="Scale ε of all layers")
    expect(live.get_by_role("heading")).to_have_text([*LAYERS])
    largest = [distances_of(points).max() for points in LAYERS.values()]
    slider.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")  # to the next event of any layer
        check_numbers(page)
    shares = np.divide(live.evaluate(DRAWN), largest)
    np.testing.assert_allclose(shares, shares[0])
    live.locator("[data-s=unit]").select_option("common")
    page.keyboard.press("ArrowLeft")
    check_numbers(page)
    same = live.evaluate(DRAWN)
    assert same == [same[0]] * 3

    # A panel leads, an image of it has its cluster lit everywhere, and so has a line round some.
    first = page.locator(".panel").first
    first.evaluate("panel => panel.microscope.set(0.5)")
    check_numbers(page)
    assert live.evaluate(DRAWN) == [0.5] * 3
    places = first.evaluate("panel => [...panel.microscope.places]")
    first.locator("[data-v=map]").click(position={"x": places[0], "y": places[1]})
    labels = DBSCAN(eps=0.5, min_samples=3).fit(LAYERS["ring"]).labels_
    chosen = np.flatnonzero(labels == labels[0]).tolist()
    assert live.evaluate(LIT) == [chosen] * 3
    expect(live.locator(".strip i:visible")).to_have_count(len(chosen))
    box = first.locator("[data-v=map]").bounding_box()
    assert box is not None
    corners = [(-2, -2), (box["width"] / 2, -2), (box["width"] / 2, box["height"]), (-2, 900)]
    for place, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + max(x, 1), box["y"] + min(max(y, 1), box["height"] - 1), steps=3)
        if not place:
            page.mouse.down()
    page.mouse.up()
    left = [image for image in range(20) if places[2 * image] < box["width"] / 2]
    assert live.evaluate(LIT) == [left] * 3
    expect(live.locator("p:visible")).to_contain_text(
        f"ring: {len(left)} images chosen, of {len({CLASSES[image] for image in left})} classes"
    )
    live.get_by_label("Light").select_option("class dog")
    assert live.evaluate(LIT) == [DOGS] * 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    # The walk through the layers, with the keys and played where motion is reduced.
    path.write_text(live_page(TOUR, "Through the layers"), encoding="utf-8")
    page.emulate_media(reduced_motion="reduce")
    page.goto(path.as_uri())
    drawn, tour = page.get_by_role("img", name="Map of 20 images"), page.locator(".tour")
    expect(drawn).to_have_attribute("aria-label", re.compile("larger, layer 2 of 3; 0 lit"))
    page.get_by_label("Light").select_option("class dog")
    far = pdist(MAPS[1][DOGS]).mean() / pdist(MAPS[1]).mean()
    expect(drawn).to_have_attribute("aria-label", re.compile(f"{len(DOGS)} lit.* {far:.2f} times"))
    tour.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    expect(tour.locator(".where")).to_have_text("ring, layer 1 of 3")
    page.keyboard.press(" ")
    expect(tour.locator(".where")).to_have_text("ring <b>twice</b>, layer 3 of 3")
    expect(tour.get_by_role("button", name="Play")).to_be_visible()
    page.close()


def test_a_link_opens_what_was_shown(browser: Browser) -> None:
    page = browser.new_page(reduced_motion="reduce")
    address, shown = "http://layers.test/", {"data": together()}
    page.route(
        f"{address}**",
        lambda route: route.fulfill(
            content_type="text/html", body=live_page(shown["data"] | {"link": True}, "Linked")
        ),
    )
    page.goto(f"{address}?pins_scale=0.4&lit=2,5&layer=kept")
    live = page.locator(".live:has(.panels)")
    largest = [distances_of(points).max() for points in LAYERS.values()]
    np.testing.assert_allclose(np.divide(live.evaluate(DRAWN), largest), 0.4, rtol=1e-5)
    assert live.evaluate(LIT) == [[2, 5]] * 3
    live.locator("[data-s=unit]").select_option("common")
    page.locator(".panel").first.evaluate("panel => panel.microscope.set(0.75)")
    page.wait_for_url(re.compile(r"pins_scale=0\.75"))
    live.get_by_label("Light").select_option("class dog")
    page.wait_for_url(re.compile(r"\?pins_scale=0\.75&lit=class\+dog&layer=kept&pins_unit=common$"))
    page.reload()
    check_numbers(page)
    assert live.evaluate(DRAWN) == [0.75] * 3
    assert live.evaluate(LIT) == [DOGS] * 3

    shown["data"] = TOUR
    page.goto(f"{address}?tour=ring&lit=class+dog")
    drawn, tour = page.get_by_role("img", name="Map of 20 images"), page.locator(".tour")
    expect(drawn).to_have_attribute(
        "aria-label", re.compile(f"ring, layer 1 of 3; {len(DOGS)} lit")
    )
    tour.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Light").select_option("image 7")
    page.wait_for_url(re.compile("tour=larger&lit=7$"))
    page.reload()
    expect(drawn).to_have_attribute("aria-label", re.compile("larger, layer 2 of 3; 1 lit"))
    expect(page.get_by_label("Light")).to_have_value("7")
    page.goto(f"{address}?tour=gone&lit=99")  # of another network
    expect(drawn).to_have_attribute("aria-label", re.compile("larger, layer 2 of 3; 0 lit"))
    page.wait_for_url(re.compile(r"\?tour=larger$"))
    page.close()
