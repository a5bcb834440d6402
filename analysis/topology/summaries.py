"""Numbers that summarise a persistence diagram, and its Betti curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from analysis.results import Float32, Float64, Integers, LayerTopology, TopologyReport


@dataclass(frozen=True)
class Summary:
    title: str
    phrase: str  # in the middle of a sentence
    help: str
    compute: Callable[[Float32, float], float]  # (diagram (k, 2), min_persistence)


def long_intervals(diagram: Float32, min_persistence: float = 0.0) -> Float32:
    """The intervals (k, 2) whose death - birth is above `min_persistence`."""
    long: Float32 = diagram[diagram[:, 1] - diagram[:, 0] > min_persistence]
    return long


def betti_number(diagram: Float32, min_persistence: float = 0.0) -> float:
    """Number of intervals longer than `min_persistence`, in the units of the distances."""
    return float(len(long_intervals(diagram, min_persistence)))


def betti_curve(diagram: Float32) -> tuple[Float64, Integers]:
    """How many intervals are alive at each scale.

    Returns
    -------
    scales : ndarray (2k,) of float64
        Births and deaths, sorted.
    counts : ndarray (2k,) of int64
        Intervals alive from that scale to the next: births up to it, less deaths up to it.
    """
    births, deaths = np.sort(diagram[:, 0]), np.sort(diagram[:, 1])
    scales = np.sort(diagram.ravel()).astype(np.float64)
    alive = np.searchsorted(births, scales, "right") - np.searchsorted(deaths, scales, "right")
    return scales, alive.astype(np.int64)


def betti_curve_maximum(diagram: Float32, min_persistence: float = 0.0) -> float:
    """The most intervals alive at one scale."""
    return float(betti_curve(long_intervals(diagram, min_persistence))[1].max(initial=0))


def total_persistence(diagram: Float32, min_persistence: float = 0.0) -> float:
    """Sum of death - birth, in the units of the distances."""
    intervals = long_intervals(diagram, min_persistence).astype(np.float64)
    return float((intervals[:, 1] - intervals[:, 0]).sum())


def longest_loop(diagram: Float32, min_persistence: float = 0.0) -> float:
    """The largest death / birth, which does not depend on the units; 0 without a loop."""
    births, deaths = long_intervals(diagram, min_persistence).astype(np.float64).T
    return float((deaths / births).max(initial=0.0))


def persistent_entropy(diagram: Float32, min_persistence: float = 0.0) -> float:
    """Shannon entropy of the intervals' shares of the total persistence, in bits.

    Atienza, Gonzalez-Diaz, Soriano-Trigueros (2020), arXiv:1803.08304. 0 for an empty diagram.
    """
    intervals = long_intervals(diagram, min_persistence).astype(np.float64)
    lengths = intervals[:, 1] - intervals[:, 0]
    shares = lengths / lengths.sum() if len(lengths) else lengths
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def cloud_values(layer: LayerTopology, summary: str, min_persistence: float = 0.0) -> Float64:
    """A summary (a name of `SUMMARIES`) of each of a layer's clouds; computed once."""
    known = _VALUES.setdefault(layer, {})
    if (summary, min_persistence) not in known:
        compute = SUMMARIES[summary].compute
        values = np.array([compute(diagram, min_persistence) for diagram in layer.diagrams])
        values.flags.writeable = False
        known[summary, min_persistence] = values
    return known[summary, min_persistence]


def layer_means(report: TopologyReport, summary: str) -> Float64:
    """The mean of a summary over each layer's clouds, (layers,); NaN if it is not finite."""
    return np.array(
        [
            cloud_values(layer, summary, report.shortest_loop(layer)).mean()
            if layer.finite
            else np.nan
            for layer in report.layers
        ]
    )


_VALUES: WeakKeyDictionary[LayerTopology, dict[tuple[str, float], Float64]] = WeakKeyDictionary()


def average(diagrams: Sequence[Float32], summary: str, min_persistence: float = 0.0) -> float:
    """Mean of a summary (a name of `SUMMARIES`) over a layer's clouds."""
    compute = SUMMARIES[summary].compute
    return float(np.mean([compute(diagram, min_persistence) for diagram in diagrams]))


SUMMARIES = {
    "b1": Summary(
        "b₁, loops", "b₁", "Number of loops (H₁ intervals), as in the paper.", betti_number
    ),
    "betti-maximum": Summary(
        "Betti curve maximum",
        "the Betti curve's maximum",
        "The most loops alive at one scale.",
        betti_curve_maximum,
    ),
    "total-persistence": Summary(
        "Total persistence",
        "the total persistence",
        "Sum of all loops' lifetimes.",
        total_persistence,
    ),
    "longest-loop": Summary(
        "Longest loop",
        "the longest loop's death / birth",
        "Death / birth of the longest loop.",
        longest_loop,
    ),
    "entropy": Summary(
        "Persistent entropy",
        "the persistent entropy",
        "How evenly the lifetimes are spread, in bits.",
        persistent_entropy,
    ),
}
