"""Vietoris-Rips persistence of distance matrices, by Ripser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from joblib import Parallel, cpu_count, delayed
from ripser import ripser

from analysis.results import Float32
from analysis.topology.distances import RELATIVE_ERROR
from analysis.topology.passes import PARALLEL_FROM

# Birth and death are distances, and either may be wrong.
_ROUNDING = 2 * RELATIVE_ERROR  # share of the death
_SMALLEST = 2 * float(np.finfo(np.float32).smallest_subnormal)


def persistence(distances: Float32) -> tuple[Float32, Float32]:
    """Persistence diagrams of the Vietoris-Rips filtration, coefficients in Z/2, no threshold.

    Parameters
    ----------
    distances : ndarray (N, N) of float32

    Returns
    -------
    components : ndarray (m, 2) of float32
        H₀ births and deaths; the last death is infinite.
    loops : ndarray (k, 2) of float32
        H₁ births and deaths, with death > birth by more than the rounding: see `without_rounding`.
    """
    components, loops = ripser(distances, distance_matrix=True, maxdim=1)["dgms"]
    return components.astype("float32"), without_rounding(loops.astype("float32"))


def without_rounding(loops: Float32) -> Float32:
    """The intervals (k, 2) that are longer than the error of the distances, 1e-5 of the death.

    Distances that are equal differ in their last digits once they are computed, and each such
    difference would count as a loop. The rule is relative, so a layer's scale does not matter.
    """
    births, deaths = loops.astype(np.float64).T
    long: Float32 = loops[deaths - births > _ROUNDING * deaths + _SMALLEST]
    return long


def persistences(clouds: Sequence[Float32]) -> Iterator[tuple[Float32, Float32]]:
    """`persistence` of each matrix, in order; large clouds are spread over processes."""
    cores = cpu_count()
    if cores == 1 or len(clouds) < 2 or max(map(len, clouds)) < PARALLEL_FROM:
        return map(persistence, clouds)
    # loky rather than multiprocessing: it does not import the caller's main module again.
    results: Iterator[tuple[Float32, Float32]] = Parallel(
        n_jobs=min(cores, len(clouds)), return_as="generator", max_nbytes=None
    )(delayed(persistence)(cloud) for cloud in clouds)
    return results
