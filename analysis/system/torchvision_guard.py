"""Import torchvision, even with a CPU-only torch, and without torch's compiler.

torchvision's wheels on PyPI are linked against a CUDA build of torch. With a
CPU build its compiled operators do not load, and `import torchvision` fails on
the missing `torchvision::nms`. Models, transforms and datasets need none of
those operators: declaring the two schemas that the import looks up is enough.

One function of the compiler is imported for a single operator, and another keeps it out of a
function of the transforms. With them comes the compiler, which takes nearly as long as torch
itself. It is imported when it is needed.

Always write `from analysis.system.torchvision_guard import torchvision`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
# A torch.library.Library removes its operators when it is garbage-collected.
_declared: list[torch.library.Library] = []
_COMPILER = "torch._dynamo.utils"


class _LateCompiler(ModuleType):
    """Stands for the compiler's module until something else of it is needed."""

    @staticmethod
    def is_compile_supported(device: Any) -> Any:
        return importlib.import_module(_COMPILER).is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _end_late(self)
        return getattr(importlib.import_module(_COMPILER), name)


def _end_late(late: _LateCompiler) -> None:
    if sys.modules.get(_COMPILER) is late:
        del sys.modules[_COMPILER]


@contextmanager
def _late_compiler() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    sys.modules[_COMPILER] = late = _LateCompiler(_COMPILER)
    disable = torch.compiler.disable
    # The same, but it imports the compiler with the first call.
    torch.compiler.disable = torch._disable_dynamo  # type: ignore[attr-defined, assignment]
    try:
        yield
    finally:
        torch.compiler.disable = disable
        _end_late(late)


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


with _late_compiler():
    torchvision = import_torchvision()
    with suppress(ImportError):
        importlib.import_module("torchvision.tv_tensors")  # which the transforms import
