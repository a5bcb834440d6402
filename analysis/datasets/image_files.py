"""Image files of any format and colour mode, decoded one at a time."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from analysis.datasets.value_ranges import Scale, Scales, ValueRange, common_scales
from analysis.errors import AssetError

Picture = NDArray[np.float32]  # (3, h, w), values in [0, 1]

MAX_PIXELS = 64_000_000  # of one image: 770 MB when decoded, and up to 2.8 GB while decoding
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".webp", ".avif", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm"),
)
# The formats Pillow reads that cameras and drawing programs write. EPS is left out on purpose: it
# is a program, which Ghostscript would run.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "HEIF")
_HEIC = (".heic", ".heif", ".hif")
_NO_HEIC = "HEIC images are not read here: pip install pillow-heif, or convert them to JPEG or PNG"
_NO_AVIF = "AVIF is not read here: update Pillow, or convert the images to JPEG"
_UNREAD = {
    **dict.fromkeys((".dcm", ".dicom"), "DICOM images"),
    **dict.fromkeys((".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2"), "raw images"),
    **dict.fromkeys((".svg", ".eps"), "vector drawings"),
    **dict.fromkeys((".npy", ".npz"), "arrays"),
    **{f".{name}": f"{name.upper()} images" for name in ("jxl", "psd", "exr", "hdr", "tga")},
}
# Brands in the first bytes of files that phones write, whatever the file is called.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
_DECODERS = {"HEIF": "pillow_heif", "AVIF": "pillow_avif"}  # packages that Pillow can use
_DRAFT = (64, 64)  # pixels: the smallest size to which a JPEG decoder may shrink
_NUMBERS = ("I", "F")  # first letters of the modes whose values are not 8-bit colours


class BrokenImage(Exception):
    """An image that cannot be used. The text is the reason, to follow its name."""


def is_image_name(name: str) -> bool:
    """Whether a file name has the ending of an image that can be read here."""
    ending = Path(name).suffix.lower()
    return ending in SUFFIXES or (ending in _HEIC and "HEIF" in _formats())


def why_unread(name: str) -> str:
    """Why a file that is an image to its owner is left out; empty for any other file."""
    ending = Path(name).suffix.lower()
    if ending in _HEIC and "HEIF" not in _formats():
        return _NO_HEIC
    if kind := _UNREAD.get(ending):
        return f"{kind} are not read here: convert them to PNG"
    return ""


def is_litter(name: str) -> bool:
    """Whether a file or folder is one that systems leave behind, which nobody means."""
    return name.startswith(".") or name.lower() in _LITTER


def display_name(name: str | Path) -> str:
    """A file name as text, even if its bytes are not valid text."""
    return os.fsencode(name).decode("utf-8", "replace")


def decode(path: Path, scales: Scales = ()) -> Picture:
    """Decode one image file, or the first frame of an animation.

    The image is turned upright by its EXIF data, transparency becomes white, and grey becomes
    three equal channels. Values beyond 8 bits are scaled.

    Parameters
    ----------
    path : Path
    scales : tuple, optional
        From `common_scales`, of the whole dataset; without them, this image has its own.

    Returns
    -------
    ndarray of float32 (3, h, w)
        Values in [0, 1].

    Raises
    ------
    BrokenImage
        With the reason.
    """
    with _open_image(path) as image:
        return _pixels(_turn_upright(image), dict(scales))


def check(path: Path) -> ValueRange | None:
    """Check that `decode` will succeed, at a fraction of its cost.

    Returns
    -------
    ValueRange or None
        The values of an image beyond 8 bits; None for 8-bit colours.

    Raises
    ------
    BrokenImage
        With the reason.
    """
    with _open_image(path, draft=True) as image:
        if image.mode.startswith(_NUMBERS):
            return _value_range(image, _numbers(image))
        _pixels(image.crop((0, 0, 1, 1)), {})  # one pixel shows whether colours convert
        return None


@contextmanager
def _open_image(path: Path, *, draft: bool = False) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BrokenImage(_too_large(f"{image.width} × {image.height} pixels"))
            if draft:
                image.draft(None, _DRAFT)
            image.load()
            yield image
    except BrokenImage:
        raise
    except Image.DecompressionBombError as error:
        raise BrokenImage(_too_large("far more pixels")) from error
    except UnidentifiedImageError as error:
        raise BrokenImage(_why_unknown(path)) from error
    except FileNotFoundError as error:
        raise BrokenImage("it no longer exists") from error
    except OSError as error:
        raise BrokenImage(error.strerror or "it is damaged or cut short") from error
    except MemoryError as error:
        raise BrokenImage("there is not enough memory to decode it") from error
    except Exception as error:  # Pillow's readers trust the numbers in a file, and may fail on them
        raise BrokenImage(f"it is damaged ({type(error).__name__})") from error


def _why_unknown(path: Path) -> str:
    """Why Pillow cannot identify a file: its first bytes say more than its name."""
    with path.open("rb") as file:
        start = file.read(64)
    kind = _BRANDS.get(start[8:12]) if start[4:8] == b"ftyp" else None
    if kind and kind not in _formats():
        return _NO_HEIC if kind == "HEIF" else _NO_AVIF
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer without the image: run “git lfs pull”"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, not an image: download it again"
    return "it is damaged, or not in a known image format" if start else "it is empty"


@lru_cache
def _formats() -> tuple[str, ...]:
    Image.init()
    for format_name, package in _DECODERS.items():
        if format_name not in Image.OPEN:
            with suppress(ImportError, OSError):
                module = importlib.import_module(package)
                getattr(module, "register_heif_opener", lambda: None)()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # some builds lack a few


def _too_large(size: str) -> str:
    return f"it has {size}; the limit is {MAX_PIXELS // 10**6} million pixels"


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data do not harm the pixels
        return image


def _pixels(image: Image.Image, scales: dict[str, Scale]) -> Picture:
    if image.mode.startswith(_NUMBERS):
        values = _numbers(image)
        own = _value_range(image, values)
        scale = scales.get(own.kind) or common_scales([own])[0][1]
        grey = scale.apply(values)
        return np.repeat(grey[None], 3, axis=0)
    if image.has_transparency_data:
        layered = _channels(image.convert("RGBA"))
        return layered[:3] * layered[3:] + (1 - layered[3:])
    return _channels(image.convert("RGB"))


def _channels(image: Image.Image) -> NDArray[np.float32]:
    pixels = np.asarray(image).transpose(2, 0, 1)
    values: NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32, order="C")
    return values


def _numbers(image: Image.Image) -> NDArray[np.float64]:
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise BrokenImage("it contains values that are not numbers")
    return values


def _value_range(image: Image.Image, values: NDArray[np.float64]) -> ValueRange:
    kind = "integer" if image.mode.startswith("I") else "float"
    return ValueRange(kind, float(values.min()), float(values.max()))


@dataclass(frozen=True, eq=False)
class FileImages(Sequence[Picture]):
    """Images in files, decoded on access and not kept.

    An integer gives one image, float32 (3, h, w) in [0, 1]; a slice or a list of positions gives
    `FileImages` again. An image that can no longer be read raises `AssetError` with its name.
    """

    root: Path
    names: tuple[str, ...]  # files, relative to `root`
    # Changes an image, given its position in the whole dataset; None: no change.
    alter: Callable[[Picture, int], Picture] | None = None
    scales: Scales = ()  # of the whole dataset
    positions: tuple[int, ...] = ()  # in the whole dataset; empty: 0, 1, 2, …
    # A sentence: what to do about an image that can no longer be read.
    remedy: str = "Restore the file, or try again to scan the folder anew."

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[np.int64]) -> FileImages: ...
    def __getitem__(
        self, index: int | slice | Sequence[int] | NDArray[np.int64]
    ) -> Picture | FileImages:
        if isinstance(index, int | np.integer):
            return self._decode(int(index))
        some = isinstance(index, slice) or len(index)
        chosen = np.arange(len(self))[index if some else slice(0)]
        return replace(
            self,
            names=tuple(self.names[k] for k in chosen),
            positions=tuple(self._position(k) for k in chosen),
        )

    def __iter__(self) -> Iterator[Picture]:
        return (self._decode(k) for k in range(len(self)))

    def _position(self, k: int) -> int:
        return self.positions[k] if self.positions else int(k)

    def _decode(self, k: int) -> Picture:
        name = self.names[k]
        try:
            image = decode(self.root / name, self.scales)
        except BrokenImage as error:
            where = f"{display_name(name)} in {display_name(self.root)}"
            raise AssetError(
                f"The image {where} cannot be read ({error}). {self.remedy}"
            ) from error
        return image if self.alter is None else self.alter(image, self._position(k))
