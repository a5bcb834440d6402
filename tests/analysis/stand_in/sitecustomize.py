"""First on PYTHONPATH, this gives worker processes a training that the test controls.

Everything else in them is real. They start quickly, since nothing imports torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_FILES = {
    "analysis.training.fine_tune": "training.py",
    "analysis.topology.pipeline": "pipeline.py",
    "analysis.models.loading": "nothing.py",
    "sklearn.datasets": "nothing.py",
    "torch": "threads.py",
}


class _StandIns:
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _FILES:
            return None
        return spec_from_file_location(name, Path(__file__).with_name(_FILES[name]))


sys.meta_path.insert(0, _StandIns())
