"""Turn images into a network's input, as in its own training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from analysis.errors import OptionError
from analysis.results import InputFormat
from analysis.system.torchvision_guard import torchvision  # noqa: F401  (must precede transforms)
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue are, as Pillow takes them
_LONGEST = 4  # times the shorter side; only the centre of a longer image is resized


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop the centre, subtract the mean, divide by the deviation."""

    shape: tuple[int, int, int]  # of the input: channels, height, width
    resize: tuple[int, int]  # pixels that the image covers before the crop, (height, width)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    stretched: bool = False  # to exactly `resize`
    bordered: bool = False  # no edge longer than `resize`, and a border of the mean colour
    padding: int = 0  # black pixels on each side
    remark: str = ""  # for the user

    def at(self, side: int) -> Preprocessing:
        """The same for a square input of another side, all in proportion. 0 keeps this one."""
        channels, *sides = self.shape
        if side == 0 or sides == [side, side]:
            return self
        height, width = (
            max(side, round(covered * side / own))
            for covered, own in zip(self.resize, sides, strict=True)
        )
        return replace(self, shape=(channels, side, side), resize=(height, width))

    def resized_to(self, pixels: int) -> Preprocessing:
        """The same with so many pixels for the shorter side before the crop. 0 keeps this one."""
        if pixels == 0:
            return self
        height, width = self._inner
        least = min(height, width)
        if pixels < least:
            raise OptionError(
                f"`input_resize` must be at least the input's {least} pixels, got {pixels}"
            )
        return replace(self, resize=(round(height * pixels / least), round(width * pixels / least)))

    @property
    def _inner(self) -> tuple[int, int]:
        """Height and width of the image in the input, without the padding."""
        _, height, width = self.shape
        return height - 2 * self.padding, width - 2 * self.padding

    @property
    def format(self) -> InputFormat:
        """For the result."""
        return InputFormat(
            *self.shape,
            resize=self.resize,
            mean=self.mean,
            std=self.std,
            interpolation=self.interpolation,
            padding=self.padding,
            stretched=self.stretched,
            bordered=self.bordered,
            clipped=self._clipped,
            remark=self.remark,
        )

    @property
    def _clipped(self) -> bool:
        """Bicubic interpolation overshoots at edges; Pillow, with which networks train, cuts it."""
        return self.interpolation == "bicubic"

    def __call__(self, pixels: Tensor) -> Tensor:
        """float32 (N, 1 or 3, H, W) in [0, 1] to the input (N, C, height, width)."""
        channels = self.shape[0]
        pixels = self._resized(pixels)
        if self.bordered:
            pixels = self._with_border(pixels)
        if pixels.shape[2:] != self._inner:
            pixels = transforms.center_crop(pixels, list(self._inner))
        if self.padding:
            pixels = pad(pixels, (self.padding,) * 4)
        if channels == 1 and pixels.shape[1] == 3:
            pixels = (pixels * torch.tensor(_GREY)[:, None, None]).sum(1, keepdim=True)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels.expand(-1, channels, -1, -1) - mean) / std

    def _resized(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[2:]
        longest = _LONGEST * min(height, width)
        whole = self.stretched or self.bordered
        if not whole and max(height, width) > longest:
            pixels = transforms.center_crop(pixels, [min(height, longest), min(width, longest)])
            height, width = pixels.shape[2:]
        size = list(self.resize)
        if self.bordered:
            factor = min(size[0] / height, size[1] / width)
            size = [max(1, round(height * factor)), max(1, round(width * factor))]
        elif not whole and size[0] == size[1]:
            # Of the shorter side; torchvision rounds the other one down.
            size = [int(size[0] * edge / min(height, width)) for edge in (height, width)]
        elif not whole:
            factor = max(size[0] / height, size[1] / width)
            size = [max(size[0], round(height * factor)), max(size[1], round(width * factor))]
        mode = InterpolationMode(self.interpolation)
        if self._clipped:  # after each direction, as Pillow does
            pixels = transforms.resize(pixels, [height, size[1]], mode, antialias=True).clamp(0, 1)
        resized: Tensor = transforms.resize(pixels, size, mode, antialias=True)
        return resized.clamp(0, 1) if self._clipped else resized

    def _with_border(self, pixels: Tensor) -> Tensor:
        """At least as large as the input; the colour is that of 8 bits, as timm's is."""
        height, width = (
            max(0, inner - own) for inner, own in zip(self._inner, pixels.shape[2:], strict=True)
        )
        around = width // 2, (width + 1) // 2, height // 2, (height + 1) // 2
        colour = torch.tensor(self.mean).mul(255).round().div(255)[:, None, None]
        pixels = pixels.expand(-1, max(pixels.shape[1], len(colour)), -1, -1)
        return pad(pixels - colour, around) + colour
