"""The images of an analysis, group by group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from analysis.datasets import ImageDataset

SIDE = 56  # pixels of one image, at least
GAP = 4  # pixels between two
ACROSS = 8  # images in a row
MOST = 200  # images drawn; beyond it a page gets slow


def render_thumbnails(data: ImageDataset, groups: Sequence[str]) -> None:
    """Draw the images under the name of their group, the largest first and noise last."""
    for group in sorted(set(groups), key=lambda g: (g == "noise", -groups.count(g), g)):
        members = [i for i, other in enumerate(groups) if other == group]
        plural = "" if len(members) == 1 else "s"
        rest = f", the first {MOST} of them" if len(members) > MOST else ""
        st.caption(f"{group}: {len(members)} image{plural}{rest}")
        st.image(mosaic(data.images[members[:MOST]]), width="content")


def mosaic(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay images out in rows, on a clear ground.

    Parameters
    ----------
    images : ndarray (N, C, H, W) of float32 in [0, 1], C being 1 or 3

    Returns
    -------
    ndarray (rows, columns, 4) of uint8
    """
    scale = max(1, -(-SIDE // max(images.shape[-2:])))
    pixels = (images.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3)).repeat(scale, 1).repeat(scale, 2)
    height, width = pixels.shape[1] + GAP, pixels.shape[2] + GAP
    rows = -(-len(pixels) // ACROSS)
    canvas = np.zeros((rows * height, min(ACROSS, len(pixels)) * width, 4), np.uint8)
    for place, image in enumerate(pixels):
        top, left = place // ACROSS * height, place % ACROSS * width
        spot = canvas[top : top + height - GAP, left : left + width - GAP]
        spot[..., :3], spot[..., 3] = image, 255
    return canvas
