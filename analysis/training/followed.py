"""The loops of every layer by epoch of a training, and their file. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.errors import StoreError
from analysis.results import Float32
from analysis.system.home import replacing

MOST_BYTES = 4_000_000  # of all diagrams and maps of a training
MOST_SHARE = 0.1  # of the training's time, unless the user asks for it all the same
_VERSION = 1
_NOT_FINITE = -1  # instead of a number of loops
_STEPS = 32767  # of a map's coordinates, from 0 to the largest


@dataclass(frozen=True, eq=False)
class FollowedTopology:
    """The loops among the same few validation images, in every layer, while a network trained."""

    images: int
    epochs: tuple[int, ...] = ()  # after which they were measured; 0 is before the training
    # By layer, in execution order: H₁ births and deaths (k, 2) for each of `epochs`, None where
    # the activations are not finite. A layer before all that trains has one diagram, repeated.
    diagrams: Mapping[str, tuple[Float32 | None, ...]] | None = None
    note: str = ""  # for the user: why epochs are missing; empty if none is
    # By layer, as the diagrams: the images in the plane (images, 2), about as far apart as in the
    # layer. Runs of earlier versions have none.
    maps: Mapping[str, tuple[Float32 | None, ...]] | None = None
    classes: tuple[str, ...] = ()  # of the images: names, or numbers where these are not known

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
        """Of all diagrams and maps, as a file holds them before it is compressed."""
        diagrams = sum(each.nbytes for each in _every(self.diagrams))
        return diagrams + sum(each.size * np.int16().nbytes for each in _every(self.maps))


def save_followed(path: Path, followed: FollowedTopology) -> None:
    """Write what was followed, all or nothing.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    diagrams, maps = _stored(followed.diagrams), _stored(followed.maps)
    units, places = _in_steps(_every(followed.maps), followed.images)
    meta = {
        "version": _VERSION,
        "images": followed.images,
        "epochs": followed.epochs,
        "note": followed.note,
        "loops": {
            name: [_NOT_FINITE if each is None else len(each) for each in layer]
            for name, layer in diagrams.items()
        },
        "classes": followed.classes,
        "maps": {name: [each is not None for each in layer] for name, layer in maps.items()},
    }
    try:
        with replacing(path) as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
                loops=np.concatenate([np.zeros((0, 2), np.float32), *_every(followed.diagrams)]),
                units=units,
                places=places,
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
    diagrams = {
        str(name): _by_epoch([part if length >= 0 else None
                              for length, part in zip(layer, parts, strict=False)], epochs)
        for name, layer in meta["loops"].items()
    }  # fmt: skip
    images, maps = int(meta["images"]), None
    if meta.get("maps"):  # runs of earlier versions have none
        units, places = arrays["units"], arrays["places"]
        known = [there for layer in meta["maps"].values() for there in layer]
        if places.shape != (sum(known), images, 2) or not np.isfinite(units).all():
            raise ValueError("maps are missing")
        drawn = iter((places * units[:, None, None]).astype(np.float32))
        maps = {
            str(name): _by_epoch([next(drawn) if there else None for there in layer], epochs)
            for name, layer in meta["maps"].items()
        }
        if maps.keys() != diagrams.keys():
            raise ValueError("layers are missing")
    classes = tuple(map(str, meta.get("classes", ())))
    return FollowedTopology(images, epochs, diagrams, str(meta["note"]), maps, classes)


def _by_epoch(kept: list[Float32 | None], epochs: tuple[int, ...]) -> tuple[Float32 | None, ...]:
    """One for each epoch, of which a file holds one if all share it."""
    if len(kept) not in (1, len(epochs)):
        raise ValueError("epochs are missing")
    return tuple(kept if len(kept) == len(epochs) else kept * len(epochs))


def _in_steps(maps: list[Float32], images: int) -> tuple[Float32, NDArray[np.int16]]:
    """The coordinates as whole steps, and how long a step of each map is."""
    every = np.stack([np.zeros((images, 2), np.float32), *maps])[1:]
    units = np.abs(every).max(axis=(1, 2), initial=0.0) / _STEPS
    steps = every / np.where(units > 0, units, 1.0)[:, None, None]
    return units.astype(np.float32), steps.round().astype(np.int16)


def _stored(
    by_layer: Mapping[str, tuple[Float32 | None, ...]] | None,
) -> dict[str, tuple[Float32 | None, ...]]:
    return {name: _distinct(each) for name, each in (by_layer or {}).items()}


def _every(by_layer: Mapping[str, tuple[Float32 | None, ...]] | None) -> list[Float32]:
    """All that a file holds of these, in its order."""
    return [each for layer in _stored(by_layer).values() for each in layer if each is not None]


def _distinct(diagrams: tuple[Float32 | None, ...]) -> tuple[Float32 | None, ...]:
    """One diagram if all epochs share it."""
    return diagrams[:1] if all(each is diagrams[0] for each in diagrams) else diagrams
