"""Have torchvision's weights in torch hub's cache. It needs no torch: faults are told soon."""

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
    """Fetch what `load_model` would, if that is torchvision's and not there yet.

    Raises
    ------
    OptionError
        If there is no such model.
    AssetError
        If the weights cannot be fetched.
    """
    spec = model_spec(name)
    if chosen := spec.weight_set(weights):
        fetch_weight_set(spec, chosen, progress)


def megabytes_to_fetch(name: str, weights: str) -> float:
    """The size of what `fetch_weights` would have to fetch.

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
    """The file of a weight set, which is fetched first if it is not there."""
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
    """Where torch hub keeps a file, and so do we."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser()
    return home / "hub" / "checkpoints" / chosen.file
