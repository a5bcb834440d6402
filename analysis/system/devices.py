"""Where a model runs and in what width. Importing this needs no torch."""

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
    """The devices that torch can use here, as "auto" prefers them; the CPU is always there."""
    import torch

    found: list[Device] = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def device_problem(choice: str) -> list[str]:
    """Say that a device is unknown or not there, or nothing."""
    problems = choice_problem("device", choice, DEVICES)
    if problems or choice == "auto":
        return problems
    available = available_devices()
    if choice in available:
        return []
    return [
        f"`device` is {choice!r}, which torch does not find on this machine: "
        f"choose auto or {' or '.join(available)}"
    ]


def pick_device(choice: str) -> torch.device:
    """The device of a choice.

    Parameters
    ----------
    choice : {"auto", "cuda", "mps", "cpu"}
        "auto" is CUDA if there is any, else MPS, else the CPU.

    Raises
    ------
    OptionError
        If it is unknown or not there, naming those that are.
    """
    raise_problems(device_problem(choice))
    import torch

    return torch.device(available_devices()[0] if choice == "auto" else choice)


@contextmanager
def activations_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run a model's forward pass in a width: float32 as it is, others by torch's autocast.

    Raises
    ------
    OptionError
        If the device has no autocast in that width.
    """
    if precision == "float32":
        yield
        return
    import torch

    with ExitStack() as stack:
        able = False
        with suppress(RuntimeError):  # such as a GPU too old for bfloat16
            stack.enter_context(_autocast(device, precision))
            able = torch.is_autocast_enabled(device.type)
        if not able:
            raise OptionError(
                f"`precision` must be float32 on this {device.type.upper()}, which cannot run "
                f"in {precision}; got {precision!r}"
            )
        yield


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it cannot, it warns and does nothing
        return torch.autocast(device.type, getattr(torch, precision))


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 anywhere: an analysis' numbers must not depend on the device.

    By torch's older switches, which set its newer ones as well: a network that reads the older
    fails where the two are at odds.
    """
    import torch

    cudnn: Any = torch.backends.cudnn
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with ExitStack() as back:
        for part in (cudnn.conv, cudnn.rnn, *products):
            back.callback(setattr, part, "fp32_precision", part.fp32_precision)
        with suppress(RuntimeError):  # they were at odds before
            back.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
        with suppress(RuntimeError):
            back.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        yield


def device_of(model: nn.Module) -> torch.device:
    """Where a model runs; one without parameters on the CPU."""
    import torch

    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None or parameter.is_meta else parameter.device
