"""How wrong a distance may be, and the loops that are no longer than that. Needs no torch."""

from __future__ import annotations

import numpy as np

from analysis.results import Float32

# The most by which a distance may be wrong, as a share of it: float32's 6e-8, times the 20 by which
# `distances` lets digits cancel, and a few for the sums. Slices keep it from growing with the
# dimension.
RELATIVE_ERROR = 5e-6

# Birth and death are distances, and either may be wrong.
_ROUNDING = 2 * RELATIVE_ERROR  # share of the death
_SMALLEST = 2 * float(np.finfo(np.float32).smallest_subnormal)


def without_rounding(loops: Float32, error: float = 0.0) -> Float32:
    """The intervals (k, 2) that are longer than the error of the distances, 1e-5 of the death.

    `error` is added to that of both distances: what rounded activations change, see
    `rounding_error`.

    Distances that are equal differ in their last digits once they are computed, and each such
    difference would count as a loop. Both rules are relative to the activations, so a layer's scale
    does not matter.
    """
    births, deaths = loops.astype(np.float64).T
    long: Float32 = loops[deaths - births > _ROUNDING * deaths + 2 * error + _SMALLEST]
    return long
