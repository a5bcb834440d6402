"""Read a checkpoint of one's own, from whatever file it may be, and fit it to a network."""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from analysis.errors import AssetError
from analysis.models.catalogue import MODELS, ModelSpec

StateDict = dict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, and Lightning
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers for training GoogLeNet and Inception
_LISTED = 10  # names in one message
# A file may hold an optimiser's state beside the weights, not much more.
_MOST_TIMES, _MOST_SPARE = 16, 2**26  # times the network's bytes, and bytes beside


@dataclass(frozen=True, eq=False)
class Fitted:
    """Weights that a network can take."""

    state: StateDict
    classes: int
    notes: tuple[str, ...] = ()  # sentences for the person


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
    if Path(called).suffix == ".safetensors":
        return _from_safetensors(path, called)
    return _tensors(_unwrapped(_from_pickle(path, called), called), called)


def fitted(state: StateDict, network: nn.Module, spec: ModelSpec, head: str, called: str) -> Fitted:
    """Check that a state dict is of a network, whatever its number of classes.

    Parameters
    ----------
    state : dict of str to Tensor
    network : nn.Module
        Only the names, shapes and types of its tensors matter.
    spec : ModelSpec
    head : str
        The classifier's module name.
    called : str
        What the person calls the file.

    Returns
    -------
    Fitted
        Copies in the types of the network: float32, as a rule.

    Raises
    ------
    AssetError
        Naming keys that are missing or unknown, and shapes that differ.
    """
    expected: dict[str, Tensor] = dict(network.state_dict())
    state = without_prefix(state, expected)
    for key in [key for key in state if key.startswith(_AUXILIARY) and key not in expected]:
        del state[key]
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked"):  # old files have none, and evaluation needs none
            state.setdefault(key, torch.zeros((), dtype=tensor.dtype))
    classes = _classes(state, expected, head)
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    for key in (f"{head}.weight", f"{head}.bias"):
        if key in shapes:
            shapes[key] = (classes, *shapes[key][1:])
    problems = _problems(state, shapes)
    if problems:
        raise AssetError(
            f"{called} does not hold the weights of {spec.name}: {'; '.join(problems)}."
            + _hint(state, spec)
        )
    notes = _type_notes(state, expected, called)
    kept = {key: _converted(state[key], expected[key]) for key in expected}
    return Fitted(kept, classes, (*notes, *_number_notes(kept, called)))


def signature(state: Mapping[str, Tensor], head: str) -> str:
    """What tells an architecture from others: names and shapes of its tensors but the head's."""
    parts = sorted(
        f"{name} {tuple(tensor.shape)}"
        for name, tensor in state.items()
        if not name.startswith(f"{head}.") and not name.endswith("num_batches_tracked")
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def size_limit(network: nn.Module) -> float:
    """Bytes beyond which a file holds something else than a network's weights."""
    own: int = sum(4 * tensor.numel() for tensor in network.state_dict().values())
    return _MOST_TIMES * own + _MOST_SPARE


def _check_file(path: Path, called: str, most_bytes: float) -> None:
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
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # there is no end to what a hostile file makes a reader raise
        wanted = _forbidden(path, error)
        if wanted:
            raise AssetError(
                f"{called} was refused, as reading it could run code: it asks for "
                f"{', '.join(wanted[:3])}. Save the weights alone, with "
                "torch.save(model.state_dict(), …) or as safetensors."
            ) from error
        raise AssetError(
            f"{called} is damaged, or no file of torch.save ({_first_line(error)})."
        ) from error


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
    except Exception:  # no archive, but a pickle alone: the refusal names the first
        return re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]


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
            f"{called} holds more than tensors by name: {_listed(map(str, others))}. Save the "
            "weights alone, or under the key “state_dict”."
        )
    if not state:
        raise AssetError(f"{called} holds no weights.")
    return state


def without_prefix(state: StateDict, expected: Iterable[str] = ()) -> StateDict:
    """A copy without what a wrapper put before every name, unless it is expected there."""
    expected = list(expected)
    for prefix in _PREFIXES:
        ours = any(key.startswith(prefix) for key in expected)
        if not ours and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return dict(state)


def _classes(state: StateDict, expected: Mapping[str, Tensor], head: str) -> int:
    """What the head's weight says, or the network's own number if there is none."""
    key = f"{head}.weight"
    found = state.get(key)
    own = expected[key].shape[0] if key in expected else 0
    return found.shape[0] if found is not None and found.dim() and len(found) else own


def _problems(state: StateDict, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    missing = [key for key in shapes if key not in state]
    unexpected = [key for key in state if key not in shapes]
    both = [key for key in shapes if key in state]
    other = [
        f"{key} {tuple(state[key].shape)} instead of {shapes[key]}"
        for key in both
        if tuple(state[key].shape) != shapes[key]
    ]
    kinds = [key for key in both if not _plain(state[key], key)]
    found = [
        (missing, "missing"),
        (unexpected, "unknown to it"),
        (other, "of another shape"),
        (kinds, "not of dense real numbers"),
    ]
    return [f"{len(names)} {what}: {_listed(names)}" for names, what in found if names]


def _plain(tensor: Tensor, key: str) -> bool:
    counts = key.endswith(("num_batches_tracked", "_index"))
    dense = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    return dense and (tensor.is_floating_point() or (counts and not tensor.is_complex()))


def _converted(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.detach().to(like.dtype, copy=True, memory_format=torch.contiguous_format)


def _type_notes(state: StateDict, expected: Mapping[str, Tensor], called: str) -> list[str]:
    kinds = {str(state[key].dtype).removeprefix("torch.") for key in expected} - {"float32"}
    changed = sorted(kind for kind in kinds if "float" in kind)
    if not changed:
        return []
    return [f"The weights of {called} were {' and '.join(changed)}; they are float32 now."]


def _number_notes(state: StateDict, called: str) -> list[str]:
    broken = [key for key, tensor in state.items() if not tensor.isfinite().all()]
    if not broken:
        return []
    return [f"{len(broken)} tensors of {called} hold NaN or infinite numbers: {_listed(broken)}."]


def _hint(state: StateDict, spec: ModelSpec) -> str:
    for other in MODELS.values():
        if other.signature and other.signature == signature(state, other.head):
            return f" They are those of {other.name}."
    return ""


def _listed(names: Any) -> str:
    names = list(names)
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
