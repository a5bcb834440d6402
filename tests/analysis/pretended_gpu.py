"""A pretended GPU: the CPU's numbers, in tensors that say they are on another device.

Every operation raises, as on a real one, when it mixes devices; what "mps" cannot do (float64,
copies from memory that may be gone) raises too. This is about placement alone: it shows nothing of
kernels, precision, memory or time on a real device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_ATEN = torch.ops.aten
_INDEXING = (_ATEN.index.Tensor, _ATEN.index_put_.default, _ATEN.index_put.default)
# What the modules torch.cuda and torch.mps answer, as far as training calls them.
_ANSWERS: dict[str, Any] = {
    "get_rng_state": torch.zeros(16, dtype=torch.uint8),
    "set_rng_state": None,
    "manual_seed": None,
    "device": nullcontext(),
    "reset_peak_memory_stats": None,
    "max_memory_allocated": 7,
}


class Elsewhere(Tensor):
    """A tensor whose `device` is another than the CPU; its numbers are in `held`."""

    held: Tensor
    said: torch.device

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> Elsewhere:
        # To C++ it is on a backend of Python's own. Without autograd "cuda" would do, with it a
        # build of torch without CUDA ends the process.
        tensor: Elsewhere = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=torch.device("pretended", 0),
        )  # fmt: skip
        tensor.held, tensor.said = held, torch.device(device.type, device.index or 0)
        return tensor

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.said

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({tuple(self.shape)}, {self.dtype}, {self.device})"

    def numpy(self, *_: object, **__: object) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy")

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return _run(func, args, kwargs or {})


class _Pretending(TorchDispatchMode):
    """What makes tensors, and moves them, knows the device too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        requested = kwargs.get("device")
        away = any(isinstance(leaf, Elsewhere) for leaf in tree_leaves((args, kwargs)))
        if away or (requested is not None and torch.device(requested).type not in ("cpu", "meta")):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


@contextmanager
def pretended(device: str) -> Iterator[set[str]]:
    """Have "cuda" or "mps" be there; gives the names of the device's functions that are called."""
    module, called = getattr(torch, device), set()
    with ExitStack() as back, _Pretending():
        for name, answer in _ANSWERS.items():
            if hasattr(module, name):
                back.callback(setattr, module, name, getattr(module, name))

                def told(*_: object, name: str = name, answer: Any = answer) -> Any:
                    called.add(name)
                    return answer

                setattr(module, name, told)
        yield called


def register() -> None:
    """Prepare torch, which cannot be undone: only in a process of its own."""
    _setup_privateuseone_for_python_backend("pretended")
    torch.pretended.get_amp_supported_dtype = lambda: [torch.bfloat16]  # type: ignore[attr-defined]
    torch.cuda._lazy_init = lambda: None


def moved(model: nn.Module, device: str) -> nn.Module:
    """`model.to(device)`, which C++ refuses where there is no such device."""
    where = torch.device(device, 0)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                away = Elsewhere(parameter.detach().clone(), where)
                module._parameters[name] = nn.Parameter(away, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = Elsewhere(buffer.detach().clone(), where)
    return model


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    away = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    to = _destination(func, args, kwargs, tensors, away)
    there = to is not None and to.type != "cpu"
    if there and "device" in kwargs:
        kwargs = kwargs | {"device": torch.device("cpu")}
    args, kwargs = tree_map(lambda t: t.held if isinstance(t, Elsewhere) else t, (args, kwargs))
    result = func(*args, **kwargs)
    known = {id(tensor.held): tensor for tensor in away}  # in place, or given as `out`

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, Elsewhere):
            return value
        if id(value) in known or not there:
            return known.get(id(value), value)
        if to.type == "mps" and value.dtype == torch.float64:
            raise TypeError(f"{func}: the MPS framework doesn't support float64")
        return Elsewhere(value, to)

    return tree_map(wrapped, result)


def _destination(
    func: Any, args: Any, kwargs: dict[str, Any], tensors: list[Tensor], away: list[Elsewhere]
) -> torch.device | None:
    """Where the result is. Raises what a real device would, and what it would do wrong unsaid."""
    requested = kwargs.get("device")
    device = away[0].device if away else None
    if func is _ATEN.copy_.default:
        to, source, dtype = args[0].device, args[1], args[0].dtype
    elif func is _ATEN._to_copy.default:
        to, source = torch.device(requested) if requested is not None else args[0].device, args[0]
        dtype = kwargs.get("dtype") or source.dtype
    else:
        here = [
            tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.dim() > 0
        ]
        # Indices may lie on the CPU: torch moves them.
        movable = func in _INDEXING and isinstance(args[0], Elsewhere)
        if away and any(not movable or tensor.is_floating_point() for tensor in here):
            raise RuntimeError(f"{func}: expected all tensors on {device}, but some are on the CPU")
        return torch.device(requested) if requested is not None else device
    if source.device.type == "mps" and dtype == torch.float64:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
    if to.type == "mps" and kwargs.get("non_blocking"):
        raise AssertionError("MPS reads the source later, when it may be gone (pytorch#189690)")
    return to
