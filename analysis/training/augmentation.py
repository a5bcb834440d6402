"""Random changes of the training images, drawn from torch's global generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from analysis.options import Augmentation

SHIFT = 1 / 8  # of the side: how far a crop may move; 4 pixels of 32 (He et al. 2016, §4.2)


def _none(images: Tensor) -> Tensor:
    return images


def _flip_crop(images: Tensor) -> Tensor:
    """Mirror half of the images, and move each by up to an eighth of its side."""
    count, _, height, width = images.shape
    images = torch.where(
        (torch.rand(count, 1, 1, 1) < 0.5).to(images.device), images.flip(3), images
    )
    top, left = (max(1, round(side * SHIFT)) for side in (height, width))
    # Pad with the border's pixels: a model's input has no natural zero.
    padded = pad(images, (left, left, top, top), mode="replicate")
    rows = torch.randint(2 * top + 1, (count,)).tolist()
    columns = torch.randint(2 * left + 1, (count,)).tolist()
    moved = [
        image[:, y : y + height, x : x + width]
        for image, y, x in zip(padded, rows, columns, strict=True)
    ]
    return torch.stack(moved)


AUGMENT: dict[Augmentation, Callable[[Tensor], Tensor]] = {"none": _none, "flip-crop": _flip_crop}
