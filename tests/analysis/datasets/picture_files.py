"""Image files with known pixels, made by hand, and folders of them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def quarters(*colours: tuple[int, int, int], side: int = 16) -> Image.Image:
    """Four colours: top left, top right, bottom left, bottom right."""
    image = Image.new("RGB", (side, side))
    for k, colour in enumerate(colours):
        half = side // 2
        image.paste(colour, (k % 2 * half, k // 2 * half, (k % 2 + 1) * half, (k // 2 + 1) * half))
    return image


def plain(level: int, side: int = 6) -> Image.Image:
    """One grey."""
    return Image.new("RGB", (side, side), (level,) * 3)


def png_bytes(level: int = 0, side: int = 6) -> bytes:
    buffer = io.BytesIO()
    plain(level, side).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_bytes(side: int = 64) -> bytes:
    """Noise: no part of it can be left out."""
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def class_folders(root: Path, counts: dict[str, int]) -> Path:
    """PNG files 0.png, 1.png, … in one folder a class; each image has a grey of its own."""
    level = 0
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            (root / name / f"{k}.png").write_bytes(png_bytes(level))
            level += 1
    return root


def level_of(image: np.ndarray) -> int:
    """The grey that `class_folders` gave an image."""
    return round(float(image[0, 0, 0]) * 255)
