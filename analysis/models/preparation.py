"""Turn images in [0, 1] into a network's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from analysis.errors import OptionError
from analysis.models.catalogue import ModelSpec
from analysis.models.preprocessing import Preprocessing
from analysis.models.weights_files import torchvision_weights

Images = NDArray[np.float32] | Sequence[NDArray[np.float32]]

POCKET_SIDE = 32
DATA_SIDE, PADDING = 28, 2  # pixels: the pocket models were trained on 28 x 28, padded to 32 x 32
MEAN, STD = 0.2860, 0.3530  # of Fashion-MNIST's 60,000 training images at 28 x 28


def prepare_input(spec: ModelSpec, images: Images, weights: str, side: int) -> Tensor:
    """Do the work of `analysis.models.prepare_images`, with arguments that are already checked.

    Parameters
    ----------
    spec : ModelSpec
    images : float32 (N, C, H, W), or a sequence of (C, H, W)
    weights : str
    side : int
        Pixels of the input.
    """
    if spec.source == "pocket":
        prepare: Callable[[Tensor], Tensor] = partial(_pocket_input, side=side)
    else:
        prepare = preprocessing_of(spec, weights).at(side)
    if isinstance(images, np.ndarray):
        return prepare(_tensor(images)).contiguous()
    together = torch.empty(len(images), 3, side, side)
    for place, image in zip(together, images, strict=True):  # one at a time: they may be large
        if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
            raise OptionError(
                f"`images` must have the shape (1 or 3, height, width) each, got {image.shape}"
            )
        place.copy_(prepare(_tensor(image[None]))[0])
    return together


def preprocessing_of(spec: ModelSpec, weights: str) -> Preprocessing:
    """The preprocessing for these weights; random ones use that of the pre-trained."""
    if spec.source == "timm":
        from analysis.models.timm_models import timm_preprocessing

        return timm_preprocessing(spec.name)
    if spec.source == "code":
        from analysis.models.own_code import INPUT_SIDE

        return Preprocessing(crop=INPUT_SIDE, resize=256)
    own = torchvision_weights(spec, spec.weight_set(weights) or spec.weight_sets[0]).transforms()
    return Preprocessing(
        crop=own.crop_size[0],
        resize=own.resize_size[0],
        mean=tuple(own.mean),
        std=tuple(own.std),
        interpolation=own.interpolation.value,
    )


def _pocket_input(pixels: Tensor, *, side: int) -> Tensor:
    """Resize and pad to the 32 × 32 pixels of the pocket zoo's training, or to another side."""
    padding = round(PADDING * side / POCKET_SIDE)
    inner = side - 2 * padding
    if pixels.shape[2:] != (inner, inner):
        pixels = interpolate(pixels, (inner, inner), mode="bilinear", antialias=True)
    scaled = (pad(pixels, (padding,) * 4) - MEAN) / STD
    return scaled.expand(-1, 3, -1, -1)


def _tensor(images: NDArray[np.float32]) -> Tensor:
    # A copy in C order: torch refuses the negative strides of a mirrored array.
    return torch.from_numpy(np.array(images, np.float32, order="C"))
