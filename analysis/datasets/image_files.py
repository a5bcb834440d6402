"""Images as files: one decoded at a time, whatever its format and colours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from analysis.errors import AssetError

Picture = NDArray[np.float32]  # (3, h, w), values in [0, 1]

MAX_PIXELS = 64_000_000  # of one image: 770 MB when decoded, and up to 2.8 GB on the way there
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".webp", ".avif", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm"),
)
# Of all that Pillow reads, what cameras and drawing programs write. EPS is left out on purpose: it
# is a program, which Ghostscript would run.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")
_DRAFT = (64, 64)  # pixels: a JPEG's decoder may shrink to not less than this
_NUMBERS = ("I", "F")  # how the modes begin whose values are not 8-bit colours


class BrokenImage(Exception):
    """An image that cannot be used. The text is the reason, to stand after its name."""


def is_image_name(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return Path(name).suffix.lower() in SUFFIXES


def shown(name: str | Path) -> str:
    """A file's name as text, also when its bytes are none."""
    return os.fsencode(name).decode("utf-8", "replace")


def decode(path: Path) -> Picture:
    """Decode one image file; of an animation the first frame.

    It is turned as its EXIF data say, transparency is laid on white, and grey becomes three equal
    channels. 16-bit values are divided by 65535; other numbers beyond 8 bit that leave [0, 1] are
    stretched from their least to their greatest.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of float32 (3, h, w)
        Values in [0, 1].

    Raises
    ------
    BrokenImage
        With the reason.
    """
    with _loaded(path) as image:
        return _pixels(_upright(image))


def check(path: Path) -> None:
    """Make sure that `decode` will succeed, at a fraction of its cost.

    Raises
    ------
    BrokenImage
        With the reason.
    """
    with _loaded(path, draft=True) as image:
        # Numbers may be no numbers anywhere; whether colours convert, one pixel shows.
        _pixels(image if image.mode.startswith(_NUMBERS) else image.crop((0, 0, 1, 1)))


@contextmanager
def _loaded(path: Path, *, draft: bool = False) -> Iterator[Image.Image]:
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
        empty = path.stat().st_size == 0
        reason = "it is empty" if empty else "it is damaged, or no image in a known format"
        raise BrokenImage(reason) from error
    except FileNotFoundError as error:
        raise BrokenImage("it is gone") from error
    except OSError as error:
        raise BrokenImage(error.strerror or "it is damaged or cut short") from error
    except MemoryError as error:
        raise BrokenImage("there is not enough memory to decode it") from error
    except Exception as error:  # Pillow's readers trust the numbers in a file, and may stumble
        raise BrokenImage(f"it is damaged ({type(error).__name__})") from error


@lru_cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # a build may lack some


def _too_large(found: str) -> str:
    return f"it has {found}; at most {MAX_PIXELS // 10**6} million are decoded"


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # its EXIF data are damaged: the pixels are not
        return image


def _pixels(image: Image.Image) -> Picture:
    if image.mode.startswith(_NUMBERS):
        grey = _unit_range(image)
        return np.repeat(grey[None], 3, axis=0)
    if image.has_transparency_data:
        layered = _channels(image.convert("RGBA"))
        return layered[:3] * layered[3:] + (1 - layered[3:])
    return _channels(image.convert("RGB"))


def _channels(image: Image.Image) -> NDArray[np.float32]:
    pixels = np.asarray(image).transpose(2, 0, 1)
    values: NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32, order="C")
    return values


def _unit_range(image: Image.Image) -> NDArray[np.float32]:
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise BrokenImage("it holds values that are no numbers")
    least, most = values.min(), values.max()
    if image.mode.startswith("I") and least >= 0 and most <= 65535:
        return (values / 65535).astype(np.float32)
    if least < 0 or most > 1:
        values = (values - least) / (most - least or 1)
    return values.astype(np.float32)


@dataclass(frozen=True, eq=False)
class FileImages(Sequence[Picture]):
    """Images in files, decoded when they are asked for and not kept.

    An integer gives one image, float32 (3, h, w) in [0, 1]; a slice or a list of positions gives
    `FileImages` again. An image that has become unreadable raises `AssetError`, naming it.
    """

    root: Path
    names: tuple[str, ...]  # files, relative to `root`
    # What is done to an image, given its position in the whole dataset; None: nothing.
    alter: Callable[[Picture, int], Picture] | None = None
    positions: tuple[int, ...] = ()  # in the whole dataset; empty: as they come
    # A sentence: what to do about an image that cannot be read any more.
    remedy: str = "Put it back as it was, or ask again, so that the folder is looked through anew."

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
            return self._decoded(int(index))
        some = isinstance(index, slice) or len(index)
        chosen = np.arange(len(self))[index if some else slice(0)]
        return replace(
            self,
            names=tuple(self.names[k] for k in chosen),
            positions=tuple(self._position(k) for k in chosen),
        )

    def __iter__(self) -> Iterator[Picture]:
        return (self._decoded(k) for k in range(len(self)))

    def _position(self, k: int) -> int:
        return self.positions[k] if self.positions else int(k)

    def _decoded(self, k: int) -> Picture:
        name = self.names[k]
        try:
            image = decode(self.root / name)
        except BrokenImage as error:
            raise AssetError(
                f"The image {shown(name)} in {shown(self.root)} cannot be read ({error}). "
                + self.remedy
            ) from error
        return image if self.alter is None else self.alter(image, self._position(k))
