"""The Betti curves of all layers on one scale."""

from __future__ import annotations

import numpy as np

from analysis.results import Float64, TopologyReport


def betti_surface(report: TopologyReport, *, steps: int = 120) -> tuple[Float64, Float64]:
    """How many loops each layer has at each scale, as the mean over its clouds.

    Parameters
    ----------
    report : TopologyReport
    steps : int
        Scales, evenly spaced from the first birth to the last death of any layer.

    Returns
    -------
    scales : ndarray (steps,)
        In shares of each layer's largest distance.
    loops : ndarray (layers, steps)
        NaN for a layer that is not finite.
    """
    scaled = [layer.diagram / (layer.diameter or 1.0) for layer in report.layers]
    ends = np.concatenate([np.zeros((0, 2)), *scaled])
    low, high = (ends.min(), ends.max()) if len(ends) else (0.0, 1.0)
    scales = np.linspace(low, high, steps)
    loops = np.full((len(scaled), steps), np.nan)
    for row, layer, diagram in zip(loops, report.layers, scaled, strict=True):
        if layer.finite:
            births, deaths = np.sort(diagram, axis=0).T
            alive = np.searchsorted(births, scales, "right")
            row[:] = (alive - np.searchsorted(deaths, scales, "right")) / len(layer.diagrams)
    return scales, loops
