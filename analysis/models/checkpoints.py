"""Fit the tensors of a checkpoint to a network, or report why they do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from analysis.errors import AssetError, OptionError
from analysis.models.catalogue import MODELS, ModelSpec
from analysis.models.checkpoint_files import EXTRA, Contents, StateDict, is_readable, repeating
from analysis.models.checkpoint_kinds import why_unfinished
from analysis.models.checkpoint_names import (
    beside,
    by_preference,
    is_meant,
    is_part_of,
    main_prefix,
    plain_names,
    set_name,
    set_prefixes,
)
from analysis.text import first_of

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # classifiers for training GoogLeNet and Inception
# Counters that profilers, old layers and norms leave in a network, and that change no output.
_COUNTERS = ("total_ops", "total_params", "position_ids", "num_batches_tracked")
_OTHER_SHAPE = "of another shape"
_NOT_DENSE = "not of dense floating-point numbers"
_MOST_NAMED = 5  # keys of one kind in a sentence


@dataclass(frozen=True, eq=False)
class FittedWeights:
    """Weights that a network can load."""

    state: StateDict
    classes: int
    notes: tuple[str, ...] = ()  # sentences for the user
    missing: tuple[str, ...] = ()  # tensors of a new head, which the file does not have
    keys: tuple[str, ...] = ()  # the sets of weights in the file, the one in use first
    extra: Mapping[str, object] = field(default_factory=dict)  # what modules store beside tensors


@dataclass(eq=False)
class _Candidate:
    """One set of weights, held against a network."""

    prefix: str
    state: StateDict  # by the network's names
    used: list[str] = field(default_factory=list)  # names after the prefix, as in the file
    classes: int = 0
    missing: list[str] = field(default_factory=list)  # of the head
    other_head: list[str] = field(default_factory=list)  # tensors of the file
    problems: list[tuple[list[str], str]] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        return not any(names for names, _ in self.problems)


def fit_state(
    contents: Contents, network: nn.Module, spec: ModelSpec, head: str, called: str, key: str = ""
) -> FittedWeights:
    """Check that a checkpoint belongs to a network, whatever its head and what is beside it.

    Parameters
    ----------
    contents : Contents
    network : nn.Module
        Only the names, shapes and types of its tensors matter.
    spec : ModelSpec
    head : str
        The classifier's module name; "" if there is none.
    called : str
        The file's name in messages.
    key : str
        Which set of weights to use if there are several; "": the one that was trained.

    Returns
    -------
    FittedWeights
        Copies in the types of the network, usually float32.

    Raises
    ------
    AssetError
        With the missing and unknown keys, and the shapes that differ.
    """
    expected = tensors_of(network)
    in_file, in_network = plain_names(contents.tensors, expected)
    prefixes = by_preference(set_prefixes(in_file, in_network))
    candidates = [
        _candidate(prefix, contents, in_file, network, expected, in_network, head)
        for prefix in prefixes or [main_prefix(in_file)]
    ]
    every_set = _different([candidate for candidate in candidates if candidate.fits], expected)
    names = tuple(set_name(candidate.prefix) for candidate in every_set)
    if key:
        candidates = [each for each in candidates if is_meant(each.prefix, key)]
        if not candidates:
            raise OptionError(_unknown_key(key, names, called))
        candidates.sort(key=lambda each: set_name(each.prefix) != key)
    fitting = [candidate for candidate in candidates if candidate.fits]
    if not fitting:
        # The one of the most names in common: the others are parts of it, or something else.
        best = max(candidates, key=lambda each: len(each.used))
        raise AssetError(_misfit(best, contents, spec, called))
    chosen = fitting[0]
    repeated = [key for key in repeating(chosen.state) if key in expected]
    if repeated:
        raise AssetError(
            f"{called} does not store every number of {first_of(repeated, _MOST_NAMED)}. Call "
            "contiguous() on each tensor before you save the weights."
        )
    copies = {
        key: _convert(chosen.state[key], expected[key])
        for key in expected
        if key not in chosen.missing
    }
    extra, unused, extra_notes = _extra_state(contents, chosen.prefix, network, called)
    left = beside(
        [*in_file, *contents.others, *unused], chosen.prefix, [*chosen.used, *chosen.other_head]
    )
    left = [name for name in left if not any(f"{one}.".startswith(f"{name}.") for one in names)]
    notes = [
        *([] if key else _set_notes(names, called)),
        *_head_notes(chosen, head, called),
        *([f"Passed over in {called}: {first_of(left, _MOST_NAMED)}."] if left else []),
        *_tie_notes(copies, network, called),
        *_type_notes(chosen.state, copies, called),
        *_number_notes(copies, called),
        *extra_notes,
    ]
    values = {key: contents.extra[name] for key, name in extra.items()}
    missing = tuple(chosen.missing)
    return FittedWeights(copies, chosen.classes, tuple(notes), missing, names, values)


def tensors_of(network: nn.Module) -> StateDict:
    """The tensors of a network by name, without what modules store beside them."""
    state = network.state_dict()
    return {key: value for key, value in state.items() if key.rpartition(".")[2] != EXTRA}


def _extra_state(
    contents: Contents, prefix: str, network: nn.Module, called: str
) -> tuple[dict[str, str], list[str], list[str]]:
    """The name in the file of each extra state that can be used, the others, and a note."""
    wanted = [key for key in network.state_dict() if key.rpartition(".")[2] == EXTRA]
    in_file, in_network = plain_names(contents.extra, wanted)
    usable = {
        key: in_file[prefix + name]
        for name, key in in_network.items()
        if prefix + name in in_file and is_readable(contents.extra[in_file[prefix + name]])
    }
    own = [key for key in wanted if key not in usable]
    note = f"{first_of(own, _MOST_NAMED)} cannot be taken from {called}: the network's own is used."
    unused = [name for name in in_file if name not in {prefix + name for name in in_network}]
    return usable, unused, [note] if own else []


def _different(fitting: list[_Candidate], expected: Collection[str]) -> list[_Candidate]:
    """One of each set of weights: a network under two names is stored once."""
    kept: dict[tuple[int, ...], _Candidate] = {}
    for candidate in fitting:
        known = (candidate.state[key] for key in expected if key in candidate.state)
        places = tuple(tensor.data_ptr() for tensor in known if tensor.layout == torch.strided)
        kept.setdefault(places, candidate)
    return list(kept.values())


def signature(state: Mapping[str, Tensor], head: str) -> str:
    """Identify an architecture by the names and shapes of its tensors, except the head's."""
    parts = sorted(
        f"{name} {tuple(tensor.shape)}"
        for name, tensor in state.items()
        if not name.startswith(f"{head}.") and not name.endswith("num_batches_tracked")
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _candidate(
    prefix: str,
    contents: Contents,
    in_file: Mapping[str, str],
    network: nn.Module,
    expected: Mapping[str, Tensor],
    in_network: Mapping[str, str],
    head: str,
) -> _Candidate:
    """Hold the tensors after a prefix against a network."""
    own = {
        name.removeprefix(prefix): contents.tensors[real]
        for name, real in in_file.items()
        if name.startswith(prefix)
    }
    state = {in_network.get(name, name): tensor for name, tensor in own.items()}
    _rename_old(network, state)
    _complete(state, network, expected)
    candidate = _Candidate(prefix, state)
    group = _head_group(expected, head)
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    candidate.classes = _classes(state, network, head)
    for key in (f"{head}.weight", f"{head}.bias"):
        if head and key in shapes:
            shapes[key] = (candidate.classes, *shapes[key][1:])
    unknown = [name for name in state if name not in expected]
    in_head = [
        name
        for name in unknown
        if group and name.startswith(group) and not name.endswith(_COUNTERS)
    ]
    both = [key for key in shapes if key in state]
    wrong = [key for key in both if tuple(state[key].shape) != shapes[key]]
    lacking = [key for key in shapes if key not in state]
    if group:
        new = _new_modules(group, [*lacking, *wrong], head if in_head else "")
        candidate.missing = [key for key in shapes if key.rpartition(".")[0] in new]
        candidate.other_head = [*in_head, *(key for key in candidate.missing if key in state)]
        if f"{head}.weight" in candidate.missing:
            candidate.classes = len(expected[f"{head}.weight"])
    if all(key in candidate.missing for key in shapes if not key.endswith(_COUNTERS)):
        candidate.missing = []  # then nothing of the network is in the file
    replaced = set(candidate.missing)
    missing = [key for key in lacking if key not in replaced]
    if not missing:  # else whatever is odd may be what is missing, by another name
        unknown = [name for name in unknown if _is_unknown(name, group, expected)]
    candidate.problems = [
        (missing, "missing"),
        (unknown, "unknown to it"),
        (
            [
                f"{key} {tuple(state[key].shape)} instead of {shapes[key]}"
                for key in wrong
                if key not in replaced
            ],
            _OTHER_SHAPE,
        ),
        (
            [k for k in both if k not in replaced and not _is_dense_float(state[k], k)],
            _NOT_DENSE,
        ),
    ]
    candidate.used = [name for name in own if in_network.get(name, name) in both]
    candidate.used += [name for name in own if name not in candidate.used and name not in state]
    return candidate


def _head_group(expected: Mapping[str, Tensor], head: str) -> str:
    """What the names of the classifier's layers begin with: it may be more than the head."""
    if not head:
        return ""
    around = head.rpartition(".")[0]
    inside = [key for key in expected if key.startswith(f"{around}.")]
    return f"{around}." if around and 2 * len(inside) <= len(expected) else f"{head}."


def _new_modules(group: str, keys: Collection[str], head: str) -> set[str]:
    """The modules of the classifier that the file does not give: all or nothing of each."""
    new = {key.rpartition(".")[0] for key in keys if key.startswith(group)}
    return new | {head} if head else new


def _classes(state: StateDict, network: nn.Module, head: str) -> int:
    """Rows of the head's weight, or the network's own number if the file has none that fits."""
    weight = state.get(f"{head}.weight")
    own = getattr(network.get_submodule(head), "weight", None) if head else None
    if own is None:
        return 0
    if weight is None or not weight.dim() or not len(weight) or weight.shape[1:] != own.shape[1:]:
        return len(own)
    return len(weight)


def _is_unknown(name: str, group: str, expected: Mapping[str, Tensor]) -> bool:
    """Whether a tensor that the network lacks means that the file is of another network."""
    if name.startswith(AUXILIARY) or name.endswith(_COUNTERS):
        return False
    body = [key for key in expected if not group or not key.startswith(group)]
    return not (group and name.startswith(group)) and is_part_of(name, body, expected)


def _rename_old(network: nn.Module, state: StateDict) -> None:
    """Let the network's layers rename what older versions of them saved, as torch does."""
    for name, module in network.named_modules():
        before = f"{name}." if name else ""
        for hook in list(module._load_state_dict_pre_hooks.values()):
            with suppress(Exception):  # the user's own may raise anything
                hook(state, before, {}, True, [], [], [])


def _complete(state: StateDict, network: nn.Module, expected: Mapping[str, Tensor]) -> None:
    """Add what a file may leave out: counts of batches, and the second name of a tied tensor."""
    for key, tensor in expected.items():
        if key.endswith("num_batches_tracked"):  # old files lack it, and evaluation ignores it
            state.setdefault(key, torch.zeros((), dtype=tensor.dtype))
    for names in _ties(network):
        stored = next((name for name in names if name in state), None)
        for name in names if stored else ():
            state.setdefault(name, state[stored])  # type: ignore[index]


def _ties(network: nn.Module) -> list[list[str]]:
    """The names of each tensor that has several."""
    names: dict[int, list[str]] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            names.setdefault(id(tensor), []).append(name)
    return [tied for tied in names.values() if len(tied) > 1]


def _is_dense_float(tensor: Tensor, key: str) -> bool:
    counts = key.endswith(("num_batches_tracked", "_index"))
    dense = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    return dense and (tensor.is_floating_point() or (counts and not tensor.is_complex()))


def _convert(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.detach().to(like.dtype, copy=True, memory_format=torch.contiguous_format)


def _set_notes(names: tuple[str, ...], called: str) -> list[str]:
    if len(names) < 2:
        return []
    return [
        f"{called} contains {len(names)} sets of weights: {first_of(names, _MOST_NAMED)}. "
        f"{names[0]} is used; choose another one with --weights-key, or on the page."
    ]


def _head_notes(candidate: _Candidate, head: str, called: str) -> list[str]:
    if not candidate.missing:
        return []
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in candidate.missing))
    has = first_of(candidate.other_head, _MOST_NAMED)
    kind = "a quantised" if any(map(_is_quantised, candidate.other_head)) else "another"
    other = f"has {kind} head ({has})" if has else f"has no {head}"
    which = "is" if len(modules) == 1 else "are"
    return [f"{called} {other}: {first_of(modules, _MOST_NAMED)} {which} new, with random weights."]


def _is_quantised(name: str) -> bool:
    return name.endswith((".zero_point", ".SCB", ".absmax", ".qweight")) or "_packed_params" in name


def _tie_notes(state: StateDict, network: nn.Module, called: str) -> list[str]:
    different = [
        " and ".join(names)
        for names in _ties(network)
        if all(name in state for name in names)
        and any(not torch.equal(state[names[0]], state[name]) for name in names[1:])
    ]
    if not different:
        return []
    return [
        f"{first_of(different, _MOST_NAMED)} are one tensor in the network but differ in {called}: "
        "the last is used, as PyTorch does."
    ]


def _type_notes(state: StateDict, used: Collection[str], called: str) -> list[str]:
    kinds = {str(state[key].dtype).removeprefix("torch.") for key in used} - {"float32"}
    changed = sorted(kind for kind in kinds if "float" in kind)
    if not changed:
        return []
    return [f"The weights of {called} were {' and '.join(changed)}; they are float32 now."]


def _number_notes(state: StateDict, called: str) -> list[str]:
    broken = [key for key, tensor in state.items() if not tensor.isfinite().all()]
    if not broken:
        return []
    named = first_of(broken, _MOST_NAMED)
    return [f"These tensors of {called} contain NaN or infinite numbers: {named}."]


def _unknown_key(key: str, names: tuple[str, ...], called: str) -> str:
    offered = f"one of {first_of(names, _MOST_NAMED)}" if names else "left out"
    return f"`weights_key` must be {offered} for {called}, got {key!r}"


def _misfit(candidate: _Candidate, contents: Contents, spec: ModelSpec, called: str) -> str:
    problems = "; ".join(
        f"{len(names)} {what}: {first_of(names, _MOST_NAMED)}"
        for names, what in candidate.problems
        if names
    )
    what = f"{called} does not contain the weights of {spec.name}"
    kinds = [kind for names, kind in candidate.problems if names]
    remedy = why_unfinished([*candidate.state, *contents.others], called)
    if any(tensor.is_meta for tensor in candidate.state.values()):
        what = f"{called} has names of weights without their values, from the meta device"
        remedy = "Save it from a network that has its weights."
    elif not remedy and kinds == [_NOT_DENSE]:
        what = f"{called} has weights of {spec.name} that cannot be used as they are"
        remedy = "Convert them with dequantize(), to_dense() or float() and save them again."
    elif not remedy and (other := _other_model(candidate.state, spec)):
        what = f"{called} contains the weights of {other}, not of {spec.name}"
        remedy = f"Choose {other}."
    elif not remedy:
        remedy = "Choose the model that it belongs to"
        remedy += "." if kinds == [_OTHER_SHAPE] else ", or rename the keys and save them again."
    return f"{what}: {problems}. {remedy}"


def _other_model(state: StateDict, spec: ModelSpec) -> str:
    """The known model of another name that these weights belong to; or ""."""
    for other in MODELS.values():
        known = other.signature and other.signature == signature(state, other.head)
        if known and other.name != spec.name:
            return other.name
    return ""
