"""Build a network with a function in the user's file. This runs the file: command line only."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from torch import nn

from analysis.errors import ModelError
from analysis.instruments.output_flow import OWN_CODE
from analysis.instruments.wrappers import check_network, remove_wrappers
from analysis.models.code_facts import note_modules
from analysis.system.output import output_to_stderr

Built = TypeVar("Built")
_SOME_CLASSES = 10  # for functions that must be given a number


def built_anyhow(build: Callable[[int | None], Built]) -> Built:
    """What the user's code gives without a number of classes, or with one if it needs it."""
    try:
        return build(None)
    except ModelError:
        return build(_SOME_CLASSES)


def code_network(name: str, num_classes: int | None) -> tuple[nn.Module, bool]:
    """Run "<path>.py:<function>".

    Parameters
    ----------
    name : str
    num_classes : int, optional
        Passed to the function if it has a parameter of that name.

    Returns
    -------
    nn.Module
    bool
        Whether the function received the number of classes.

    Raises
    ------
    ModelError
        If the file or the function fails, with the line; if it returns something else.
    """
    file, _, function = name.rpartition(":")
    path = Path(file).resolve()
    with _report_errors(path), _import_path(path.parent), output_to_stderr():
        module = _run_file(path)
        build = getattr(module, function, None)
        if not callable(build):
            raise ModelError(f"{path} has no function `{function}`.")
        takes = num_classes is not None and "num_classes" in _parameters(build)
        model = build(num_classes=num_classes) if takes else build()
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"`{function}` in {path} must return a torch.nn.Module, got {type(model).__name__}."
        )
    model = remove_wrappers(model)
    check_network(model)
    tensors = (*model.parameters(), *model.buffers())
    if any(tensor.device.type not in ("cpu", "meta") for tensor in tensors):
        model = model.to("cpu")  # where it is looked at first, even if its code chose a GPU
    return model, takes


def _run_file(path: Path) -> ModuleType:
    # A unique name, because the file may have the name of a package.
    name = f"{OWN_CODE}{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} cannot be read as Python.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parameters(build: Callable[..., object]) -> set[str]:
    try:
        return set(inspect.signature(build).parameters)
    except (TypeError, ValueError):  # for example, written in C
        return set()


@contextmanager
def _import_path(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as if Python ran it directly."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        note_modules(sys.modules.keys() - before)
        sys.path.remove(str(folder))
        # Another file may have neighbours of that name. All are found before any goes: a package
        # without an `__init__.py` looks its parent up to say where it lies.
        neighbours = [
            name
            for name in sys.modules.keys() - before
            if (top := name.partition(".")[0]) not in before
            and _lies_at(folder / top, sys.modules[name])
        ]
        for name in neighbours:
            del sys.modules[name]


def _lies_at(place: Path, module: ModuleType) -> bool:
    """Whether it is a neighbour; packages of an environment inside the folder are not."""
    spec = getattr(module, "__spec__", None)
    paths = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(str(path).startswith(str(place)) for path in paths)


@contextmanager
def _report_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines = [error.lineno]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ModelError(f"{where}: {type(error).__name__}: {reason}") from error
