"""What a score divides by: sizes of a layer, each to a power."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.results import Float64, TopologyReport

MOST = 4.0  # of a power, so that no score overflows
EXAMPLE = "activation^0.5 parameters^-1"
_BATCH, _BYTES = 32, 4  # images in a training step, bytes of a number: as a fine-tune has
_FACTOR = re.compile(r"([a-z]+)(?:\^([+-]?(?:\d+\.?\d*|\.\d+)))?")


@dataclass(frozen=True)
class Size:
    title: str
    help: str
    of: Callable[[TopologyReport], Float64]  # of each layer, (L,)


def training_bytes(report: TopologyReport) -> Float64:
    """The memory that training each layer by itself adds, estimated from its and others' sizes.

    The loss reaches a layer only through all that run after it. So the estimate is the outputs
    of the layer and of those after it, for a batch of 32 images, with the gradient and the
    momentum of its own parameters, at 4 bytes for each number.

    Parameters
    ----------
    report : TopologyReport

    Returns
    -------
    ndarray, float64 (L,)
        Bytes. A layer with others inside it counts from the first of these, as it may use its
        parameters before them.
    """
    outputs = np.array([math.prod(layer.activation_shape) for layer in report.layers], dtype=float)
    onwards = np.cumsum(outputs[::-1])[::-1]
    names = report.names
    starts = [
        min([at, *(other for other in range(at) if names[other].startswith(f"{name}."))])
        for at, name in enumerate(names)
    ]
    parameters = np.array([layer.parameters for layer in report.layers], dtype=float)
    return np.asarray(_BYTES * (_BATCH * onwards[starts] + 2 * parameters), dtype=np.float64)


SIZES: dict[str, Size] = {
    "activation": Size(
        "activations",
        "Numbers that the layer gives for all images, |a|.",
        lambda report: np.array([layer.activation_size for layer in report.layers], dtype=float),
    ),
    "parameters": Size(
        "parameters",
        "Numbers in the layer that training can change.",
        lambda report: np.array([layer.parameters for layer in report.layers], dtype=float),
    ),
    "flops": Size(
        "FLOPs",
        "Floating-point operations of the layer for one image.",
        lambda report: np.array([layer.flops for layer in report.layers], dtype=float),
    ),
    "memory": Size(
        "training memory",
        "An estimate of what training only this layer adds: the outputs from this layer to the "
        "last for 32 images, and the gradient and momentum of its parameters.",
        training_bytes,
    ),
}


def parse_powers(text: str) -> dict[str, float]:
    """The powers in a text such as "activation^0.5 parameters^-1", in the order of `SIZES`.

    Parameters
    ----------
    text : str
        Names of `SIZES`, separated by spaces. Each may have a power after "^"; without, it is 1.

    Returns
    -------
    dict of str to float
        Without the powers that are 0.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    powers: dict[str, float] = {}
    for word in text.split():
        factor = _FACTOR.fullmatch(word)
        if factor is None or factor[1] not in SIZES:
            raise ValueError(f"{word!r} is no size of a layer with a power")
        name, power = factor[1], float(factor[2] or 1)
        if name in powers:
            raise ValueError(f"it names {name} twice")
        if abs(power) > MOST:
            raise ValueError(f"the power of {name} is not between -{MOST:g} and {MOST:g}")
        powers[name] = power
    if not powers:
        raise ValueError("it names no size")
    return {name: powers[name] for name in SIZES if powers.get(name)}


def powers_text(powers: Mapping[str, float]) -> str:
    """What `parse_powers` reads; each set of powers has one text, which for no power is empty."""
    words = []
    for name in SIZES:
        power = powers.get(name, 0.0)
        if power:
            words.append(name if power == 1 else f"{name}^{_shortest(power)}")
    return " ".join(words)


def _shortest(number: float) -> str:
    text = np.format_float_positional(number, trim="-")
    return str(text)


def divisor(report: TopologyReport, powers: Mapping[str, float]) -> Float64:
    """The product of the sizes of each layer to these powers, (L,); NaN where one is 0."""
    product = np.ones(len(report.layers))
    for name, power in powers.items():
        sizes = SIZES[name].of(report)
        sizes = np.where(sizes > 0, sizes, np.nan)
        product *= np.sqrt(sizes) if power == 0.5 else sizes**power
    return product
