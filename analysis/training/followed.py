"""The loops of every layer by epoch of a training, and their file. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import StoreError
from analysis.results import Float32
from analysis.system.home import replacing

MOST_BYTES = 4_000_000  # of all diagrams of a training
MOST_SHARE = 0.1  # of the training's time, unless the user asks for it all the same
_VERSION = 1
_NOT_FINITE = -1  # instead of a number of loops


@dataclass(frozen=True, eq=False)
class FollowedTopology:
    """The loops among the same few validation images, in every layer, while a network trained."""

    images: int
    epochs: tuple[int, ...] = ()  # after which they were measured; 0 is before the training
    # By layer, in execution order: H₁ births and deaths (k, 2) for each of `epochs`, None where
    # the activations are not finite. A layer before all that trains has one diagram, repeated.
    diagrams: Mapping[str, tuple[Float32 | None, ...]] | None = None
    note: str = ""  # for the user: why epochs are missing; empty if none is

    def loops(self, layer: str) -> tuple[float, ...]:
        """b₁ of a layer by epoch; NaN where it is not finite."""
        diagrams = (self.diagrams or {})[layer]
        return tuple(float("nan") if each is None else float(len(each)) for each in diagrams)

    @property
    def layers(self) -> tuple[str, ...]:
        """In execution order."""
        return tuple(self.diagrams or {})

    @property
    def bytes(self) -> int:
        """Of all diagrams, as a file holds them before it is compressed."""
        kept = map(_distinct, (self.diagrams or {}).values())
        return sum(each.nbytes for layer in kept for each in layer if each is not None)


def save_followed(path: Path, followed: FollowedTopology) -> None:
    """Write what was followed, all or nothing.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    diagrams = {name: _distinct(each) for name, each in (followed.diagrams or {}).items()}
    every = [each for layer in diagrams.values() for each in layer if each is not None]
    meta = {
        "version": _VERSION,
        "images": followed.images,
        "epochs": followed.epochs,
        "note": followed.note,
        "loops": {
            name: [_NOT_FINITE if each is None else len(each) for each in layer]
            for name, layer in diagrams.items()
        },
    }
    try:
        with replacing(path) as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                loops=np.concatenate([np.zeros((0, 2), np.float32), *every]),
            )
    except OSError as error:
        raise StoreError(
            f"The topology by epoch could not be saved in {path.parent} ({error.strerror})."
        ) from error


def load_followed(path: Path) -> FollowedTopology:
    """Read what was followed.

    Raises
    ------
    StoreError
        If there is no such file, or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _followed(dict(arrays))
    except FileNotFoundError as error:
        raise StoreError(
            "No topology by epoch is stored with this run: it was not followed, or its file is "
            "gone."
        ) from error
    except Exception as error:  # numpy, zipfile and json raise nearly anything for damage
        raise StoreError(
            "The topology by epoch of this run cannot be read: its file is damaged."
        ) from error


def _followed(arrays: dict[str, Any]) -> FollowedTopology:
    meta = json.loads(arrays["meta"].tobytes())
    epochs, loops = tuple(map(int, meta["epochs"])), arrays["loops"]
    lengths = [max(0, length) for layer in meta["loops"].values() for length in layer]
    if meta["version"] != _VERSION or loops.shape != (sum(lengths), 2):
        raise ValueError("another version, or diagrams are missing")
    if not np.isfinite(loops).all():
        raise ValueError("births or deaths are not finite")
    parts = iter(np.split(loops.astype(np.float32), np.cumsum(lengths)[:-1]))
    diagrams = {}
    for name, layer in meta["loops"].items():
        own = [None if length < 0 else part for length, part in zip(layer, parts, strict=False)]
        if len(own) not in (1, len(epochs)):
            raise ValueError("epochs are missing")
        diagrams[str(name)] = tuple(own if len(own) == len(epochs) else own * len(epochs))
    return FollowedTopology(int(meta["images"]), epochs, diagrams, str(meta["note"]))


def _distinct(diagrams: tuple[Float32 | None, ...]) -> tuple[Float32 | None, ...]:
    """One diagram if all epochs share it."""
    return diagrams[:1] if all(each is diagrams[0] for each in diagrams) else diagrams
