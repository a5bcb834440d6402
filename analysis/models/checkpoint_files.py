"""Read the tensors in a user's checkpoint of any kind, without running code in it."""

from __future__ import annotations

import math
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from analysis.errors import AssetError
from analysis.models.names import CHECKPOINT_ENDINGS
from analysis.text import first_of

StateDict = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_MOST_CODES = 10_000  # of a pickle are read


def read_checkpoint(path: Path, *, called: str = "", most_bytes: float = math.inf) -> StateDict:
    """The tensors of a file, on the CPU. No code in the file is run.

    Parameters
    ----------
    path : Path
        A `.safetensors` file, or a `.pt` or `.pth` file of `torch.save`.
    called : str
        Its name in messages; by default the file's name.
    most_bytes : float
        A larger file is refused unread.

    Returns
    -------
    dict of str to Tensor
        They may share memory with the file: copy those you keep.

    Raises
    ------
    AssetError
        With one sentence that says why the file is refused.
    """
    called = called or path.name
    _check_file(path, called, most_bytes)
    if Path(called).suffix.lower() == ".safetensors":
        return _from_safetensors(path, called)
    return _tensors(_unwrap(_from_pickle(path, called), called), called)


def _check_file(path: Path, called: str, most_bytes: float) -> None:
    if Path(called).suffix.lower() not in CHECKPOINT_ENDINGS:
        raise AssetError(f"The name of {called} must end in {', '.join(CHECKPOINT_ENDINGS)}.")
    if path.is_dir():
        raise AssetError(f"{called} is a folder, not a checkpoint.")
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
            f"{called} is damaged, or not a safetensors file ({_first_line(error)})."
        ) from error


def _from_pickle(path: Path, called: str) -> object:
    archive = zipfile.is_zipfile(path)
    if archive:
        _check_archive(path, called)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # a hostile file can make the reader raise anything
        names = _unsafe_globals(path, error)
        if names:
            raise AssetError(
                f"{called} was refused because reading it could run code: it asks for "
                f"{', '.join(names[:3])}. Save only the weights, with "
                "torch.save(model.state_dict(), …) or as safetensors."
            ) from error
        raise AssetError(f"{called} is damaged, or torch.save did not write it.") from error


def _check_archive(path: Path, called: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise AssetError(f"{called} is damaged ({_first_line(error)}).") from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise AssetError(
            f"{called} is a TorchScript archive, which contains code: save only the weights, with "
            "torch.save(model.state_dict(), …)."
        )
    # torch.save never compresses; a few compressed megabytes may expand to any size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise AssetError(f"{called} is a compressed archive, which torch.save does not write.")


def _unsafe_globals(path: Path, error: Exception) -> list[str]:
    """The names that a pickle imports beyond tensors."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # a bare pickle, not an archive: torch's error may name the first
        return re.findall(r"GLOBAL ([\w.]+)", str(error))[:1] or _stacked_globals(path)


def _stacked_globals(path: Path) -> list[str]:
    """The first import in a pickle of a newer protocol: a module and a name from its stack."""
    texts: list[str] = []
    with suppress(Exception), path.open("rb") as file:  # it may hold anything, and end anywhere
        for code, argument, _ in islice(pickletools.genops(file), _MOST_CODES):
            if code.name == "STACK_GLOBAL":
                return [".".join(texts[-2:])]
            if isinstance(argument, str):
                texts.append(argument)
    return []


def _unwrap(loaded: object, called: str) -> Mapping[Any, object]:
    if isinstance(loaded, Mapping):
        for key in _WRAPPERS:
            if isinstance(loaded.get(key), Mapping):
                return loaded[key]  # type: ignore[no-any-return]
        return loaded
    raise AssetError(f"{called} contains a {type(loaded).__name__}, not weights by name.")


def _tensors(loaded: Mapping[Any, object], called: str) -> StateDict:
    state = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
    others = [key for key in loaded if key not in state or not isinstance(key, str)]
    if others:
        raise AssetError(
            f"{called} contains more than tensors by name: {first_of(map(str, others))}. Save "
            "only the weights, or put them under the key “state_dict”."
        )
    if not state:
        raise AssetError(f"{called} contains no weights.")
    # In a file of a few kilobytes, one number may stand for any number of them.
    repeated = [key for key, tensor in state.items() if _repeats(tensor)]
    if repeated:
        raise AssetError(
            f"{called} does not store every number of {first_of(repeated)}. Call contiguous() on "
            "each tensor before you save the weights."
        )
    return state


def _repeats(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_meta:  # refused when fitted to a network
        return False
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
