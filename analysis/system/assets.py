"""The bundled files in assets/: find them, and read them with their checksum verified."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import AssetError

ASSETS = Path(__file__).resolve().parents[2] / "assets"
_REMEDY = "run `make assets` or restore it with git"


@dataclass(frozen=True)
class AssetEntry:
    """One line of assets/manifest.json."""

    path: Path
    sha256: str
    test_accuracy: float | None  # share of the Fashion-MNIST test images; None for data


def asset_entry(name: str) -> AssetEntry:
    """The manifest's entry for one asset, such as "pocket-resnet20" or "fashion".

    Raises
    ------
    AssetError
        If the manifest is missing, damaged, or does not list the asset.
    """
    manifest = ASSETS / "manifest.json"
    try:
        entries = json.loads(_read(manifest))
        if name not in entries:
            raise AssetError(f"{manifest} does not list {name}: {_REMEDY}")
        entry = entries[name]
        accuracy = entry.get("test_accuracy")
        return AssetEntry(
            path=ASSETS / entry["file"],
            sha256=str(entry["sha256"]),
            test_accuracy=None if accuracy is None else float(accuracy),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AssetError(f"{manifest} is damaged: {_REMEDY}") from error


def read_asset(name: str) -> bytes:
    """Read the file of one asset and check it against the manifest.

    The file is read once, so the returned bytes are those of the checksum.

    Raises
    ------
    AssetError
        If the file is missing or damaged, with its path.
    """
    entry = asset_entry(name)
    data = _read(entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise AssetError(
            f"{entry.path} is damaged (its SHA-256 differs from the manifest): {_REMEDY}"
        )
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise AssetError(f"{path} is missing: {_REMEDY}") from error
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror}): {_REMEDY}") from error
