"""Clouds whose features are permuted, and their loops beside those of each layer. Needs no torch.

A feature is one coordinate of a layer's activation. Permuting each over the images by itself keeps
its values, and so every marginal distribution, and removes what the features have to do with each
other. If they had nothing to do with each other, the layer's own cloud would be one more draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.results import Float32, Float64, LayerTopology, TopologyReport
from analysis.text import plural
from analysis.topology.layer_tests import images_to_test
from analysis.topology.summaries import average

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 19  # with which 1 of 20 layers lies above all by chance, and 1 below
BLOCK = 1 << 17  # values that are permuted at once: 1 MB with their random bits, within a cache
_HIGH_HALF = np.uint64(0xFFFFFFFF00000000)


def permute_features(values: Float32, rng: np.random.Generator) -> Float32:
    """Permute each row by itself.

    Parameters
    ----------
    values : ndarray (features, N) of float32
    rng : Generator
        It decides the permutations, by features and N alone.

    Returns
    -------
    ndarray (features, N) of float32
        All permutations of a row are equally likely.

    Notes
    -----
    Each value gets 32 random bits in front, and sorting the 64-bit numbers sorts by these: several
    times faster than sorting places and then fetching the values. Two of 40 values in a row have
    equal random bits in one row of five million.
    """
    keyed = rng.integers(0, 2**64, values.shape, np.uint64)
    keyed &= _HIGH_HALF
    keyed |= np.ascontiguousarray(values).view(np.uint32)
    keyed.sort(axis=1)
    return keyed.astype(np.uint32).view(np.float32)  # keeps the low half


@dataclass(frozen=True, eq=False)
class PermutedLoops:
    """The loops of permuted clouds of each layer, beside its own."""

    # Of the report, each with the diagrams of its permuted clouds: draw after draw, and in each
    # those of all clouds that `images_to_test` gives.
    layers: tuple[LayerTopology, ...]
    observed: Float64  # (layers,): b₁ of these clouds before, its mean over them
    draws: int
    seconds: float = 0.0
    notes: tuple[str, ...] = ()  # sentences for the user, such as of a failed save

    @property
    def null(self) -> Float64:
        """b₁ of each draw, its mean over the clouds, (layers, draws)."""
        counts = [[len(diagram) for diagram in layer.diagrams] for layer in self.layers]
        means: Float64 = np.reshape(counts, (len(counts), self.draws, -1)).mean(axis=2)
        return means

    @property
    def more(self) -> int:
        """Layers whose b₁ is larger than in all draws."""
        return int((self.observed > self.null.max(axis=1)).sum())

    @property
    def fewer(self) -> int:
        """Layers whose b₁ is smaller than in all draws."""
        return int((self.observed < self.null.min(axis=1)).sum())

    def by_layer(self) -> pd.DataFrame:
        """One row per layer.

        Returns
        -------
        DataFrame
            Index layer; b1, permuted_mean, permuted_low and permuted_high (the middle 95 % of the
            draws), p_more and p_fewer. These are exact if the features are independent.
        """
        import pandas as pd

        null, observed = self.null, self.observed[:, None]
        low, high = np.quantile(null, [0.025, 0.975], axis=1)
        return pd.DataFrame(
            {
                "b1": self.observed,
                "permuted_mean": null.mean(axis=1),
                "permuted_low": low,
                "permuted_high": high,
                "p_more": (1 + (null >= observed).sum(axis=1)) / (1 + self.draws),
                "p_fewer": (1 + (null <= observed).sum(axis=1)) / (1 + self.draws),
            },
            index=pd.Index([layer.name for layer in self.layers], name="layer"),
        )

    def sentence(self) -> str:
        """In how many layers b₁ lies outside all draws, and in how many it would by chance."""
        chance = len(self.layers) / (1 + self.draws)
        about = f"{chance:.0f}" if chance >= 1 else f"{chance:.1g}"
        return (
            f"Of {plural(len(self.layers), 'layer')}, b₁ is larger than in all "
            f"{plural(self.draws, 'cloud')} with permuted features in **{self.more}** and smaller "
            f"than in all in **{self.fewer}**. By chance alone each would be at most about {about}."
        )


def observed_loops(report: TopologyReport, layers: Sequence[LayerTopology]) -> Float64:
    """b₁ of the clouds that are permuted, as the report counts it, by layer."""
    count = len(images_to_test(report))
    loops = (report.layer(layer.name).diagrams[:count] for layer in layers)
    return np.array([average(diagrams, "b1") for diagrams in loops])
