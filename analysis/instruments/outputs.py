"""The tensors in what a module returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass

from torch import Tensor


def first_tensor(output: object) -> Tensor | None:
    """The first tensor of an output, depth first, of floating-point numbers if any; or None."""
    first = None
    for tensor in tensors_in(output):
        if tensor.is_floating_point() or tensor.is_complex():
            return tensor
        first = tensor if first is None else first
    return first


def tensors_in(output: object) -> Iterator[Tensor]:
    """All tensors of tuples, lists, dicts and dataclasses, depth first."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from tensors_in(tuple(output.values()))
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from tensors_in(part)
    elif is_dataclass(output):
        yield from tensors_in(tuple(vars(output).values()))
