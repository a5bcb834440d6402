"""What the frozen part of a network gives for images, one row for each: in memory or on disk."""

from __future__ import annotations

import errno
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from analysis.system.memory import host_bytes
from analysis.training.cut import Row

MOST_IN_MEMORY = 2 * 10**9  # bytes
MEMORY_SHARE = 1 / 4  # of what is free
DISK_SHARE = 1 / 2  # of what is free: other programs need some
_ALIGNED = 64  # bytes
_BLOCK = 2**24  # bytes that are written at once


class NoRoomError(Exception):
    """Neither the memory nor the disk has room; the end of a sentence that says so."""


class FeatureStore:
    """Rows of several tensors, by the image that they belong to.

    If the disk is full after all, it forgets everything and says why in `failure`. A scratch file
    has no name, so that it is gone with the process, however that ends.

    Parameters
    ----------
    images : int
    rows : sequence of Row
        Of each tensor.
    pinned : bool
        Whether the memory is page-locked, from which a GPU copies faster.
    folder : Path, optional
        Of the scratch file; None keeps everything in memory.

    Raises
    ------
    NoRoomError
        If the disk has no room.
    """

    def __init__(
        self, images: int, rows: Sequence[Row], *, pinned: bool = False, folder: Path | None = None
    ) -> None:
        self.known = torch.zeros(images, dtype=torch.bool)
        self.failure = ""  # why nothing is kept; the end of a sentence
        self._rows = tuple(rows)
        self._file: IO[bytes] | None = None
        shapes = [tuple(row.shape[axis - 1] for axis in row.order[1:]) for row in rows]
        if folder is None:
            self._tensors = [
                _empty((images, *shape), row.dtype, pinned)
                for shape, row in zip(shapes, rows, strict=True)
            ]
            return
        self._starts = _starts(images, rows)
        self._file = _scratch_file(folder, self._starts[-1])
        content = mmap.mmap(self._file.fileno(), self._starts[-1])
        self._tensors = [
            torch.frombuffer(
                content, dtype=row.dtype, count=images * math.prod(shape), offset=start
            ).view(images, *shape)
            for start, shape, row in zip(self._starts[:-1], shapes, rows, strict=True)
        ]

    @property
    def bytes(self) -> int:
        """Of all rows."""
        return len(self.known) * sum(row.bytes for row in self._rows)

    @property
    def in_memory(self) -> list[Tensor]:
        """The tensors that take memory."""
        return [self.known] if self._file is not None else [self.known, *self._tensors]

    @property
    def on_disk(self) -> bool:
        """Whether the rows are in a file."""
        return self._file is not None

    def put(self, images: Tensor, tensors: Sequence[Tensor]) -> None:
        """Keep the rows of some images."""
        if self.failure:
            return
        try:
            self._put(images, tensors)
        except OSError as error:
            self.failure = _why(error)
            self.known[:] = False
            self.close()

    def _put(self, images: Tensor, tensors: Sequence[Tensor]) -> None:
        for number, (row, tensor) in enumerate(zip(self._rows, tensors, strict=True)):
            rows = tensor.detach().permute(row.order).to("cpu")
            if self._file is None:
                self._tensors[number][images] = rows
            else:
                self._write(number, images, rows)
        self.known[images] = True

    def get(self, images: Tensor) -> list[Tensor]:
        """Copies of the rows of some images, with the axes of the tensors that were put."""
        copies = []
        for row, tensor in zip(self._rows, self._tensors, strict=True):
            inverse = sorted(range(len(row.order)), key=row.order.__getitem__)
            copies.append(tensor.index_select(0, images).permute(inverse))
        return copies

    def close(self) -> None:
        """Free the memory or the disk."""
        self._tensors = []
        if self._file is not None:
            self._file.close()

    def _write(self, number: int, images: Tensor, rows: Tensor) -> None:
        # Not through the memory map: on a full disk that would end the process.
        assert self._file is not None
        size = self._rows[number].bytes
        flat = rows.contiguous().reshape(len(rows), -1).view(torch.uint8).numpy()
        for image, row in zip(images.tolist(), flat, strict=True):
            self._file.seek(self._starts[number] + image * size)
            if self._file.write(row.data) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_stores(
    counts: Sequence[tuple[int, Sequence[Row]]], *, device: torch.device, folder: Path
) -> list[FeatureStore]:
    """Stores for several sets of images: all in memory if there is room, else all on disk.

    Parameters
    ----------
    counts : sequence of (int, sequence of Row)
        The number of images of each set, and the rows of each image.
    device : torch.device
        Where the rows are needed.
    folder : Path
        For scratch files.

    Raises
    ------
    NoRoomError
        If the disk has no room either.
    """
    size = sum(images * sum(row.bytes for row in rows) for images, rows in counts)
    in_memory = size <= min(MOST_IN_MEMORY, MEMORY_SHARE * host_bytes())
    pinned = device.type == "cuda"
    stores: list[FeatureStore] = []
    try:
        for images, rows in counts:
            where = None if in_memory else folder
            stores.append(FeatureStore(images, rows, pinned=pinned, folder=where))
    except NoRoomError:
        for store in stores:
            store.close()
        raise
    return stores


def _empty(shape: tuple[int, ...], dtype: torch.dtype, pinned: bool) -> Tensor:
    if pinned:
        with suppress(RuntimeError):  # the system allows less page-locked memory
            return torch.empty(shape, dtype=dtype, pin_memory=True)
    return torch.empty(shape, dtype=dtype)


def _starts(images: int, rows: Sequence[Row]) -> list[int]:
    """Where each tensor begins in a file, and where the file ends; bytes."""
    starts = [0]
    for row in rows:
        end = starts[-1] + images * row.bytes
        starts.append(-(-end // _ALIGNED) * _ALIGNED)
    return starts


def _scratch_file(folder: Path, size: int) -> IO[bytes]:
    """A file without a name, with its place on the disk reserved."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if size > DISK_SHARE * shutil.disk_usage(folder).free:
            raise NoRoomError("the disk has too little space for its results")
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - stays open
        try:
            _reserve(file, size)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise NoRoomError(_why(error)) from error
    return file


def _reserve(file: IO[bytes], size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(_BLOCK)
    for start in range(0, size, _BLOCK):
        file.write(block[: size - start])


def _why(error: OSError) -> str:
    return f"its results cannot be written to the disk ({error.strerror or error})"
