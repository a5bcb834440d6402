"""Download torchvision's weights to torch hub's cache. Needs no torch, so it fails early."""

from __future__ import annotations

import os
from pathlib import Path

from analysis.models.catalogue import ModelSpec, WeightSet
from analysis.models.names import model_spec
from analysis.progress import ProgressCallback
from analysis.system.downloads import fetch

_INSTEAD = (
    "Use weights = random, a checkpoint of your own, or a pocket model, which ships with "
    "BettiScope."
)


def fetch_weights(name: str, weights: str, progress: ProgressCallback | None = None) -> None:
    """Download the weights that `load_model` needs, if they are torchvision's and missing.

    Raises
    ------
    OptionError
        If there is no such model.
    AssetError
        If the weights cannot be downloaded.
    """
    spec = model_spec(name)
    if chosen := spec.weight_set(weights):
        fetch_weight_set(spec, chosen, progress)


def megabytes_to_fetch(name: str, weights: str) -> float:
    """The size of the download that `fetch_weights` would make.

    Raises
    ------
    OptionError
        If there is no such model.
    """
    chosen = model_spec(name).weight_set(weights)
    return chosen.megabytes if chosen and not cached_file(chosen).is_file() else 0.0


def fetch_weight_set(
    spec: ModelSpec, chosen: WeightSet, progress: ProgressCallback | None = None
) -> Path:
    """Download a weight set unless it is cached, and return its file."""
    file = cached_file(chosen)
    fetch(
        chosen.url,
        file,
        checksum=f"sha256:{chosen.sha256}",
        what=f"The pre-trained weights of {spec.name}",
        instead=_INSTEAD,
        progress=progress,
    )
    return file


def cached_file(chosen: WeightSet) -> Path:
    """The path in torch hub's cache, which we share."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser()
    return home / "hub" / "checkpoints" / chosen.file
