"""What a person reads of a dataset or of weights that are their own."""

from __future__ import annotations

from pathlib import PurePath

from analysis.datasets import DATASETS, dataset_spec
from analysis.errors import OptionError


def dataset_name(name: str) -> str:
    """A dataset as the person knows it."""
    if name in DATASETS:
        return name
    try:
        return f"{dataset_spec(name).title} (yours)"
    except OptionError:  # removed meanwhile
        return name.partition(":")[2]


def weights_name(weights: str) -> str:
    """Weights as the person knows them."""
    kind, _, path = weights.partition(":")
    return f"{PurePath(path).stem} (yours)" if kind == "file" else weights
