"""Maps of the same images, turned to match each other."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.linalg import orthogonal_procrustes

from analysis.results import Float64


def aligned_maps(maps: Sequence[Float64]) -> list[Float64]:
    """Centre maps, and turn or reflect each so that it matches the one before it best.

    Parameters
    ----------
    maps : sequence of ndarray (N, 2)
        Of the same images in the same order.

    Returns
    -------
    list of ndarray (N, 2)
        No distance within a map has changed.
    """
    aligned: list[Float64] = []
    for points in maps:
        centred = points - points.mean(axis=0)
        if aligned:
            turn, _ = orthogonal_procrustes(centred, aligned[-1])
            centred = centred @ turn
        aligned.append(centred)
    return aligned
