"""Small pictures: their sizes, their pixels, their places."""

from __future__ import annotations

import numpy as np

from app.pictures import ACROSS, GAP, MOST_SIDE, SIDE, mosaic, picture


def test_a_small_grey_image_is_enlarged_pixel_by_pixel() -> None:
    image = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    found = picture(image)
    assert found.shape == (SIDE, SIDE, 3)
    step = SIDE // 8
    assert (found[::step, ::step, 1] == (image[0] * 255).round()).all()
    assert (found[:step, :step] == found[0, 0]).all()


def test_a_large_image_is_shrunk_and_keeps_its_shape_and_colour() -> None:
    image = np.zeros((3, 100, 400), np.float32)
    image[0], image[2] = 1, 2  # beyond the range: clipped
    found = picture(image)
    assert found.shape == (MOST_SIDE // 4, MOST_SIDE, 3)
    assert (found == [255, 0, 255]).all()


def test_pictures_of_any_size_stand_in_rows_in_the_middle_of_their_places() -> None:
    tall, wide = np.full((60, 20, 3), 7, np.uint8), np.full((10, 80, 3), 9, np.uint8)
    found = mosaic([tall, wide] * 5)
    assert found.shape == (2 * (60 + GAP), ACROSS * (80 + GAP), 4)
    assert (found[:60, 30:50] == [7, 7, 7, 255]).all()
    assert (found[25:35, 80 + GAP : 160 + GAP] == [9, 9, 9, 255]).all()
    assert found[..., 3].sum() == 255 * 5 * (60 * 20 + 10 * 80)
