"""Turn images into a network's input, as in its own training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analysis.system.torchvision_guard import torchvision  # noqa: F401  (must precede transforms)
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LONGEST = 4  # times the shorter side; only the centre of a longer image is resized


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, subtract the mean, divide by the deviation."""

    crop: int  # pixels, the side of the input
    resize: int  # pixels, of the shorter side
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"

    def at(self, side: int) -> Preprocessing:
        """The same for another input side, with the crop in proportion. 0 keeps this side."""
        if side in (0, self.crop):
            return self
        return replace(self, crop=side, resize=max(side, round(self.resize * side / self.crop)))

    def __call__(self, pixels: Tensor) -> Tensor:
        """float32 (N, 1 or 3, H, W) in [0, 1] to the input (N, 3, crop, crop)."""
        height, width = pixels.shape[2:]
        longest = _LONGEST * min(height, width)
        if max(height, width) > longest:
            pixels = transforms.center_crop(pixels, [min(height, longest), min(width, longest)])
        pixels = transforms.resize(
            pixels, [self.resize], InterpolationMode(self.interpolation), antialias=True
        )
        pixels = transforms.center_crop(pixels, [self.crop, self.crop]).expand(-1, 3, -1, -1)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std
