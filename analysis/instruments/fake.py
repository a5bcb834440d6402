"""Copies of a network that have shapes and storages but no numbers."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from analysis.errors import ModelError

_LOG = logging.getLogger("torch._subclasses.fake_tensor")


@contextmanager
def fake_copy(model: nn.Module) -> Iterator[nn.Module]:
    """A copy of the model with fake parameters and buffers; the model itself is not touched.

    Raises
    ------
    ModelError
        If the model cannot be copied, or the copy would run the model itself: its `forward` may be
        a closure, or compiled.
    """
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
    with ExitStack() as stack:
        fast_path = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)  # it needs addresses: fakes have none
        stack.callback(setattr, _LOG, "disabled", _LOG.disabled)
        _LOG.disabled = True  # it writes tracebacks of errors that are handled
        for parameter in model.parameters():
            stack.callback(setattr, parameter, "grad", parameter.grad)
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(_refuse).remove)
        with mode:
            yield fake


def _refuse(*_: object) -> None:
    """Stop a pass of the copy that has reached the model itself."""
    raise prediction_error(RuntimeError("the network's forward cannot be copied with it"))


def prediction_error(error: Exception) -> ModelError:
    """The error of a prediction that failed; one of its own stays as it is."""
    if isinstance(error, ModelError):
        return error
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return ModelError(f"The memory of training could not be predicted: {line}")


def _empty_like(tensor: Tensor) -> Tensor:
    device = "cpu" if tensor.is_meta else tensor.device
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
