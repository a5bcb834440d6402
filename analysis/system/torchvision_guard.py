"""Import torchvision, even with a CPU-only torch.

torchvision's wheels on PyPI are linked against a CUDA build of torch. With a
CPU build its compiled operators do not load, and `import torchvision` fails on
the missing `torchvision::nms`. Models, transforms and datasets need none of
those operators: declaring the two schemas that the import looks up is enough.
Always write `from analysis.system.torchvision_guard import torchvision`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
# A torch.library.Library removes its operators when it is garbage-collected.
_declared: list[torch.library.Library] = []


def _declare_missing_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring its missing operators only if the import fails.

    Returns
    -------
    module
        The `torchvision` package.

    Raises
    ------
    RuntimeError, ImportError
        What the import raises for any reason other than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare_missing_operators()
    return importlib.import_module("torchvision")


torchvision = import_torchvision()
