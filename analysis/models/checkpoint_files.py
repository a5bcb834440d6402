"""Read the tensors in a user's checkpoint of any kind, without running code in it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from analysis.errors import AssetError
from analysis.models.checkpoint_kinds import (
    folder_kind,
    foreign_kind,
    is_safetensors,
    old_torch_protocol,
)
from analysis.models.stand_ins import HarmfulPickleError, StandIn, load_with_stand_ins
from analysis.text import first_of

StateDict = dict[str, Tensor]
EXTRA = "_extra_state"  # torch's name for what `get_extra_state` of a module gives

_PROTOCOLS = (2, 3)  # that torch's restricted reader knows; torch.save writes the first
_DEEPEST = 32  # containers in containers
_SAVE = "save only the weights, with torch.save(model.state_dict(), …) or as safetensors."


@dataclass(eq=False)
class Contents:
    """What a checkpoint holds, each by the names of the containers around it, with dots."""

    tensors: StateDict = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # whatever is no tensor
    networks: list[str] = field(default_factory=list)  # classes of pickled networks
    # What modules store beside tensors; a `StandIn` in it cannot be used.
    extra: dict[str, object] = field(default_factory=dict)


def read_checkpoint(path: Path, *, called: str = "", most_bytes: float = math.inf) -> Contents:
    """The tensors of a file, on the CPU. No code in the file is run.

    Parameters
    ----------
    path : Path
        A safetensors file, or one of `torch.save`, whatever its name.
    called : str
        Its name in messages; by default the file's name.
    most_bytes : float
        A larger file is refused unread.

    Returns
    -------
    Contents
        Its tensors may share memory with the file: copy those you keep.

    Raises
    ------
    AssetError
        With a sentence or two that say why the file is refused, and what to do.
    """
    called = called or path.name
    _check_file(path, called, most_bytes)
    if kind := foreign_kind(path):
        raise AssetError(f"{called} {kind}")
    if is_safetensors(path) or Path(called).suffix.lower() == ".safetensors":
        return Contents(_from_safetensors(path, called))
    return _contents(_from_pickle(path, called), called)


def _check_file(path: Path, called: str, most_bytes: float) -> None:
    if path.is_dir():
        raise AssetError(f"{called} {folder_kind(path)}")
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise AssetError(f"{called} cannot be read ({error.strerror}).") from error
    if not size:
        raise AssetError(f"{called} is empty.")
    if size > most_bytes:
        raise AssetError(
            f"{called} has {size / 1e6:,.0f} MB, far more than the weights of this model: "
            f"the limit is {most_bytes / 1e6:,.0f} MB."
        )


def _from_safetensors(path: Path, called: str) -> StateDict:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # its own error, and torch's errors for odd types and sizes
        raise AssetError(
            f"{called} is damaged, or not a safetensors file ({_first_line(error)}). Download or "
            "save it again."
        ) from error


def _from_pickle(path: Path, called: str) -> object:
    archive = zipfile.is_zipfile(path)
    try:
        return load_with_stand_ins(path, archive=archive)
    except HarmfulPickleError as error:
        raise AssetError(
            f"{called} was refused because reading it could run code: it asks for "
            f"{', '.join(error.names[:3])}. Open it where it was made, and {_SAVE}"
        ) from error
    except Exception as error:  # a hostile file can make the reader raise anything
        protocol = _protocol_if_sound(path, error, archive=archive)
        if protocol is not None:
            what = "holds objects that"
            if protocol not in _PROTOCOLS:
                which = f"={protocol}" if protocol else " 0 or 1"
                what = f"was saved with pickle_protocol{which}, which"
            raise AssetError(
                f"{called} {what} cannot be read without running code. Open it where it was made, "
                f"and {_SAVE}"
            ) from error
        raise AssetError(
            f"{called} is damaged, or torch.save did not write it. Download or save it again."
        ) from error


def _protocol_if_sound(path: Path, error: Exception, *, archive: bool) -> int | None:
    """The protocol of a pickle that is whole, 0 for 0 and 1: its content cannot be read."""
    if not isinstance(error, (UnpicklingError, TypeError, AttributeError, ValueError, KeyError)):
        return None
    if not archive:
        protocol = old_torch_protocol(path)
        # One in another protocol could not be read even if it were whole.
        return None if protocol in _PROTOCOLS else protocol
    try:
        with zipfile.ZipFile(path) as zipped:
            names = [name for name in zipped.namelist() if Path(name).name == "data.pkl"]
            content = zipped.read(names[0])  # it checks the checksum
    except Exception:  # zipfile raises nearly anything for damage
        return None
    if not content.endswith(b"."):
        return None
    return content[1] if content.startswith(b"\x80") else 0


def _contents(loaded: object, called: str) -> Contents:
    contents = Contents()
    _collect(loaded, "", contents, set())
    if contents.tensors:
        return contents
    if contents.networks:
        raise AssetError(
            f"{called} is a whole model ({contents.networks[0]}), which only its own code can "
            f"open. Open it where it was made, and {_SAVE}"
        )
    if not isinstance(loaded, Mapping):
        what = f"a {type(loaded).__name__}, not weights by name"
    else:
        names = dict.fromkeys(name.partition(".")[0] for name in contents.others)
        what = f"no weights{', only ' if names else ''}{first_of(names, 5)}"
    raise AssetError(f"{called} contains {what}. Open it where it was made, and {_SAVE}")


def _collect(value: object, name: str, contents: Contents, seen: set[int], depth: int = 0) -> None:
    """Add everything in a container to the contents, each container once."""
    if isinstance(value, StandIn) and value.is_network:
        contents.networks.append(type(value).__name__)
    if name.rpartition(".")[2] == EXTRA:
        contents.extra.setdefault(name, value)
        return
    tensor = _as_tensor(value)
    if tensor is not None:
        if name:
            contents.tensors.setdefault(name, tensor)
    elif items := _items(value):
        if id(value) not in seen and depth < _DEEPEST:
            seen.add(id(value))
            for key, item in items:
                _collect(item, f"{name}.{key}" if name else key, contents, seen, depth + 1)
    elif name:
        contents.others.append(name)


def _items(value: object) -> list[tuple[str, object]]:
    """The named members of a container; none of a list of numbers or texts."""
    if isinstance(value, Mapping):
        return [(key if isinstance(key, str) else _text_of(key), v) for key, v in value.items()]
    if isinstance(value, list | tuple) and any(map(_may_hold_tensors, value)):
        return [(str(place), item) for place, item in enumerate(value)]
    return []


def _may_hold_tensors(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple | Tensor | np.ndarray)


def _text_of(key: object) -> str:
    if isinstance(key, bytes):  # Python 2 wrote names so
        return key.decode("utf-8", "replace")
    return str(key) if isinstance(key, int | float) else type(key).__name__


def _as_tensor(value: object) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    return None


def is_readable(value: object) -> bool:
    """Whether nothing in a value stands for an object whose class was not imported."""
    if isinstance(value, StandIn):
        return False
    if isinstance(value, Mapping):
        return all(map(is_readable, (*value.keys(), *value.values())))
    return all(map(is_readable, value)) if isinstance(value, list | tuple | set) else True


def repeating(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """The names of tensors in which one stored number stands for several.

    In a file of a few kilobytes, one number may stand for any number of them.
    """
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            continue  # refused for that when fitted to a network
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            yield name


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
