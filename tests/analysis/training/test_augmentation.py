"""Flips and crops: how often, how far, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from analysis.options import AUGMENTATIONS
from analysis.training.augmentation import AUGMENT


def augment(images: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return AUGMENT["flip-crop"](images)


def test_every_name_has_a_function() -> None:
    assert tuple(AUGMENT) == AUGMENTATIONS
    images = torch.rand(3, 1, 4, 4)
    assert torch.equal(AUGMENT["none"](images), images)


@pytest.mark.parametrize("shape", [(7, 3, 32, 32), (2, 1, 5, 9), (1, 3, 1, 1)])
def test_shape_type_and_range_are_unchanged(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape).half()
    original = images.clone()
    changed = augment(images)
    assert (changed.shape, changed.dtype) == (images.shape, images.dtype)
    assert changed.is_contiguous()
    assert set(changed.unique().tolist()) <= set(images.unique().tolist())  # no new pixel values
    assert torch.equal(images, original)


def test_half_of_the_images_are_mirrored_left_to_right() -> None:
    count = 1000
    images = torch.linspace(0, 1, 16).expand(count, 1, 16, 16)  # brighter to the right
    changed = augment(images)
    mirrored = (changed[:, 0, 8, 15] < changed[:, 0, 8, 0]).sum().item()
    assert abs(mirrored - count / 2) < 3 * (count / 4) ** 0.5  # three standard deviations
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))  # all rows are still equal


def test_all_channels_move_together() -> None:
    images = torch.rand(20, 1, 16, 16).expand(-1, 3, -1, -1)
    changed = augment(images)
    assert torch.equal(changed[:, :1].expand_as(changed), changed)


@pytest.mark.parametrize(("height", "width", "down", "across"), [(32, 16, 4, 2), (4, 8, 1, 1)])
def test_crops_move_by_an_eighth_at_most_and_reach_it(
    height: int, width: int, down: int, across: int
) -> None:
    # Each pixel encodes its position; in mirrored images the columns run backwards.
    place = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    images = place.expand(2000, 1, height, width)
    changed = augment(images)[:, 0].long()
    rows, columns = changed // width, changed % width
    middle = height // 2, width // 2
    moved_down = rows[:, *middle] - middle[0]
    backwards = columns[:, 0, 0] > columns[:, 0, -1]
    from_left = torch.where(backwards, width - 1 - columns[:, *middle], columns[:, *middle])
    moved_across = from_left - middle[1]
    assert sorted(set(moved_down.tolist())) == list(range(-down, down + 1))
    assert sorted(set(moved_across.tolist())) == list(range(-across, across + 1))
    # All shifts are equally likely, and the two directions are independent.
    assert abs(moved_down.float().mean().item()) < 0.3
    assert abs(moved_across.float().mean().item()) < 0.3
    assert abs(torch.corrcoef(torch.stack([moved_down, moved_across]).float())[0, 1]) < 0.1


def test_the_padding_repeats_the_border() -> None:
    """A constant image stays constant: no black frame appears."""
    images = torch.full((50, 1, 16, 16), 0.7)
    assert torch.equal(augment(images), images)


@pytest.mark.parametrize("change", [lambda s: s, lambda s: s + 1])
def test_the_global_seed_decides(change: Callable[[int], int]) -> None:
    images = torch.rand(20, 1, 16, 16)
    alike = torch.equal(augment(images, 5), augment(images, change(5)))
    assert alike is (change(5) == 5)
