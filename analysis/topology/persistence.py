"""Vietoris-Rips persistence of distance matrices, by Ripser.

The compiled part of the package `ripser` is called directly. Its Python part imports scikit-learn,
which takes a second, and makes a call with ten points three times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from pyRipser import doRipsFiltrationDM

from analysis.results import Float32
from analysis.topology.passes import PARALLEL_FROM
from analysis.topology.rounding import without_rounding


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
    pairs = distances[_above_diagonal(len(distances))].astype(np.float32, copy=False)
    lists = doRipsFiltrationDM(pairs, 1, np.inf, 2, False)["births_and_deaths_by_dim"]
    components, loops = (np.array(numbers, np.float32).reshape(-1, 2) for numbers in lists)
    return components, without_rounding(loops)


@lru_cache(maxsize=8)
def _above_diagonal(points: int) -> NDArray[np.bool_]:
    """Which entries of a matrix Ripser reads, row by row."""
    return np.triu(np.ones((points, points), bool), 1)


def persistences(
    clouds: Iterable[Float32], *, count: int, points: int
) -> Iterator[tuple[Float32, Float32]]:
    """`persistence` of each of `count` matrices, in order; large ones are spread over processes.

    They have `points` points, or fewer, and are read one after the other.
    """
    cores = cpu_count()
    if cores == 1 or count < 2 or points < PARALLEL_FROM:
        return map(persistence, clouds)
    # loky rather than multiprocessing: it does not import the caller's main module again.
    results: Iterator[tuple[Float32, Float32]] = Parallel(
        n_jobs=min(cores, count), return_as="generator", max_nbytes=None
    )(delayed(persistence)(cloud) for cloud in clouds)
    return results
