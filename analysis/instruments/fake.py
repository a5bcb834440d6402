"""Copies of a network that have shapes and storages but no numbers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from analysis.errors import ModelError


@contextmanager
def fake_copy(model: nn.Module) -> Iterator[nn.Module]:
    """A copy of the model with fake parameters and buffers; the model itself is not touched."""
    # A module may hold plain tensors that are neither parameters nor buffers.
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    memo: dict[int, Any] = {}
    with mode:
        for parameter in model.parameters():
            memo[id(parameter)] = nn.Parameter(_empty_like(parameter), parameter.requires_grad)
        for buffer in model.buffers():
            memo[id(buffer)] = _empty_like(buffer)
    try:
        fake = copy.deepcopy(model, memo)  # outside the mode, which cannot copy plain tensors
    except Exception as error:  # a model's attributes may raise anything
        raise prediction_error(error) from error
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it needs addresses, which fakes do not have
    try:
        with mode:
            yield fake
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def prediction_error(error: Exception) -> ModelError:
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return ModelError(f"The memory of training could not be predicted: {line}")


def _empty_like(tensor: Tensor) -> Tensor:
    device = "cpu" if tensor.is_meta else tensor.device
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
