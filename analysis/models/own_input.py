"""The input that a network of the user's own asks for, by its attributes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from torch import Tensor, nn

from analysis.errors import ModelError
from analysis.models.own_code import built_anyhow, code_network
from analysis.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from analysis.options import channel_rule

INPUT_SIDE, RESIZED = 224, 256  # pixels, unless the network has an `input_size` and a `resize`


def own_preprocessing(name: str) -> Preprocessing:
    """The preprocessing for "<path>.py:<function>", which is run.

    Raises
    ------
    ModelError
        If the function fails, or an attribute of the network cannot be understood.
    """
    try:
        changed = Path(name.rpartition(":")[0]).stat().st_mtime_ns
    except OSError:  # running it reports why
        changed = 0
    return _of_code(name, changed)


@lru_cache(maxsize=64)
def _of_code(name: str, _changed: int) -> Preprocessing:
    model, _ = built_anyhow(partial(code_network, name))
    return preprocessing_for(model)


def preprocessing_for(model: nn.Module) -> Preprocessing:
    """The preprocessing that a network's attributes ask for.

    They are `input_size` (pixels, (height, width) or (channels, height, width)), `mean` and `std`
    (one number, or one for each channel; of values in [0, 1]), and `resize` (pixels of the
    shorter side before the centre is cropped, or exactly (height, width)). Without them: 224 × 224
    pixels of three channels, cropped from 256, with ImageNet's mean and deviation.

    Raises
    ------
    ModelError
        If one cannot be understood, with what it was.
    """
    shape = _shape(getattr(model, "input_size", INPUT_SIDE))
    resize, stretched = _resize(getattr(model, "resize", None), shape)
    mean, std = (
        _numbers(name, getattr(model, name, None), default, shape[0])
        for name, default in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD))
    )
    remark = _remark(model) if (mean, std) != ((0,) * len(mean), (1,) * len(std)) else ""
    return Preprocessing(shape, resize, mean, std, stretched=stretched, remark=remark)


def _remark(model: nn.Module) -> str:
    """Whether the network seems to subtract a mean itself, and what to do if so."""
    for name, module in model.named_modules():
        values = [getattr(module, attribute, None) for attribute in ("mean", "std")]
        # A network's own numbers are for us, but its tensors and a layer's numbers are its own.
        own = [isinstance(value, Tensor) or (bool(name) and _is_number(value)) for value in values]
        if all(own):
            where = f"{name} of the network" if name else "The network"
            return (
                f"{where} has a mean and a deviation, so it may normalise the images a second "
                "time. If it does, use --input-mean 0 --input-std 1."
            )
    return ""


def _is_number(value: object) -> bool:
    many = value if isinstance(value, Sequence | np.ndarray) else [value]
    return len(many) > 0 and all(isinstance(one, int | float | np.number) for one in many)


def _shape(value: object) -> tuple[int, int, int]:
    numbers = _whole_numbers(value)
    if not numbers or len(numbers) > 4 or (len(numbers) == 4 and numbers[0] != 1):
        raise ModelError(
            "The network's `input_size` must be a number of pixels, (height, width) or (channels, "
            f"height, width), got {_brief(value)}."
        )
    if len(numbers) <= 2:
        return (3, numbers[0], numbers[-1])
    channels, height, width = numbers[-3:]
    if channels not in (1, 3):
        raise ModelError(
            f"The network's `input_size` {_brief(value)} means {channels} channels, but images "
            "have 1 or 3. Give it as (channels, height, width)."
        )
    return channels, height, width


def _resize(value: object, shape: tuple[int, int, int]) -> tuple[tuple[int, int], bool]:
    """What an image covers before the crop, and whether it is stretched to that."""
    _, height, width = shape
    if value is None or callable(value) or isinstance(value, bool):
        scale = RESIZED / INPUT_SIDE
        return (max(height, round(height * scale)), max(width, round(width * scale))), False
    numbers = _whole_numbers(value)
    covered = (0, 0)
    if len(numbers) == 1:
        scale = numbers[0] / min(height, width)
        covered = round(height * scale), round(width * scale)
    elif len(numbers) == 2:
        covered = numbers[0], numbers[1]
    if covered[0] < height or covered[1] < width:
        raise ModelError(
            "The network's `resize` must be a number of pixels or (height, width), at least its "
            f"input of {height} × {width}, got {_brief(value)}."
        )
    return covered, len(numbers) == 2


def _whole_numbers(value: object) -> list[int]:
    """Sizes in pixels, also as text or as floats without a fraction; none of anything else."""
    if isinstance(value, np.ndarray | Tensor):
        value = value.tolist()
    many = isinstance(value, Sequence) and not isinstance(value, str)
    values: Any = value if many else [value]
    try:
        numbers = [math.nan if isinstance(one, bool) else float(one) for one in values]
    except (TypeError, ValueError, OverflowError):
        return []
    whole = all(1 <= number < math.inf and number.is_integer() for number in numbers)
    return [int(number) for number in numbers] if whole else []


def _numbers(
    name: str, value: object, default: tuple[float, ...], channels: int
) -> tuple[float, ...]:
    """One number for each channel, or one for all.

    A tensor is part of the network, which then subtracts its mean itself.
    """
    if value is None or callable(value) or isinstance(value, Tensor):
        return default if channels == 3 else (round(sum(default) / len(default), 3),)
    try:
        numbers = tuple(map(float, np.ravel(np.asarray(value, float))))
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    rule = channel_rule(numbers, positive=name == "std")
    if len(numbers) not in (1, channels):
        rule = f"one number or {channels}, one for each channel"
    if rule:
        raise ModelError(f"The network's `{name}` must be {rule}, got {_brief(value)}.")
    return numbers


def _brief(value: object) -> str:
    """A value in one short line."""
    return shorten(repr(value), 60, placeholder=" …")
