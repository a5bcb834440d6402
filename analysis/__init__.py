"""BettiScope's computation: the topology of a network's layers, and what to train.

Names are imported when first used, so that a process that only reads saved analyses never
loads torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

# Large activations are allocated afresh for each layer; with huge pages the operating system
# hands them out up to twice as fast. torch reads it at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from analysis.datasets import list_datasets, load_dataset
    from analysis.errors import AnalysisError
    from analysis.models import list_models, load_model, prepare_images
    from analysis.options import PRESETS, AnalysisOptions
    from analysis.pipeline import analyze, run
    from analysis.results import Clustering, LayerTopology, TopologyReport
    from analysis.scores import NORMALIZATIONS, score
    from analysis.selection import select

_HOMES = {
    "datasets": ["list_datasets", "load_dataset"],
    "errors": ["AnalysisError"],
    "models": ["list_models", "load_model", "prepare_images"],
    "options": ["PRESETS", "AnalysisOptions"],
    "pipeline": ["analyze", "run"],
    "results": ["Clustering", "LayerTopology", "TopologyReport"],
    "scores": ["NORMALIZATIONS", "score"],
    "selection": ["select"],
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "NORMALIZATIONS",
    "PRESETS",
    "AnalysisError",
    "AnalysisOptions",
    "Clustering",
    "LayerTopology",
    "TopologyReport",
    "analyze",
    "list_datasets",
    "list_models",
    "load_dataset",
    "load_model",
    "prepare_images",
    "run",
    "score",
    "select",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
