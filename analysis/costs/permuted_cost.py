"""The time of permuting the features of an analysis, predicted in a moment and without torch."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from analysis.results import TopologyReport
from analysis.topology.layer_tests import images_to_test, ripser_seconds
from analysis.topology.permuted import BLOCK, DRAWS, permute_features

_TRIES = 3  # the fastest counts, because other work can only slow it
_CALL, _PAIR = 1e-4, 1e-8  # seconds of one block of one draw, and for each pair of its points


def permuted_seconds(report: TopologyReport, draws: int = DRAWS) -> float:
    """Seconds to permute the features of all layers, count loops and run the network again.

    Parameters
    ----------
    report : TopologyReport
        The analysis; its own time bounds that of the pass.
    draws : int

    Returns
    -------
    float
        Without loading the network and the images.
    """
    clouds, points = images_to_test(report).shape
    finite = [layer for layer in report.layers if layer.finite]
    share = clouds * points / report.samples
    values = share * sum(layer.activation_size for layer in finite)
    small = ripser_seconds(1, points) + _call_seconds(points)
    drawing: float = values * _value_seconds(points) + clouds * len(finite) * small
    return float(share * report.seconds + draws * drawing)


@cache
def _value_seconds(points: int) -> float:
    """Seconds per value to permute it and to take its part in the distances."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(max(1, BLOCK // points), points)).astype(np.float32)
    times = []
    for _ in range(_TRIES):
        begun = time.perf_counter()
        permuted = permute_features(values, rng)
        _ = permuted.T @ permuted
        times.append(time.perf_counter() - begun)
    return float((min(times) + _call_seconds(points)) / values.size)


def _call_seconds(points: int) -> float:
    return _CALL + _PAIR * points**2
