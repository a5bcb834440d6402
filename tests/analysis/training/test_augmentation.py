"""Flips and crops: how often, how far, and nothing but that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from analysis.options import AUGMENTATIONS
from analysis.training.augmentation import AUGMENT


def augmented(images: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return AUGMENT["flip-crop"](images)


def test_every_name_has_a_function() -> None:
    assert tuple(AUGMENT) == AUGMENTATIONS
    images = torch.rand(3, 1, 4, 4)
    assert torch.equal(AUGMENT["none"](images), images)


@pytest.mark.parametrize("shape", [(7, 3, 32, 32), (2, 1, 5, 9), (1, 3, 1, 1)])
def test_shape_type_and_range_stay(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape).half()
    kept = images.clone()
    found = augmented(images)
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    assert found.is_contiguous()
    assert set(found.unique().tolist()) <= set(images.unique().tolist())  # only pixels that were
    assert torch.equal(images, kept)


def test_half_of_the_images_are_mirrored_left_to_right() -> None:
    count = 1000
    images = torch.linspace(0, 1, 16).expand(count, 1, 16, 16)  # brighter to the right
    found = augmented(images)
    mirrored = (found[:, 0, 8, 15] < found[:, 0, 8, 0]).sum().item()
    assert abs(mirrored - count / 2) < 3 * (count / 4) ** 0.5  # three standard deviations
    assert torch.equal(found, found[:, :, :1].expand_as(found))  # rows are all alike still


def test_all_channels_move_together() -> None:
    images = torch.rand(20, 1, 16, 16).expand(-1, 3, -1, -1)
    found = augmented(images)
    assert torch.equal(found[:, :1].expand_as(found), found)


@pytest.mark.parametrize(("height", "width", "down", "across"), [(32, 16, 4, 2), (4, 8, 1, 1)])
def test_crops_move_by_an_eighth_at_most_and_reach_it(
    height: int, width: int, down: int, across: int
) -> None:
    # Each pixel tells its place; mirrored images are told by their columns running backwards.
    place = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    images = place.expand(2000, 1, height, width)
    found = augmented(images)[:, 0].long()
    rows, columns = found // width, found % width
    middle = height // 2, width // 2
    moved_down = rows[:, *middle] - middle[0]
    backwards = columns[:, 0, 0] > columns[:, 0, -1]
    from_left = torch.where(backwards, width - 1 - columns[:, *middle], columns[:, *middle])
    moved_across = from_left - middle[1]
    assert sorted(set(moved_down.tolist())) == list(range(-down, down + 1))
    assert sorted(set(moved_across.tolist())) == list(range(-across, across + 1))
    # Every shift is as likely as another, and the two directions know nothing of each other.
    assert abs(moved_down.float().mean().item()) < 0.3
    assert abs(moved_across.float().mean().item()) < 0.3
    assert abs(torch.corrcoef(torch.stack([moved_down, moved_across]).float())[0, 1]) < 0.1


def test_the_border_goes_on_at_the_edge() -> None:
    """A constant image stays constant: no black frame moves in."""
    images = torch.full((50, 1, 16, 16), 0.7)
    assert torch.equal(augmented(images), images)


@pytest.mark.parametrize("change", [lambda s: s, lambda s: s + 1])
def test_the_global_seed_decides(change: Callable[[int], int]) -> None:
    images = torch.rand(20, 1, 16, 16)
    alike = torch.equal(augmented(images, 5), augmented(images, change(5)))
    assert alike is (change(5) == 5)
