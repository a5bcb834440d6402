"""Criteria to rank layers by that need no gradients.

Most are functions of a layer's (N, N) distances, two of the singular values of its weights, one of
a norm's statistics.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, helmert

from analysis.results import Float64, Integers

Distances = NDArray[np.floating]
# Variances of the noise that `linear_evidence` tries, over the largest of the features': below, the
# distances have no digits; above, the features play no part.
_NOISE = np.logspace(-6, 3, 361)


def centered_gram(distances: Distances) -> Float64:
    """The inner products of the points around their mean.

    Parameters
    ----------
    distances : ndarray (N, N)
        Euclidean.

    Returns
    -------
    ndarray (N, N) of float64
        −½ J (D∘D) J with J = I − 11ᵀ/N, as in classical scaling (Torgerson 1952).
    """
    squares = np.square(distances, dtype=np.float64)
    means = squares.mean(axis=0)
    gram: Float64 = -0.5 * (squares - means - means[:, None] + means.mean())
    return gram


def participation_ratio(distances: Distances) -> float:
    """Over how many directions a cloud spreads: (Σλ)² / Σλ², λ the variances along its axes.

    Parameters
    ----------
    distances : ndarray (N, N)

    Returns
    -------
    float
        From 1, a line, to at most N − 1; NaN if all points are the same.
    """
    gram = centered_gram(distances)
    variance, squares = np.trace(gram), np.square(gram).sum()  # Σλ and Σλ²
    return float(variance**2 / squares) if squares else float("nan")


def intrinsic_dimension(distances: Distances) -> float:
    """The dimension of the surface on which a cloud lies, by TwoNN (Facco et al. 2017).

    Parameters
    ----------
    distances : ndarray (N, N)
        Of points that are the same, only the first counts.

    Returns
    -------
    float
        N / Σ log(r₂ / r₁), r₁ and r₂ the distances of a point to its nearest two. NaN with fewer
        than three different points, or if r₁ = r₂ for all.
    """
    again = np.triu(np.asarray(distances) == 0, k=1).any(axis=0)
    between = np.asarray(distances, dtype=np.float64)[np.ix_(~again, ~again)]
    if len(between) < 3:
        return float("nan")
    _, nearest, second = np.partition(between, (0, 1, 2), axis=1)[:, :3].T  # the first is its own
    logarithms = np.log(second / nearest).sum()
    return float(len(between) / logarithms) if logarithms else float("nan")


def linear_cka(distances: Distances, others: Distances) -> float:
    """How alike two layers represent the same images: linear CKA (Kornblith et al. 2019).

    Parameters
    ----------
    distances, others : ndarray (N, N)
        Of the same images in two layers.

    Returns
    -------
    float
        ⟨G, G'⟩ / (‖G‖ ‖G'‖), from 0 to 1: 1 if they differ by a rotation and a scale only. NaN if
        all points of a layer are the same.
    """
    one, other = centered_gram(distances), centered_gram(others)
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return float(np.vdot(one, other) / norms) if norms else float("nan")


def neighbour_agreement(distances: Distances, labels: Integers) -> float:
    """How well a layer separates classes: leave-one-out accuracy by the nearest neighbour.

    Parameters
    ----------
    distances : ndarray (N, N)
    labels : ndarray (N,)

    Returns
    -------
    float
        The share of images whose nearest neighbour has their class. Of neighbours that are equally
        near, each counts as a part. NaN with fewer than two images.
    """
    if len(labels) < 2:
        return float("nan")
    between = np.array(distances, dtype=np.float64)
    np.fill_diagonal(between, np.inf)
    nearest = between == between.min(axis=1, keepdims=True)
    same = labels[:, None] == labels
    return float(((nearest & same).sum(axis=1) / nearest.sum(axis=1)).mean())


def linear_evidence(distances: Distances, labels: Integers) -> float:
    """How well a linear model of a layer predicts classes: LogME (You et al. 2021).

    Parameters
    ----------
    distances : ndarray (N, N)
    labels : ndarray (N,)

    Returns
    -------
    float
        The log evidence for each image, mean over the classes: the largest log density of "is of
        this class" under y = c + F w + ε, with w ~ N(0, s I), ε ~ N(0, t I) and every intercept c
        equally likely, over s and t. By the intercept it depends on distances alone, and N − 1
        contrasts remain of N images. NaN with fewer than two classes.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return float("nan")
    contrasts = helmert(len(labels))  # (N − 1, N), orthonormal and orthogonal to the intercept
    variances, axes = eigh(contrasts @ centered_gram(distances) @ contrasts.T)
    squares = (axes.T @ contrasts @ (labels[:, None] == classes)) ** 2  # (N − 1, classes)
    found = -0.5 * (np.log(2 * np.pi * squares.mean(axis=0)) + 1)  # by noise alone
    largest = variances[-1]
    if largest > 0:
        noisy = np.clip(variances, 0, None) / largest + _NOISE[:, None]  # (noises, N − 1)
        scales = (1 / noisy) @ squares / len(variances)  # the best s for each noise
        logs = np.log(noisy).mean(axis=1, keepdims=True)
        found = np.maximum(found, _peaks(-0.5 * (np.log(2 * np.pi * scales) + 1 + logs)))
    return float(found.mean())


def _peaks(values: Float64) -> Float64:
    """The largest value of each column, at the vertex of the parabola through its neighbours."""
    at = values.argmax(axis=0).clip(1, len(values) - 2)
    before, peak, after = (np.take_along_axis(values, at[None] + step, 0)[0] for step in (-1, 0, 1))
    bend = np.maximum(2 * peak - before - after, np.finfo(float).tiny)
    inside = peak >= np.maximum(before, after)
    vertex: Float64 = np.where(
        inside, peak + (after - before) ** 2 / (8 * bend), values.max(axis=0)
    )
    return vertex


def normal_divergence(
    means: Float64, variances: Float64, known_means: Float64, known_variances: Float64
) -> float:
    """How far normal distributions are from known ones, in nats: the mean of KL(new ‖ known).

    All arguments have one value for each channel; variances of 0 have no finite divergence.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = variances / known_variances
        apart = (means - known_means) ** 2 / known_variances
        return float(0.5 * np.mean(ratio - 1 - np.log(ratio) + apart))


def stable_rank(singular_values: Float64) -> float:
    """Over how many directions a weight matrix spreads: ‖W‖_F² / ‖W‖₂².

    From 1 to the rank; NaN for zeros. As in WeightWatcher (Martin, Peng and Mahoney 2021).
    """
    squares = np.square(singular_values)
    largest = squares.max(initial=0.0)
    return float(squares.sum() / largest) if largest else float("nan")


def signal_to_noise(singular_values: Float64, sides: tuple[int, int]) -> float:
    """How far a weight matrix stands out from noise, by Spectrum (Hartford et al. 2024).

    Parameters
    ----------
    singular_values : ndarray (min(sides),)
    sides : tuple of int
        Rows and columns of the matrix, in any order.

    Returns
    -------
    float
        The sum of the singular values above τ over the sum of the others, divided by the largest.
        τ = σ (1 + √β) is the edge of the Marchenko–Pastur law, with β the smaller side over the
        larger and σ the interquartile range / 1.349. Infinite if none lies below τ; NaN with fewer
        than four values, which have no quartiles, or for zeros.
    """
    largest = singular_values.max(initial=0.0)
    if len(singular_values) < 4 or not largest:
        return float("nan")
    low, high = np.quantile(singular_values, [0.25, 0.75])
    edge = (high - low) / 1.349 * (1 + np.sqrt(min(sides) / max(sides)))
    noise = singular_values[singular_values <= edge].sum()
    signal = singular_values[singular_values > edge].sum()
    return float(signal / noise / largest) if noise else float("inf")
