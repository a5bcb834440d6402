"""The device and precision in which a model runs. Importing this module needs no torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from analysis.errors import OptionError, choice_problem, raise_problems
from analysis.options import DEVICES, Device, Precision

if TYPE_CHECKING:
    import torch
    from torch import nn


def available_devices() -> tuple[Device, ...]:
    """The devices that torch can use here, in the order of "auto"; the CPU is always last."""
    import torch

    devices: list[Device] = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return (*devices, "cpu")


def device_problem(choice: str) -> list[str]:
    """Report an unknown or missing device, or an empty list."""
    problems = choice_problem("device", choice, DEVICES)
    if problems or choice == "auto":
        return problems
    available = available_devices()
    if choice in available:
        return []
    return [f"`device` must be auto or {' or '.join(available)} on this machine, got {choice!r}"]


def pick_device(choice: str) -> torch.device:
    """The torch device for a choice.

    Parameters
    ----------
    choice : {"auto", "cuda", "mps", "cpu"}
        "auto" is CUDA if available, else MPS, else the CPU.

    Raises
    ------
    OptionError
        If the device is unknown or missing, with those available.
    """
    raise_problems(device_problem(choice))
    import torch

    return torch.device(available_devices()[0] if choice == "auto" else choice)


@contextmanager
def activations_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run a model's forward pass in a precision: float32 unchanged, others by torch's autocast.

    Raises
    ------
    OptionError
        If the device has no autocast in that precision.
    """
    if precision == "float32":
        yield
        return
    import torch

    with ExitStack() as stack:
        enabled = False
        with suppress(RuntimeError):  # for example, from a GPU too old for bfloat16
            stack.enter_context(_autocast(device, precision))
            enabled = torch.is_autocast_enabled(device.type)
        if not enabled:
            raise OptionError(
                f"`precision` must be float32 on this {device.type.upper()}, got {precision!r}"
            )
        yield


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where unsupported, autocast warns and does nothing
        return torch.autocast(device.type, getattr(torch, precision))


@contextmanager
def full_float32() -> Iterator[None]:
    """Disable TF32 everywhere: the numbers of an analysis must not depend on the device.

    Uses torch's older switches, which set the newer ones as well: a network that reads the older
    ones fails if the two disagree.
    """
    import torch

    cudnn: Any = torch.backends.cudnn
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for part in (cudnn.conv, cudnn.rnn, *products):
            stack.callback(setattr, part, "fp32_precision", part.fp32_precision)
        with suppress(RuntimeError):  # they disagreed before
            stack.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
        with suppress(RuntimeError):
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        yield


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters; the CPU if it has none."""
    import torch

    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None or parameter.is_meta else parameter.device
