"""Random subsets of an analysis' images, and the error of a mean over them.

b₁ of 40 images depends on which 40 they are. Its mean over many subsets of a larger draw does so
much less, at the cost of more Ripser and no other pass (subsampling, Chazal et al. 2015).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from analysis.options import Pooling
from analysis.results import Float64, Integers, TopologyReport
from analysis.topology.summaries import cloud_values

_LEAST = 0.1  # of the variance of disjoint subsets: the mean over all others keeps so much


def images_of_clouds(
    samples: int, *, pooling: Pooling, batch_size: int, subsets: int = 1, seed: int = 0
) -> Integers:
    """The images of each cloud that is measured.

    Parameters
    ----------
    samples : int
        Images of the analysis.
    pooling : {"pooled", "per-batch", "subsets"}
        One cloud of all images; one for each full batch, in order; or `draw_subsets`.
    batch_size : int
        Images in each batch or subset.
    subsets, seed : int
        How many subsets, and what decides them.

    Returns
    -------
    ndarray (clouds, images of a cloud) of int64
        Positions among the images, ascending in each row.
    """
    if pooling == "subsets":
        return draw_subsets(samples, batch_size, subsets, seed)
    size = samples if pooling == "pooled" else batch_size
    return np.arange(samples // size * size, dtype=np.int64).reshape(-1, size)


def draw_subsets(samples: int, size: int, count: int, seed: int) -> Integers:
    """Random subsets of `samples` images, (count, size); without replacement within each.

    As many as there is room for share no image: they are cut one after the other from a random
    order of all images, then from another order. So each image is in about as many of them, and
    the deviation within an order shows that of independent subsets (`standard_errors`). Fewer
    subsets are the first of more. If a subset would hold all images, it is the only one.
    """
    if size >= samples:
        return np.arange(samples, dtype=np.int64)[None]
    rng, disjoint = np.random.default_rng(seed), samples // size
    orders = -(-count // disjoint)
    drawn = [rng.permutation(samples)[: disjoint * size] for _ in range(orders)]
    subsets = np.sort(np.reshape(drawn, (-1, size))[:count], axis=1)
    return subsets.astype(np.int64)


def with_errors(report: TopologyReport) -> TopologyReport:
    """The report with the standard error of each layer's b₁."""
    errors = standard_errors(report, "b1")
    layers = zip(report.layers, errors, strict=True)
    return replace(report, layers=tuple(replace(e, b1_se=float(error)) for e, error in layers))


def standard_errors(report: TopologyReport, summary: str = "b1") -> Float64:
    """The standard error of a summary's mean over clouds, for each layer, (layers,).

    That is how far the mean of other images of the same dataset would typically lie from the mean
    of very many. NaN if that cannot be known: see `error_of_means`.
    """
    error = error_of_means(report, summary)
    if error is None:
        return np.full(len(report.layers), np.nan)
    return error.standard


@dataclass(frozen=True, eq=False)
class ErrorOfMeans:
    """How the means over clouds would differ with other images, of all layers together."""

    # (layers, k): `deviations @ g`, with k standard normal numbers g, is a draw of all errors
    deviations: Float64
    chance: float  # share of its variance that more subsets of the same images would remove

    @property
    def standard(self) -> Float64:
        """The standard error of each layer, (layers,)."""
        errors: Float64 = np.sqrt((self.deviations**2).sum(axis=1))
        return errors


def error_of_means(report: TopologyReport, summary: str = "b1") -> ErrorOfMeans | None:
    """The error of a summary's mean over clouds, which all layers have from the same images.

    Batches share no image, so their own spread shows it. Random subsets do. With ζ the variance
    of k subsets that share none, and s² that of the means of several such orders of all images,
    the mean over all subsets that there are has the variance ζ/k - s², without bias (Wang and
    Lindsay 2014); p orders add s²/p. For a single layer that is a small difference of noisy
    numbers, even negative: so its share of ζ is taken from all layers together.

    Returns
    -------
    ErrorOfMeans or None
        None if no two clouds are without a common image. A layer that is not finite has NaN.
    """
    layers = [layer for layer in report.layers if layer.finite]
    count, size = report.clouds.shape
    disjoint = min(count, report.samples // size if size else 0)
    if disjoint < 2 or not layers:
        return None
    orders = count // disjoint
    values = np.stack([cloud_values(e, summary, report.shortest_loop(e)) for e in layers])
    values = values[:, : orders * disjoint].reshape(len(layers), orders, disjoint)
    means = values.mean(axis=2)
    own = (values - means[..., None]).reshape(len(layers), -1) / sqrt(orders * (disjoint - 1))
    between, zeta = means.var(axis=1, ddof=1).sum() if orders > 1 else 0.0, (own**2).sum()
    share, chance = 1 / disjoint, 0.0
    if orders > 1 and zeta:
        chance = between / zeta * disjoint / count
        share = max(1 / disjoint - between / zeta, _LEAST / disjoint) + chance
    deviations = np.full((len(report.layers), own.shape[1]), np.nan)
    deviations[[layer.finite for layer in report.layers]] = sqrt(share) * own
    return ErrorOfMeans(deviations, chance / share)
