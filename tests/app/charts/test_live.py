"""What the live microscope gets, read back, and the page that it is saved as."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from app.charts.live import ACROSS, SIDE, image_data, live_data, live_page, look_of
from app.theme import PALETTES
from tests.factories import circle, distances_of


def floats(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def data(name: str = "ring") -> dict[str, object]:
    points = circle(5)
    cloud = live_data(
        name=name,
        distances=distances_of(points),
        points=points,
        loops=[[1.0, 1.5]],
        components=[[0, 1.25], [0, 0.5], [0, np.inf]],
        cycles=[[0, 1, 2, 3, 4]],
        fills=[True],
        radii=[0, 1.5],
        clusters=[0, 1],
        min_samples=3,
    )
    return cloud | image_data(["a</script>"] * 5, None, []) | {"look": look_of(PALETTES["light"])}


def test_numbers_come_back_as_they_were() -> None:
    sent = data()
    distances = distances_of(circle(5))
    np.testing.assert_array_equal(floats(sent["distances"]), distances[np.triu_indices(5, 1)])
    np.testing.assert_allclose(floats(sent["points"]).reshape(-1, 2), circle(5), atol=1e-7)
    assert floats(sent["loops"]).tolist() == [1, 1.5]
    assert floats(sent["merges"]).tolist() == [0.5, 1.25]
    assert sent["pieces"] == 3


def test_each_image_is_in_its_cell_of_the_sprite() -> None:
    shades = [10 * n for n in range(ACROSS + 2)]
    pictures = [np.full((56, 28, 3), shade, np.uint8) for shade in shades]
    sent = image_data(["x"] * len(shades), ["b", "a"] * (len(shades) // 2), pictures)
    assert sent["colours"] == [1, 0] * (len(shades) // 2)
    packed = base64.b64decode(sent["sprite"].partition("base64,")[2])
    sprite = np.asarray(Image.open(io.BytesIO(packed)).convert("L"))
    assert sprite.shape == (2 * SIDE, ACROSS * SIDE)
    for place, shade in enumerate(shades):
        row, column = (SIDE * n + SIDE // 2 for n in divmod(place, ACROSS))
        assert int(sprite[row, column]) == pytest.approx(shade, abs=3)
        assert sprite[row, column - SIDE // 2 + 2] < 6  # a narrow picture is centred


def test_a_page_holds_the_data_and_no_text_ends_its_script() -> None:
    page = live_page(data("a<b"), "layer <1>")
    assert "<title>layer &lt;1&gt;</title>" in page
    assert page.count("</script>") == 1
    sent = re.search(r"microscope\({ data: (.*), parentElement: document.body", page)
    assert sent is not None
    assert json.loads(sent[1]) == json.loads(json.dumps(data("a<b")))
