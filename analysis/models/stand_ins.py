"""Read a pickle of torch.save without importing the classes that it names."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

_HARMFUL = {
    "_pickle", "asyncio", "code", "commands", "ctypes", "importlib", "marshal", "multiprocessing",
    "nt", "os", "pickle", "pip", "posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys",
    "threading", "webbrowser",
}  # fmt: skip
_HARMLESS_BUILTINS = {
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "getattr", "int",
    "list", "object", "range", "set", "slice", "str", "tuple",
}  # fmt: skip
_MOST_NAMES = 1000  # of classes in one file


class HarmfulPickleError(Exception):
    """A pickle names functions that could do harm; `names` lists them."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


class _TakenForDict(type):
    """Torch's reader fills the items of dictionaries only, and compares the class to find them."""

    def __eq__(cls, other: object) -> bool:
        return cls is other or other is OrderedDict

    __hash__ = type.__hash__


class StandIn(dict[Any, Any], metaclass=_TakenForDict):
    """Stands for an object whose class is not imported: none of its code runs."""

    state: object = None  # what the object held, if it had any

    def __new__(cls, *_: object, **__: object) -> StandIn:
        return dict.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        self.state = state

    __hash__ = object.__hash__  # type: ignore[assignment]

    @property
    def is_network(self) -> bool:
        """Whether it stands for a pickled `torch.nn.Module`."""
        return isinstance(self.state, dict) and "_modules" in self.state


def load_with_stand_ins(path: Path, *, archive: bool) -> object:
    """What `torch.save` wrote, with a `StandIn` for each object beside tensors and containers.

    Torch's own restricted reader does the work, and is told of no class but stand-ins and
    NumPy's arrays.

    Parameters
    ----------
    path : Path
    archive : bool
        Whether it is a zip, as torch.save writes since version 1.6.

    Raises
    ------
    HarmfulPickleError
        If it names functions that could do harm.
    UnpicklingError, Exception
        Nearly anything, if the file is damaged or hostile.
    """
    names: set[str] = set()
    if archive:
        with suppress(Exception):  # of a damaged file; then reading it says so
            names |= set(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    names -= {name for _, name in _NUMPY}
    while True:
        _check_harmless(names)
        allowed: list[Any] = [*_NUMPY, *((_stand_in(name), name) for name in names)]
        try:
            with (
                torch.serialization.safe_globals(allowed),
                warnings.catch_warnings(action="ignore"),
            ):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
        except UnpicklingError as error:  # which names one class of an older file
            more = {_full_name(name) for name in re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]}
            if not more - names or len(names) > _MOST_NAMES:
                raise
            names |= more


def _check_harmless(names: Iterable[str]) -> None:
    harmful = sorted(name for name in names if _is_harmful(*name.split(".")))
    if harmful:
        raise HarmfulPickleError(harmful)


def _is_harmful(package: str, *rest: str) -> bool:
    if package in ("builtins", "__builtin__"):
        return bool(rest) and rest[0] not in _HARMLESS_BUILTINS
    return package in _HARMFUL


def _full_name(name: str) -> str:
    return name if "." in name else f"builtins.{name}"  # torch leaves that word out


def _stand_in(name: str) -> Callable[..., object]:
    if name == "collections.deque":
        return lambda *_: []  # which torch's reader fills
    return _TakenForDict(name, (StandIn,), {})


def _numpy_globals() -> list[tuple[Any, str]]:
    """What NumPy's arrays and numbers are pickled with. It runs no code from the file."""
    array, number = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    return [
        *((array, f"{module}._reconstruct") for module in modules),
        *((number, f"{module}.scalar") for module in modules),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        *(
            (kind, f"numpy.dtypes.{name}")
            for name, kind in vars(np.dtypes).items()
            if name[:1] != "_"
        ),
    ]


_NUMPY = _numpy_globals()
