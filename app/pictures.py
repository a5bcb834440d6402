"""Small pictures of a dataset's images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 56  # pixels of one picture, at least
MOST_SIDE = 84  # at most; larger images are shrunk
GAP = 4  # pixels between two
ACROSS = 8  # pictures in a row

Picture = NDArray[np.uint8]  # (height, width, 3)


def picture(image: NDArray[np.float32]) -> Picture:
    """One image as a picture that is large enough to see and small enough for many to fit.

    Parameters
    ----------
    image : ndarray (C, H, W) of float32 in [0, 1], C being 1 or 3
    """
    pixels = (image.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    if max(pixels.shape) > MOST_SIDE:
        shrunk = Image.fromarray(pixels)
        shrunk.thumbnail((MOST_SIDE, MOST_SIDE))
        return np.asarray(shrunk)
    scale = max(1, -(-SIDE // max(pixels.shape[:2])))
    return pixels.repeat(scale, 0).repeat(scale, 1)


def mosaic(pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    """Lay pictures out in rows, each centred in its cell, on a transparent ground.

    Returns
    -------
    ndarray (rows, columns, 4) of uint8
    """
    high, wide = (GAP + max(image.shape[axis] for image in pictures) for axis in (0, 1))
    rows = -(-len(pictures) // ACROSS)
    canvas = np.zeros((rows * high, min(ACROSS, len(pictures)) * wide, 4), np.uint8)
    for place, image in enumerate(pictures):
        height, width = image.shape[:2]
        top = place // ACROSS * high + (high - GAP - height) // 2
        left = place % ACROSS * wide + (wide - GAP - width) // 2
        spot = canvas[top : top + height, left : left + width]
        spot[..., :3], spot[..., 3] = image, 255
    return canvas
