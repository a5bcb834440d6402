"""BettiScope's computation: the topology of a network's layers, and what to train.

Names are imported when first used, so that a process that only reads saved analyses never
loads torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from analysis.version import __version__

# Large activations are allocated afresh for each layer; with huge pages the operating system
# hands them out up to twice as fast. torch reads it at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Threads that wait for each other sleep rather than spin: whenever another process wants a core,
# spinning makes the many short steps of a small network ten times slower. Read at torch's import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from analysis.datasets import list_datasets, load_dataset
    from analysis.errors import AnalysisError
    from analysis.models import list_models, load_model, prepare_images
    from analysis.options import PRESETS, AnalysisOptions, Recipe, RunOptions
    from analysis.results import Clustering, LayerTopology, TopologyReport
    from analysis.selection.ranking import select
    from analysis.selection.scores import NORMALIZATIONS, score
    from analysis.selection.strategies import STRATEGIES
    from analysis.topology.layer_tests import rotation_tests
    from analysis.topology.pipeline import analyze, analyze_named, run
    from analysis.topology.rotation import rotation_test
    from analysis.training.fine_tune import Training
    from analysis.training.freezing import freeze, parameters_of
    from analysis.training.loop import finetune
    from analysis.training.prediction import predict_peak
    from analysis.training.splits import TensorImages

_HOMES = {
    "datasets": ["list_datasets", "load_dataset"],
    "errors": ["AnalysisError"],
    "models": ["list_models", "load_model", "prepare_images"],
    "options": ["PRESETS", "AnalysisOptions", "Recipe", "RunOptions"],
    "results": ["Clustering", "LayerTopology", "TopologyReport"],
    "selection.ranking": ["select"],
    "selection.scores": ["NORMALIZATIONS", "score"],
    "selection.strategies": ["STRATEGIES"],
    "topology.layer_tests": ["rotation_tests"],
    "topology.pipeline": ["analyze", "analyze_named", "run"],
    "topology.rotation": ["rotation_test"],
    "training.fine_tune": ["Training"],
    "training.freezing": ["freeze", "parameters_of"],
    "training.loop": ["finetune"],
    "training.prediction": ["predict_peak"],
    "training.splits": ["TensorImages"],
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "NORMALIZATIONS",
    "PRESETS",
    "STRATEGIES",
    "AnalysisError",
    "AnalysisOptions",
    "Clustering",
    "LayerTopology",
    "Recipe",
    "RunOptions",
    "TensorImages",
    "TopologyReport",
    "Training",
    "__version__",
    "analyze",
    "analyze_named",
    "finetune",
    "freeze",
    "list_datasets",
    "list_models",
    "load_dataset",
    "load_model",
    "parameters_of",
    "predict_peak",
    "prepare_images",
    "rotation_test",
    "rotation_tests",
    "run",
    "score",
    "select",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
