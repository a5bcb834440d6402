"""Shifts: known answers, growth with severity, and the correspondence with the plain images."""

import numpy as np
import pytest

from analysis.datasets import SHIFTS, load_dataset
from analysis.datasets.shifts import (
    BLUR_SIGMAS,
    CONTRASTS,
    NOISE_STDS,
    ROTATIONS,
    Images,
)

SEVERITIES = (1, 2, 3, 4, 5)
names = pytest.mark.parametrize("shift", [name for name in SHIFTS if name != "none"])


def apply(shift: str, images: Images, severity: int) -> Images:
    return SHIFTS[shift].function(images, severity, np.random.default_rng(0))


def dot(side: int, row: int, column: int) -> Images:
    images = np.zeros((1, 1, side, side), np.float32)
    images[0, 0, row, column] = 1
    return images


@names
@pytest.mark.parametrize("dataset", ["digits", "fashion"])
def test_images_drift_further_at_every_severity(shift: str, dataset: str) -> None:
    plain = load_dataset(dataset, split="test")
    distances = []
    for severity in SEVERITIES:
        shifted = load_dataset(dataset, split="test", shift=shift, severity=severity)
        assert shifted.images.shape == plain.images.shape
        assert shifted.images.dtype == np.float32
        assert shifted.images.min() >= 0
        assert shifted.images.max() <= 1
        distances.append(np.linalg.norm(shifted.images - plain.images))
    assert distances[0] > 0
    assert np.all(np.diff(distances) > 0)


@names
def test_shifted_images_correspond_to_the_plain_ones(shift: str) -> None:
    plain = load_dataset("fashion", split="validation")
    shifted = load_dataset("fashion", split="validation", shift=shift, severity=1)
    assert np.array_equal(plain.indices, shifted.indices)
    assert np.array_equal(plain.labels, shifted.labels)
    if shift == "noise":  # each image is nearest to its own original
        gaps = shifted.images[:50, None] - plain.images[None, :50]
        nearest = (gaps**2).sum(axis=(2, 3, 4)).argmin(axis=1)
        assert np.array_equal(nearest, np.arange(50))
    else:  # each image is what the shift makes of its original alone
        alone = np.concatenate([apply(shift, plain.images[[k]], 1) for k in range(50)])
        assert np.allclose(shifted.images[:50], alone, atol=1e-6)
    # The draw is of the same images, too.
    assert np.array_equal(plain.sample(20, seed=2).indices, shifted.sample(20, seed=2).indices)


@names
def test_a_shift_is_deterministic_and_leaves_its_input_alone(shift: str) -> None:
    images = np.random.default_rng(1).random((3, 3, 12, 16), dtype=np.float32)
    before = images.copy()
    assert np.array_equal(apply(shift, images, 3), apply(shift, images, 3))
    assert np.array_equal(images, before)
    assert not np.array_equal(apply(shift, images, 3), before)


@names
def test_an_image_s_shift_does_not_depend_on_how_many_are_drawn(shift: str) -> None:
    test = load_dataset("digits", split="test", shift=shift)
    few, many = test.sample(4, seed=0), test.sample(300, seed=0)
    assert np.array_equal(few.images, many.images[:4])


def test_none_changes_nothing() -> None:
    plain, same = load_dataset("digits"), load_dataset("digits", shift="none", severity=5)
    assert np.array_equal(plain.images, same.images)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_of_a_dot_has_its_mass_and_the_stated_width(severity: int) -> None:
    side = 56  # twice 28, so twice the width in pixels
    blurred = apply("blur", dot(side, 27, 30), severity)[0, 0].astype(np.float64)
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    rows, columns = np.indices((side, side))
    sigma = 2 * BLUR_SIGMAS[severity - 1]
    assert (blurred * (rows - 27) ** 2).sum() == pytest.approx(sigma**2, rel=0.02)
    assert (blurred * (columns - 30) ** 2).sum() == pytest.approx(sigma**2, rel=0.02)


def test_blur_keeps_a_flat_image_flat_and_the_sides_apart() -> None:
    flat = np.full((1, 3, 8, 20), 0.3, np.float32)
    assert np.allclose(apply("blur", flat, 5), 0.3, atol=1e-6)
    edge = apply("blur", dot(8, 0, 0), 5)[0, 0]
    assert edge[0, 0] > 0.1
    assert edge[-1, -1] < 0.001  # a wrapped-around blur would light the far corner


def test_noise_has_the_stated_width_and_differs_between_images_and_splits() -> None:
    grey = np.full((20, 1, 64, 64), 0.5, np.float32)
    noise = apply("noise", grey, 1) - 0.5
    assert noise.std() == pytest.approx(NOISE_STDS[0], rel=0.01)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    residuals = [
        load_dataset("digits", split=split, shift="noise").images[0]
        - load_dataset("digits", split=split).images[0]
        for split in ("validation", "test")
    ]
    assert not np.allclose(residuals[0], residuals[1])


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_shrinks_each_image_towards_its_own_mean(severity: int) -> None:
    images = np.random.default_rng(0).random((2, 3, 9, 9), dtype=np.float32) * [[[[0.5]]], [[[1]]]]
    images = images.astype(np.float32)
    faded = apply("contrast", images, severity)
    assert np.allclose(faded.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=1e-5)
    ratio = faded.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert np.allclose(ratio, CONTRASTS[severity - 1], atol=1e-4)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_rotation_turns_a_dot_anticlockwise_by_the_stated_angle(severity: int) -> None:
    turned = apply("rotation", dot(101, 50, 90), severity)[0, 0]
    rows, columns = np.indices(turned.shape)
    row, column = (np.average(axis, weights=turned) for axis in (rows, columns))
    angle = np.degrees(np.arctan2(50 - row, column - 50))
    assert angle == pytest.approx(ROTATIONS[severity - 1], abs=1)


def test_inversion_turns_the_values_above_its_threshold() -> None:
    values = np.array([0, 0.1, 0.35, 0.65, 0.9, 1], np.float32).reshape(1, 1, 1, 6)
    assert np.allclose(apply("inversion", values, 1), [0, 0.1, 0.35, 0.65, 0.1, 0])
    assert np.allclose(apply("inversion", values, 2), [0, 0.1, 0.35, 0.35, 0.1, 0])
    assert np.allclose(apply("inversion", values, 5), 1 - values)
