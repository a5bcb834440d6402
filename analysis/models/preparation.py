"""Turn images in [0, 1] into a network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.errors import OptionError
from analysis.models.catalogue import ModelSpec
from analysis.models.preprocessing import Preprocessing
from analysis.models.weights_files import torchvision_weights
from analysis.options import channel_numbers

Images = NDArray[np.float32] | Sequence[NDArray[np.float32]]

POCKET_SIDE = 32
PADDING = 2  # pixels: the pocket models were trained on 28 x 28, padded to 32 x 32
MEAN, STD = 0.2860, 0.3530  # of Fashion-MNIST's 60,000 training images at 28 x 28


def prepare_input(prepare: Preprocessing, images: Images) -> Tensor:
    """Do the work of `analysis.models.prepare_images`, with arguments that are already checked.

    Parameters
    ----------
    prepare : Preprocessing
    images : float32 (N, C, H, W), or a sequence of (C, H, W)
    """
    if isinstance(images, np.ndarray):
        return prepare(_tensor(images)).contiguous()
    together = torch.empty(len(images), *prepare.shape)
    for place, image in zip(together, images, strict=True):  # one at a time: they may be large
        if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
            raise OptionError(
                f"`images` must have the shape (1 or 3, height, width) each, got {image.shape}"
            )
        place.copy_(prepare(_tensor(image[None]))[0])
    return together


def preprocessing_of(
    spec: ModelSpec, weights: str, side: int, *, resize: int = 0, mean: str = "", std: str = ""
) -> Preprocessing:
    """The preprocessing for these weights; random ones use that of the pre-trained.

    Parameters
    ----------
    spec : ModelSpec
    weights : str
    side : int
        Pixels of the input; 0: the network's own height and width.
    resize : int
        See `AnalysisOptions.input_resize`; 0: that of the weights.
    mean, std : str
        Instead of those of the weights, see `AnalysisOptions.input_mean`; "": theirs.

    Raises
    ------
    OptionError
        If there are neither one nor as many numbers as channels, or `resize` is too small.
    """
    known = _preprocessing(spec, weights, side).resized_to(resize)
    channels = known.shape[0]
    return replace(
        known,
        remark="" if mean and std else known.remark,
        mean=_own_numbers("input_mean", mean, channels) or known.mean,
        std=_own_numbers("input_std", std, channels) or known.std,
    )


def _own_numbers(name: str, text: str, channels: int) -> tuple[float, ...]:
    numbers = channel_numbers(name, text)
    if len(numbers) not in (0, 1, channels):
        raise OptionError(
            f"`{name}` must be one number or {channels}, one for each channel, got {text!r}"
        )
    return numbers


def _preprocessing(spec: ModelSpec, weights: str, side: int) -> Preprocessing:
    if spec.source == "pocket":
        return _pocket_preprocessing(side or POCKET_SIDE)
    if spec.source == "timm":
        from analysis.models.timm_models import timm_preprocessing

        return timm_preprocessing(spec.name).at(side)
    if spec.source == "code":
        from analysis.models.own_input import own_preprocessing

        return own_preprocessing(spec.name).at(side)
    own = torchvision_weights(spec, spec.weight_set(weights) or spec.weight_sets[0]).transforms()
    crop, resize = own.crop_size[0], own.resize_size[0]
    return Preprocessing(
        shape=(3, crop, crop),
        resize=(resize, resize),
        mean=tuple(own.mean),
        std=tuple(own.std),
        interpolation=own.interpolation.value,
    ).at(side)


def _pocket_preprocessing(side: int) -> Preprocessing:
    """Resize and pad to the 32 × 32 pixels of the pocket zoo's training, or to another side."""
    padding = round(PADDING * side / POCKET_SIDE)
    inner = side - 2 * padding
    return Preprocessing(
        (3, side, side), (inner, inner), (MEAN,), (STD,), stretched=True, padding=padding
    )


def _tensor(images: NDArray[np.float32]) -> Tensor:
    # A copy in C order: torch refuses the negative strides of a mirrored array.
    return torch.from_numpy(np.array(images, np.float32, order="C"))
