"""From images in [0, 1] to what a network takes as input."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from analysis.models.registry import ModelSpec
from analysis.models.weights_files import torchvision_weights

DATA_SIDE, PADDING = 28, 2  # pixels: the pocket models learned from 28 x 28, padded to 32 x 32
MEAN, STD = 0.2860, 0.3530  # of Fashion-MNIST's 60,000 training images at 28 x 28


def pocket_input(images: NDArray[np.float32]) -> Tensor:
    """float32 (N, C, H, W) in [0, 1] to the (N, 3, 32, 32) on which the pocket zoo was trained."""
    pixels = _tensor(images)
    if pixels.shape[2:] != (DATA_SIDE, DATA_SIDE):
        pixels = interpolate(pixels, (DATA_SIDE, DATA_SIDE), mode="bilinear", antialias=True)
    scaled = (pad(pixels, (PADDING,) * 4) - MEAN) / STD
    return scaled.expand(-1, 3, -1, -1).contiguous()


def torchvision_input(spec: ModelSpec, images: NDArray[np.float32]) -> Tensor:
    """float32 (N, C, H, W) in [0, 1] through the preset that belongs to torchvision's weights."""
    preset = torchvision_weights(spec).transforms()
    prepared: Tensor = preset(_tensor(images).expand(-1, 3, -1, -1))
    return prepared


def _tensor(images: NDArray[np.float32]) -> Tensor:
    # A copy in C order: torch refuses the negative strides of a mirrored array.
    return torch.from_numpy(np.array(images, np.float32, order="C"))
