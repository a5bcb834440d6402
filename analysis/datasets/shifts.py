"""Shifted versions of a dataset: the same images, as a worse camera would take them.

Every shift grows with its severity, 1 (slight) to 5, keeps the values in [0, 1], and acts alike
on small and large images: lengths are relative to the image's side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]  # (N, C, H, W), values in [0, 1]

# One number for each severity.
BLUR_SIGMAS = (0.6, 1.0, 1.5, 2.1, 2.8)  # pixels of a 28 x 28 image
NOISE_STDS = (0.08, 0.12, 0.18, 0.26, 0.38)  # of the range; Hendrycks & Dietterich 2019
CONTRASTS = (0.75, 0.55, 0.4, 0.25, 0.1)  # remaining share of the contrast
ROTATIONS = (10, 20, 30, 45, 60)  # degrees, anticlockwise


@dataclass(frozen=True)
class Shift:
    """One way in which images may drift."""

    title: str
    help: str
    function: Callable[[Images, int, np.random.Generator], Images]


def _none(images: Images, severity: int, rng: np.random.Generator) -> Images:
    return images


def _blur(images: Images, severity: int, rng: np.random.Generator) -> Images:
    from scipy import fft  # slow to import, like `ndimage` below

    # Lindeberg's discrete Gaussian: heat diffusion on the pixel grid (1990, §IV). A sampled
    # Gaussian has no effect at the width that 8 x 8 images need, a third of a pixel.
    height, width = images.shape[2:]
    variance = (BLUR_SIGMAS[severity - 1] * min(height, width) / 28) ** 2
    rows, columns = (1 - np.cos(np.pi * np.arange(side) / side) for side in (height, width))
    decay = np.exp(-variance * (rows[:, None] + columns)).astype(np.float32)
    spectrum = fft.dctn(images, axes=(2, 3), norm="ortho") * decay
    return _within_range(fft.idctn(spectrum, axes=(2, 3), norm="ortho"))


def _noise(images: Images, severity: int, rng: np.random.Generator) -> Images:
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    return _within_range(images + NOISE_STDS[severity - 1] * noise)


def _contrast(images: Images, severity: int, rng: np.random.Generator) -> Images:
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return _within_range(mean + CONTRASTS[severity - 1] * (images - mean))


def _rotation(images: Images, severity: int, rng: np.random.Generator) -> Images:
    from scipy import ndimage

    turned = ndimage.rotate(images, ROTATIONS[severity - 1], (3, 2), reshape=False, order=1)
    return _within_range(turned)


def _inversion(images: Images, severity: int, rng: np.random.Generator) -> Images:
    return np.where(images >= 1 - severity / 5, 1 - images, images)


def _within_range(images: NDArray[np.float32]) -> Images:
    return np.clip(images, 0, 1).astype(np.float32, copy=False)


SHIFTS: dict[str, Shift] = {
    "none": Shift("None", "The images as they are.", _none),
    "blur": Shift("Blur", "Out of focus: fine detail disappears.", _blur),
    "noise": Shift("Noise", "Grain: random brightness is added to every pixel.", _noise),
    "contrast": Shift("Contrast", "Fog: everything fades towards the image's mean.", _contrast),
    "rotation": Shift("Rotation", "A tilted camera: 10° at severity 1, 60° at 5.", _rotation),
    "inversion": Shift(
        "Inversion", "A negative: severity 1 inverts the brightest fifth, 5 all.", _inversion
    ),
}
