"""One image file at a time: every mode has a known pixel, every fault a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.datasets import image_files
from analysis.datasets.image_files import BrokenImage, FileImages, check, decode, is_image_name
from analysis.errors import AssetError
from tests.analysis.datasets.picture_files import (
    BLUE,
    GREEN,
    RED,
    huge_png,
    jpeg_bytes,
    plain,
    png_bytes,
    quarters,
)

WHITE = (255, 255, 255)
FOUR = (RED, GREEN, BLUE, WHITE)


def corners(path: Path) -> np.ndarray:
    """The colours of an image's four corners, (4, 3), from 0 to 1."""
    image = decode(path)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert image.min() >= 0
    assert image.max() <= 1
    return image[:, [0, 0, -1, -1], [0, -1, 0, -1]].T


def palette() -> Image.Image:
    return quarters(*FOUR).convert("P", palette=Image.Palette.ADAPTIVE)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("rgb.png", lambda: quarters(*FOUR)),
        ("palette.png", palette),
        ("palette.gif", palette),
        ("rgb.bmp", lambda: quarters(*FOUR)),
        ("rgb.ppm", lambda: quarters(*FOUR)),
        ("rgb.tif", lambda: quarters(*FOUR)),
        ("rgb.jp2", lambda: quarters(*FOUR)),
        ("cmyk.tiff", lambda: quarters(*FOUR).convert("CMYK")),
        ("rgba.png", lambda: quarters(*FOUR).convert("RGBA")),
        ("UPPER.PNG", lambda: quarters(*FOUR)),
    ],
)
def test_colours_come_out_as_they_are(
    name: str, make: Callable[[], Image.Image], tmp_path: Path
) -> None:
    make().save(tmp_path / name)
    check(tmp_path / name)
    assert is_image_name(name)
    assert np.allclose(corners(tmp_path / name) * 255, FOUR, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "YCbCr"])
def test_lossy_colours_come_out_nearly(mode: str, tmp_path: Path) -> None:
    quarters(*FOUR, side=64).convert(mode).save(tmp_path / "a.jpg", quality=95)
    assert np.allclose(corners(tmp_path / "a.jpg") * 255, FOUR, atol=8)
    quarters(*FOUR, side=64).save(tmp_path / "a.webp", lossless=True)
    assert np.allclose(corners(tmp_path / "a.webp") * 255, FOUR, atol=1)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.new("L", (5, 3), 51).save(tmp_path / "grey.png")
    image = decode(tmp_path / "grey.png")
    assert image.shape == (3, 3, 5)
    assert np.array_equal(image, np.full((3, 3, 5), 51 / 255, np.float32))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = Image.new("1", (4, 4))
    bits.putpixel((0, 0), 1)
    bits.save(tmp_path / "bits.png")
    image = decode(tmp_path / "bits.png")
    assert image[:, 0, 0].tolist() == [1, 1, 1]
    assert image[:, 1:].max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str, tmp_path: Path) -> None:
    layered = Image.new("RGBA", (4, 2), (0, 0, 0, 0))  # black, were it seen
    layered.putpixel((0, 0), (0, 0, 0, 255))
    layered.putpixel((1, 0), (0, 0, 0, 51))
    layered.convert(mode).save(tmp_path / "layered.png")
    check(tmp_path / "layered.png")
    image = decode(tmp_path / "layered.png")
    assert image[:, 0, 0].tolist() == [0, 0, 0]
    assert image[:, 0, 1] == pytest.approx([0.8] * 3)
    assert image[:, 1].tolist() == [[1] * 4] * 3


def test_a_transparent_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "palette.png", transparency=1)
    assert corners(tmp_path / "palette.png").tolist() == [
        [1, 0, 0],
        [1, 1, 1],
        [1, 1, 1],
        [1, 1, 1],
    ]
    grey = Image.new("L", (2, 2), 9)
    grey.save(tmp_path / "grey.png", transparency=9)
    assert corners(tmp_path / "grey.png").tolist() == [[1, 1, 1]] * 4


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("16.png", np.array([[0, 13107], [26214, 65535]], np.uint16), [0, 0.2, 0.4, 1]),
        (
            "16.tif",
            np.array([[0, 13107], [26214, 32767]], np.uint16),
            [0, 13107 / 32767, 26214 / 32767, 1],
        ),
        ("32.tif", np.array([[-100, 0], [50, 100]], np.int32), [0, 0.5, 0.75, 1]),
        ("unit.tif", np.array([[0.25, 0.5], [0.5, 0.75]], np.float32), [0.25, 0.5, 0.5, 0.75]),
        ("float.tif", np.array([[0, 100], [200, 400]], np.float32), [0, 0.25, 0.5, 1]),
        ("flat.tif", np.array([[7, 7], [7, 7]], np.float32), [1, 1, 1, 1]),
        ("bytes.tif", np.array([[0, 51], [102, 200]], np.float32), [0, 0.2, 0.4, 200 / 255]),
        ("12.png", np.array([[0, 819], [1638, 4000]], np.uint16), [0, 0.2, 0.4, 4000 / 4095]),
    ],
)
def test_numbers_are_scaled_to_their_range(
    name: str, values: np.ndarray, expected: list[float], tmp_path: Path
) -> None:
    Image.fromarray(values).save(tmp_path / name)
    check(tmp_path / name)
    image = decode(tmp_path / name)
    assert image.shape == (3, 2, 2)
    assert image[0].ravel() == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(image[0], image[2])


def test_an_image_that_holds_no_numbers_is_refused(tmp_path: Path) -> None:
    values = np.ones((4, 4), np.float32)
    values[3, 3] = np.nan
    Image.fromarray(values).save(tmp_path / "nan.tif")
    for function in (check, decode):
        with pytest.raises(BrokenImage, match="values that are not numbers"):
            function(tmp_path / "nan.tif")


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (RED, GREEN, BLUE, WHITE)),
        (2, (GREEN, RED, WHITE, BLUE)),
        (3, (WHITE, BLUE, GREEN, RED)),
        (6, (BLUE, RED, WHITE, GREEN)),
        (8, (GREEN, WHITE, RED, BLUE)),
    ],
)
def test_a_turned_photograph_stands_upright(
    orientation: int, expected: tuple[tuple[int, int, int], ...], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters(*FOUR, side=64).save(tmp_path / "a.jpg", quality=95, exif=exif)
    assert np.allclose(corners(tmp_path / "a.jpg") * 255, expected, atol=8)


def test_turning_swaps_height_and_width(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 24)).save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg").shape == (3, 40, 24)


@pytest.mark.filterwarnings("ignore:Tag data larger")
def test_damaged_exif_data_leave_the_pixels_as_they_are(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes()
    quarters(*FOUR, side=64).save(tmp_path / "a.jpg", quality=95, exif=data[:-9] + b"\xff" * 9)
    assert np.allclose(corners(tmp_path / "a.jpg") * 255, FOUR, atol=8)


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "moving.png"])
def test_of_an_animation_the_first_frame_is_taken(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    options = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    assert np.allclose(corners(tmp_path / name), [[1, 0, 0]] * 4)


def test_the_suffix_need_not_be_right(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(png_bytes(102))
    assert corners(tmp_path / "a.jpg") == pytest.approx(np.full((4, 3), 0.4))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "it is empty"),
        ("text.png", b"no image at all", "it is damaged, or not in a known image format"),
        ("cut.jpg", jpeg_bytes()[:-2000], "it is damaged or cut short"),
        ("cut.png", png_bytes(3, 40)[:-30], "it is damaged"),
        ("head.jpg", jpeg_bytes()[:30], "it is damaged"),
        ("large.png", huge_png(9000, 9000), r"9000 × 9000 pixels; the limit is 64 million pixels"),
        ("bomb.png", huge_png(60000, 60000), r"far more pixels; the limit is 64 million pixels"),
        ("nothing.png", huge_png(0, 5), "it is damaged"),
        (
            "eps.png",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "not in a known image format",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_unusable_image_is_named_with_its_reason(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    for function in (check, decode):
        with pytest.raises(BrokenImage, match=reason):
            function(tmp_path / name)
    assert (tmp_path / name).read_bytes() == content


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(BrokenImage, match="it no longer exists"):
        decode(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BrokenImage, match="Is a directory"):
        decode(tmp_path / "folder.png")


def test_the_limit_counts_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(5, side=10).save(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "MAX_PIXELS", 100)
    assert decode(tmp_path / "a.png").shape == (3, 10, 10)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 99)
    with pytest.raises(BrokenImage, match="10 × 10 pixels"):
        decode(tmp_path / "a.png")


@pytest.fixture
def five(tmp_path: Path) -> FileImages:
    for k in range(5):
        (tmp_path / f"{k}.png").write_bytes(png_bytes(k, side=4 + k))
    return FileImages(tmp_path, tuple(f"{k}.png" for k in range(5)))


def levels(images: FileImages) -> list[int]:
    return [round(float(image[0, 0, 0]) * 255) for image in images]


def test_a_lazy_sequence_of_images(five: FileImages) -> None:
    assert len(five) == 5
    assert [image.shape for image in five] == [(3, 4 + k, 4 + k) for k in range(5)]
    assert levels(five) == [0, 1, 2, 3, 4]
    assert np.array_equal(five[-1], five[4])
    assert np.array_equal(five[np.int64(2)], five[2])
    with pytest.raises(IndexError):
        five[5]


def test_a_part_of_a_lazy_sequence_is_one(five: FileImages) -> None:
    assert levels(five[np.array([3, 1])]) == [3, 1]
    assert levels(five[[4, 0, 4]]) == [4, 0, 4]
    assert levels(five[1:][[0, 2]]) == [1, 3]
    assert len(five[[]]) == len(five[np.zeros(0, np.int64)]) == 0


def test_an_image_is_altered_by_its_place_in_the_whole(five: FileImages) -> None:
    altered = FileImages(five.root, five.names, alter=lambda image, k: image + np.float32(k / 10))
    part = altered[[4, 2]][[1]]
    assert np.allclose(part[0], five[2] + 0.2)
    assert np.allclose(next(iter(part)), five[2] + 0.2)


def test_an_image_is_opened_only_when_it_is_needed(five: FileImages) -> None:
    (five.root / "3.png").unlink()
    some = five[[3, 1]]
    assert levels(some[[1]]) == [1]
    with pytest.raises(
        AssetError, match=r"The image 3\.png in .* cannot be read \(it no longer exists\)"
    ):
        list(some)
