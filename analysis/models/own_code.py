"""A network that a function in a file of one's own builds. The file is run: command line only."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

from torch import nn

from analysis.errors import ModelError

INPUT_SIDE = 224  # pixels, unless the network has an `input_size`


def code_network(name: str, num_classes: int | None) -> tuple[nn.Module, bool]:
    """Run "<path>.py:<function>".

    Parameters
    ----------
    name : str
    num_classes : int, optional
        Given to the function if it has a parameter of that name.

    Returns
    -------
    nn.Module
    bool
        Whether the function was given the number of classes.

    Raises
    ------
    ModelError
        If the file or the function fails, with the line; if it gives something else.
    """
    file, _, function = name.rpartition(":")
    path = Path(file).resolve()
    with _told(path), _importable(path.parent), redirect_stdout(sys.stderr):
        module = _module(path)
        build = getattr(module, function, None)
        if not callable(build):
            raise ModelError(f"{path} has no function `{function}`.")
        takes = num_classes is not None and "num_classes" in _parameters(build)
        model = build(num_classes=num_classes) if takes else build()
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"`{function}` of {path} must give a torch.nn.Module, got {type(model).__name__}."
        )
    return model, takes


def side_of_code(model: nn.Module) -> int:
    """Pixels: what the network's `input_size` says, a number or a shape that ends in one."""
    size = getattr(model, "input_size", INPUT_SIDE)
    last = size[-1] if isinstance(size, (tuple, list)) and size else size
    return last if isinstance(last, int) and last > 0 else INPUT_SIDE


def _module(path: Path) -> ModuleType:
    # A name of its own: the file may be called like any package.
    name = f"bettiscope_code_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} cannot be read as Python.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parameters(build: Callable[..., object]) -> set[str]:
    try:
        return set(inspect.signature(build).parameters)
    except (TypeError, ValueError):  # written in C, say
        return set()


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """The file may import its neighbours, as if it were run itself."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in sys.modules.keys() - before:  # another file's may be called alike
            top = name.partition(".")[0]
            if top not in before and _lies_at(folder / top, sys.modules[name]):
                del sys.modules[name]


def _lies_at(place: Path, module: ModuleType) -> bool:
    """Whether it is a neighbour: packages of an environment inside the folder are none."""
    spec = getattr(module, "__spec__", None)
    found = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(str(each).startswith(str(place)) for each in found)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # whatever a person's own code may raise
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines = [error.lineno]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ModelError(f"{where}: {type(error).__name__}: {reason}") from error
