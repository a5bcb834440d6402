"""The published p-value of a loop, which needs no draws but very many points."""

from __future__ import annotations

import numpy as np

from analysis.results import Float32, Float64


def asymptotic_p(diagram: Float32) -> Float64:
    """p of each interval, if death / birth of random points follows a left-skewed Gumbel law.

    With π = death / birth, x = log log π - mean(log log π) - γ (Euler's constant), and
    p = exp(-exp x): Bobrowski and Skraba (2023), "A universal null-distribution for topological
    data analysis", for the Vietoris-Rips filtration (A = 1). It is asymptotic in the number of
    points at a fixed dimension. Multiply by the number of intervals (Bonferroni).

    Parameters
    ----------
    diagram : ndarray (k, 2)
        H₁ births and deaths, 0 < birth < death.

    Returns
    -------
    ndarray (k,)
    """
    births, deaths = diagram.astype(np.float64).T
    if not len(births):
        return np.zeros(0)
    logs = np.log(np.log(deaths / births))
    p: Float64 = np.exp(-np.exp(logs - logs.mean() - np.euler_gamma))
    return p
