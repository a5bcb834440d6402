"""Read the input side from the shapes in a checkpoint, before its weights are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.models.checkpoint_kinds import foreign_kind, is_safetensors

_MOST_HEADER = 2**24  # bytes


def vit_side(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The input side in pixels of a vision transformer's weights; 0 for other networks.

    Their names may have any prefix.
    """
    positions = _first(shapes, "encoder.pos_embedding")
    patches = _first(shapes, "conv_proj.weight")
    if len(positions) != 3 or len(patches) != 4:
        return 0
    return math.isqrt(max(0, positions[1] - 1)) * patches[-1]


def _first(shapes: Mapping[str, tuple[int, ...]], ending: str) -> tuple[int, ...]:
    names = (name for name in shapes if f".{name}".endswith(f".{ending}"))
    return shapes.get(next(names, ""), ())


def checkpoint_side(path: Path) -> int:
    """The same for a file; 0 also if it cannot be read, which loading it reports.

    Only a file of torch.save needs torch.
    """
    try:
        stat = path.stat()
        return _side(path, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _side(path: Path, *_: int) -> int:
    if is_safetensors(path):
        return vit_side(_header(path))
    if foreign_kind(path):
        return 0
    from analysis.errors import AssetError
    from analysis.models.checkpoint_files import read_checkpoint

    try:
        tensors = read_checkpoint(path).tensors
        return vit_side({key: tuple(tensor.shape) for key, tensor in tensors.items()})
    except AssetError:
        return 0


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            entries: dict[str, Any] = json.loads(file.read(min(length, _MOST_HEADER)))
            return {key: tuple(map(int, entry.get("shape", ()))) for key, entry in entries.items()}
        except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
            return {}
