"""In which memory layout a network takes its images.

Convolutions run faster on images in channels-last layout, but some networks accept only contiguous
ones, or read the memory directly. So no number that channels-last gave is used unless two passes
have shown that it gives the same result.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_LAYOUTS: WeakKeyDictionary[nn.Module, torch.memory_format] = WeakKeyDictionary()


def layout_of(model: nn.Module) -> torch.memory_format:
    """The layout for images (N, C, H, W) of this model; contiguous unless another is set."""
    return _LAYOUTS.get(model, torch.contiguous_format)


def set_layout(model: nn.Module, layout: torch.memory_format) -> None:
    """Let every later pass of this model take its images in a layout."""
    _LAYOUTS[model] = layout


def fast_layout(images: Tensor) -> torch.memory_format:
    """The layout in which networks run fastest on these images; it applies to (N, C, H, W) only."""
    return torch.channels_last if images.dim() == 4 else torch.contiguous_format
