"""Fit the tensors of a checkpoint to a network, or report why they do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analysis.errors import AssetError
from analysis.models.catalogue import MODELS, ModelSpec
from analysis.models.checkpoint_files import StateDict
from analysis.text import first_of

_PREFIXES = ("module.", "_orig_mod.", "model.")  # from DataParallel, torch.compile, and Lightning
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers for training GoogLeNet and Inception


@dataclass(frozen=True, eq=False)
class FittedWeights:
    """Weights that a network can load."""

    state: StateDict
    classes: int
    notes: tuple[str, ...] = ()  # sentences for the user


def fit_state(
    state: StateDict, network: nn.Module, spec: ModelSpec, head: str, called: str
) -> FittedWeights:
    """Check that a state dict belongs to a network, whatever its number of classes.

    Parameters
    ----------
    state : dict of str to Tensor
    network : nn.Module
        Only the names, shapes and types of its tensors matter.
    spec : ModelSpec
    head : str
        The classifier's module name.
    called : str
        The file's name in messages.

    Returns
    -------
    FittedWeights
        Copies in the types of the network, usually float32.

    Raises
    ------
    AssetError
        With the missing and unknown keys, and the shapes that differ.
    """
    expected: dict[str, Tensor] = dict(network.state_dict())
    state = without_prefix(state, expected)
    for key in [key for key in state if key.startswith(AUXILIARY) and key not in expected]:
        del state[key]
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked"):  # old files lack it, and evaluation ignores it
            state.setdefault(key, torch.zeros((), dtype=tensor.dtype))
    classes = _classes(state, expected, head)
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    for key in (f"{head}.weight", f"{head}.bias"):
        if key in shapes:
            shapes[key] = (classes, *shapes[key][1:])
    problems = _problems(state, shapes)
    if problems:
        raise AssetError(
            f"{called} does not contain the weights of {spec.name}{_hint(state)}: "
            f"{'; '.join(problems)}."
        )
    notes = _type_notes(state, expected, called)
    copies = {key: _convert(state[key], expected[key]) for key in expected}
    return FittedWeights(copies, classes, (*notes, *_number_notes(copies, called)))


def signature(state: Mapping[str, Tensor], head: str) -> str:
    """Identify an architecture by the names and shapes of its tensors, except the head's."""
    parts = sorted(
        f"{name} {tuple(tensor.shape)}"
        for name, tensor in state.items()
        if not name.startswith(f"{head}.") and not name.endswith("num_batches_tracked")
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def without_prefix(state: StateDict, expected: Iterable[str] = ()) -> StateDict:
    """A copy without the prefix that a wrapper put before every name, unless it is expected."""
    expected = list(expected)
    for prefix in _PREFIXES * len(_PREFIXES):  # they come in any order
        ours = any(key.startswith(prefix) for key in expected)
        if not ours and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return dict(state)


def _classes(state: StateDict, expected: Mapping[str, Tensor], head: str) -> int:
    """Rows of the head's weight, or the network's own number if the file has none."""
    key = f"{head}.weight"
    weight = state.get(key)
    own = expected[key].shape[0] if key in expected else 0
    return weight.shape[0] if weight is not None and weight.dim() and len(weight) else own


def _problems(state: StateDict, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    missing = [key for key in shapes if key not in state]
    unexpected = [key for key in state if key not in shapes]
    both = [key for key in shapes if key in state]
    other = [
        f"{key} {tuple(state[key].shape)} instead of {shapes[key]}"
        for key in both
        if tuple(state[key].shape) != shapes[key]
    ]
    kinds = [key for key in both if not _is_dense_float(state[key], key)]
    problems = [
        (missing, "missing"),
        (unexpected, "unknown to it"),
        (other, "of another shape"),
        (kinds, "not of dense floating-point numbers"),
    ]
    return [f"{len(names)} {what}: {first_of(names)}" for names, what in problems if names]


def _is_dense_float(tensor: Tensor, key: str) -> bool:
    counts = key.endswith(("num_batches_tracked", "_index"))
    dense = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    return dense and (tensor.is_floating_point() or (counts and not tensor.is_complex()))


def _convert(tensor: Tensor, like: Tensor) -> Tensor:
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
    return [f"These tensors of {called} contain NaN or infinite numbers: {first_of(broken)}."]


def _hint(state: StateDict) -> str:
    for other in MODELS.values():
        if other.signature and other.signature == signature(state, other.head):
            return f", but those of {other.name}"
    return ""
