"""One scale for all images of a dataset whose values go beyond 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BYTE, _BRIGHT = 255, 128


class ValueRange(NamedTuple):
    """The values of one image, or of several."""

    kind: str  # "integer" or "float"
    least: float
    most: float


@dataclass(frozen=True)
class Scale:
    """What becomes 0, and what becomes 1."""

    least: float
    most: float

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Values in [0, 1], float32; values outside the scale are clipped."""
        unit = (values - self.least) / (self.most - self.least or 1)
        return np.clip(unit, 0, 1).astype(np.float32)


Scales = tuple[tuple[str, Scale], ...]  # of each kind of values in a dataset; empty: 8 bits alone


def common_scales(ranges: Iterable[ValueRange]) -> Scales:
    """One scale per kind of values, from all images of a dataset.

    Integers from 0 use as many bits as the largest of them needs: 12-bit values in 16-bit files
    are divided by 4095. Floats in [0, 1] stay, and floats that look like 0 to 255 are divided by
    255. Others are taken from the smallest value of the dataset, or from 0, to its largest.
    """
    joint: dict[str, ValueRange] = {}
    for one in ranges:
        so_far = joint.get(one.kind, one)
        least, most = min(so_far.least, one.least), max(so_far.most, one.most)
        joint[one.kind] = ValueRange(one.kind, least, most)
    return tuple((kind, _scale(joint[kind])) for kind in sorted(joint))


def scale_note(scales: Scales) -> str:
    """A sentence that says how values beyond 8 bits were read; empty if there are none."""
    parts = [
        f"{kind} values from {scale.least:g} to {_number(scale.most)} became 0 to 1"
        for kind, scale in scales
    ]
    text = "; ".join(parts)
    return f"One scale for all images beyond 8 bits: {text}." if text else ""


def _scale(values: ValueRange) -> Scale:
    if values.least < 0:
        return Scale(values.least, values.most)
    if values.kind == "integer":
        return Scale(0, 2 ** max(1, int(values.most).bit_length()) - 1)
    if values.most <= 1:
        return Scale(0, 1)
    return Scale(0, _BYTE if _BRIGHT <= values.most <= _BYTE else values.most)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
