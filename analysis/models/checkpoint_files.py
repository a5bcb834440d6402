"""Read the tensors in a checkpoint of one's own, whatever the file may be. No code in it is run."""

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
_MOST_CODES = 10_000  # of a pickle are looked at


def read_checkpoint(path: Path, *, called: str = "", most_bytes: float = math.inf) -> StateDict:
    """The tensors of a file, on the CPU. No code in the file is run.

    Parameters
    ----------
    path : Path
        A `.safetensors` file, or a `.pt` or `.pth` file of `torch.save`.
    called : str
        What the person calls it; by default its name.
    most_bytes : float
        A larger file is refused unread.

    Returns
    -------
    dict of str to Tensor
        They may share memory with the file: copy what is kept.

    Raises
    ------
    AssetError
        With one sentence that says why the file is refused.
    """
    called = called or path.name
    _check_file(path, called, most_bytes)
    if Path(called).suffix.lower() == ".safetensors":
        return _from_safetensors(path, called)
    return _tensors(_unwrapped(_from_pickle(path, called), called), called)


def _check_file(path: Path, called: str, most_bytes: float) -> None:
    if Path(called).suffix.lower() not in CHECKPOINT_ENDINGS:
        raise AssetError(f"{called} must end in {', '.join(CHECKPOINT_ENDINGS)} to be read.")
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
            f"{called} holds {size / 1e6:,.0f} MB, far more than the weights of this model take: "
            f"at most {most_bytes / 1e6:,.0f} MB are read."
        )


def _from_safetensors(path: Path, called: str) -> StateDict:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # its own error, and what torch says of strange types and sizes
        raise AssetError(
            f"{called} is damaged, or no safetensors file ({_first_line(error)})."
        ) from error


def _from_pickle(path: Path, called: str) -> object:
    archive = zipfile.is_zipfile(path)
    if archive:
        _check_archive(path, called)
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # there is no end to what a hostile file makes a reader raise
        wanted = _forbidden(path, error)
        if wanted:
            raise AssetError(
                f"{called} was refused, as reading it could run code: it asks for "
                f"{', '.join(wanted[:3])}. Save the weights alone, with "
                "torch.save(model.state_dict(), …) or as safetensors."
            ) from error
        raise AssetError(f"{called} is damaged, or no file that torch.save wrote.") from error


def _check_archive(path: Path, called: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise AssetError(f"{called} is damaged ({_first_line(error)}).") from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise AssetError(
            f"{called} is a TorchScript archive, which holds code: save the weights alone, with "
            "torch.save(model.state_dict(), …)."
        )
    # torch.save never compresses; a few compressed megabytes may swell to any size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise AssetError(f"{called} is a compressed archive, which torch.save does not write.")


def _forbidden(path: Path, error: Exception) -> list[str]:
    """What a pickle asks for beyond tensors."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # no archive, but a pickle alone: the refusal may name the first
        return re.findall(r"GLOBAL ([\w.]+)", str(error))[:1] or _stacked_globals(path)


def _stacked_globals(path: Path) -> list[str]:
    """What a pickle of a newer protocol asks for: a module and a name, put on its stack."""
    texts: list[str] = []
    with suppress(Exception), path.open("rb") as file:  # it may be anything, and end anywhere
        for code, argument, _ in islice(pickletools.genops(file), _MOST_CODES):
            if code.name == "STACK_GLOBAL":
                return [".".join(texts[-2:])]
            if isinstance(argument, str):
                texts.append(argument)
    return []


def _unwrapped(loaded: object, called: str) -> Mapping[Any, object]:
    if isinstance(loaded, Mapping):
        for key in _WRAPPERS:
            if isinstance(loaded.get(key), Mapping):
                return loaded[key]  # type: ignore[no-any-return]
        return loaded
    raise AssetError(f"{called} holds a {type(loaded).__name__}, not weights by name.")


def _tensors(loaded: Mapping[Any, object], called: str) -> StateDict:
    state = {key: value for key, value in loaded.items() if isinstance(value, Tensor)}
    others = [key for key in loaded if key not in state or not isinstance(key, str)]
    if others:
        raise AssetError(
            f"{called} holds more than tensors by name: {first_of(map(str, others))}. Save the "
            "weights alone, or under the key “state_dict”."
        )
    if not state:
        raise AssetError(f"{called} holds no weights.")
    # A file of a few kilobytes may have one number stand for any number of them.
    repeated = [key for key, tensor in state.items() if _repeats(tensor)]
    if repeated:
        raise AssetError(
            f"{called} repeats numbers instead of holding them: {first_of(repeated)}. Save the "
            "weights with each tensor made contiguous()."
        )
    return state


def _repeats(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.is_meta:  # which the network refuses
        return False
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
