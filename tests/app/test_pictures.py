"""Small pictures: their sizes, their pixels, their places."""

from __future__ import annotations

import numpy as np

from app.pictures import ACROSS, GAP, MOST_SIDE, SIDE, mosaic, picture


def test_a_small_grey_image_is_enlarged_pixel_by_pixel() -> None:
    image = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    pixels = picture(image)
    assert pixels.shape == (SIDE, SIDE, 3)
    step = SIDE // 8
    assert (pixels[::step, ::step, 1] == (image[0] * 255).round()).all()
    assert (pixels[:step, :step] == pixels[0, 0]).all()


def test_a_large_image_is_shrunk_and_keeps_its_shape_and_colour() -> None:
    image = np.zeros((3, 100, 400), np.float32)
    image[0], image[2] = 1, 2  # beyond the range: clipped
    pixels = picture(image)
    assert pixels.shape == (MOST_SIDE // 4, MOST_SIDE, 3)
    assert (pixels == [255, 0, 255]).all()


def test_pictures_of_any_size_are_centred_in_the_cells_of_rows() -> None:
    tall, wide = np.full((60, 20, 3), 7, np.uint8), np.full((10, 80, 3), 9, np.uint8)
    canvas = mosaic([tall, wide] * 5)
    assert canvas.shape == (2 * (60 + GAP), ACROSS * (80 + GAP), 4)
    assert (canvas[:60, 30:50] == [7, 7, 7, 255]).all()
    assert (canvas[25:35, 80 + GAP : 160 + GAP] == [9, 9, 9, 255]).all()
    assert canvas[..., 3].sum() == 255 * 5 * (60 * 20 + 10 * 80)
