"""Whether the loops of a cloud are more than its covariance gives: an exact test by rotations.

The null hypothesis is that the points are independent draws from one Gaussian, of any mean and
covariance. A rotation of the points' coordinates, taken over the points rather than the features,
keeps the mean and the covariance and, under that hypothesis, the law of the cloud. So the observed
statistic is one of B + 1 that could each have been the observed one, and
p = (1 + the number of rotated statistics that are at least as large) / (B + 1) is exact for every
number of points and features (rotation tests: Langsrud 2005). It needs only the distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import helmert
from scipy.spatial.distance import pdist, squareform

from analysis.errors import OptionError, raise_problems
from analysis.options import MIN_SAMPLES, MOST_DRAWS
from analysis.results import Float32, Float64, Integers
from analysis.topology.asymptotic import asymptotic_p
from analysis.topology.persistence import persistence
from analysis.topology.rounding import RELATIVE_ERROR
from analysis.topology.summaries import total_persistence

if TYPE_CHECKING:
    import pandas as pd

Truths = NDArray[np.bool_]

STATISTICS = ("b1-more", "b1-fewer", "total-persistence", "longest-loop")
LEVEL = 0.05  # from which p a hypothesis counts as rejected
DRAWS = 199

# The columns of a `RotationTest.null`
_B1, _TOTAL, _LONGEST, _ASYMPTOTIC = range(4)
_OF_STATISTIC = (_B1, _B1, _TOTAL, _LONGEST)
_LEAST_ERROR = 1e-3  # share of the largest eigenvalue by which others may be negative


@dataclass(frozen=True, eq=False)
class RotationTest:
    """The loops of one layer, and those of its rotated clouds.

    With several clouds, such as one per batch, `b1` and the total persistence are means over
    them, and the longest loop is the longest of all.
    """

    observed: Float64  # (3,): b1, total persistence, the longest loop's death / birth
    ratios: Float64  # (k,): death / birth of each interval, cloud after cloud
    asymptotic: Float64  # (k,): p of each interval by `asymptotic_p`, before Bonferroni
    null: Float64  # (draws, 4): `observed` of each draw; whether `asymptotic_p` rejects in it
    asked: int  # draws to make
    # A statistic that so many draws have reached needs no more: Besag and Clifford (1991)
    enough: int | None = None

    @property
    def draws(self) -> int:
        """Draws that were made."""
        return len(self.null)

    @property
    def p(self) -> Float64:
        """The p-value of each of `STATISTICS`, (4,)."""
        return self._p_of(self._reached())

    def spread_p(self, rng: np.random.Generator) -> Float64:
        """`p` with ties broken at random, (4,): uniform if the null hypothesis is true."""
        values, observed = self._compared()
        above = (values > observed).sum(axis=0)
        equal = (values == observed).sum(axis=0)
        p: Float64 = (above + rng.random(4) * (1 + equal)) / (1 + self.draws)
        return p

    @property
    def bars(self) -> Float64:
        """p of each interval: its death / birth against the longest loop of each draw, (k,).

        So the chance that any interval of a Gaussian cloud has a p of at most α is at most α.
        """
        return self._p_of(self.null[:, [_LONGEST]] >= self.ratios)

    @property
    def asymptotic_errors(self) -> float:
        """Share of the draws in which `asymptotic_p` finds a loop: `LEVEL`, if it were exact."""
        return float(self.null[:, _ASYMPTOTIC].mean())

    @property
    def asymptotic_bars(self) -> Float64:
        """p of each interval by `asymptotic_p`, times the number of intervals, (k,)."""
        adjusted: Float64 = np.minimum(1.0, self.asymptotic * len(self.asymptotic))
        return adjusted

    @property
    def long_bars(self) -> int:
        """Intervals whose p is at most `LEVEL`."""
        return int((self.bars <= LEVEL).sum())

    @property
    def is_decided(self) -> bool:
        """Whether more draws can change no p-value."""
        if self.draws >= self.asked or self.enough is None:
            return self.draws >= self.asked
        return bool((self._reached().sum(axis=0) >= self.enough).all())

    @property
    def z(self) -> float:
        """b1 less its mean over the draws, in their standard deviations; NaN if that is 0."""
        deviation = self._null_sd()[0]
        return (
            float((self.observed[_B1] - self.null[:, _B1].mean()) / deviation)
            if (deviation > 0)
            else float("nan")
        )

    def band(self, share: float = 0.95) -> tuple[float, float]:
        """Between which numbers the middle `share` of the draws' b1 lies."""
        low, high = np.quantile(self.null[:, _B1], [(1 - share) / 2, (1 + share) / 2])
        return float(low), float(high)

    def longest_below(self, share: float = 0.95) -> float:
        """The death / birth that the longest loops of this share of the draws do not exceed."""
        return float(np.quantile(self.null[:, _LONGEST], share))

    def to_frame(self) -> pd.DataFrame:
        """One row per statistic.

        Returns
        -------
        DataFrame
            Index "b1-more", "b1-fewer", "total-persistence" and "longest-loop"; columns value,
            null_mean, null_sd (over the draws) and p. The total persistence is in the units of
            the distances; the longest loop is death / birth, 1 without a loop.
        """
        import pandas as pd

        columns = list(_OF_STATISTIC)
        return pd.DataFrame(
            {
                "value": self.observed[columns],
                "null_mean": self.null[:, columns].mean(axis=0),
                "null_sd": self._null_sd(),
                "p": self.p,
            },
            index=pd.Index(STATISTICS, name="statistic"),
        )

    def _null_sd(self) -> Float64:
        values = self.null[:, list(_OF_STATISTIC)]
        deviations: Float64 = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(4)
        return deviations

    def _reached(self) -> Truths:
        """Which draws are at least as extreme as what was observed, (draws, 4)."""
        values, observed = self._compared()
        reached: Truths = values >= observed
        return reached

    def _compared(self) -> tuple[Float64, Float64]:
        """Values of the draws (draws, 4) and the observed ones (4,); the larger are extreme."""
        signs = np.array([1, -1, 1, 1])  # b1-fewer
        columns = list(_OF_STATISTIC)
        return self.null[:, columns] * signs, self.observed[columns] * signs

    def _p_of(self, reached: Truths) -> Float64:
        return sequential_p(reached, asked=self.asked, enough=self.enough)


def sequential_p(reached: Truths, *, asked: int, enough: int | None = None) -> Float64:
    """p-values from which draws were at least as extreme as the observed statistic.

    Parameters
    ----------
    reached : ndarray (draws, k) of bool
    asked : int
        The draws that are made unless `enough` of them are as extreme before.
    enough : int, optional
        The number of draws as extreme after which no more are made. Then p is `enough` over the
        draws that it took (Besag and Clifford 1991); else (1 + count) / (1 + asked). Both are
        valid: P(p <= α) <= α under the null hypothesis.

    Returns
    -------
    ndarray (k,)
    """
    counts = reached.cumsum(axis=0, dtype=np.int64)
    last = counts[-1] if len(counts) else np.zeros(reached.shape[1], np.int64)
    p: Float64 = (1 + last) / (1 + asked)
    if enough is not None:
        stopped = last >= enough
        took = 1 + (counts[:, stopped] >= enough).argmax(axis=0) if stopped.any() else 1
        p[stopped] = enough / took
    return p


def rotation_test(distances: Float32, *, draws: int = DRAWS, seed: int = 0) -> RotationTest:
    """Compare the loops of a cloud with those of Gaussian clouds of the same covariance.

    A small p means that the cloud is not a draw from one Gaussian. Loops are one possible reason;
    clusters and rectified features are others.

    Parameters
    ----------
    distances : ndarray (N, N) or (clouds, N, N)
        Euclidean distances of one cloud, or of several that are tested together, such as one per
        batch; each is rotated by itself. N >= 4.
    draws : int
        Rotations. The smallest p is 1 / (draws + 1).
    seed : int
        Decides the rotations. The same seed rotates every layer alike.

    Returns
    -------
    RotationTest
        Its `to_frame()` has one row per statistic; its `bars` one p per interval of
        `persistence(distances)`, cloud after cloud.

    Raises
    ------
    OptionError
        If the distances are not those of points, or `draws` or `seed` is out of range.
    """
    clouds = np.asarray(distances)
    clouds = clouds[None] if clouds.ndim == 2 else clouds
    _check(clouds, draws, seed)
    null = null_statistics([coordinates(clouds)], range(draws), seed)[:, 0]
    return observe([persistence(cloud)[1] for cloud in clouds], null=null, asked=draws)


def observe(
    diagrams: Sequence[Float32], *, null: Float64, asked: int, enough: int | None = None
) -> RotationTest:
    """The test of a layer with these H₁ diagrams, one per cloud, against these draws."""
    ratios = [_ratios(diagram) for diagram in diagrams]
    return RotationTest(
        observed=_statistics(diagrams)[:_ASYMPTOTIC],
        ratios=np.concatenate([np.zeros(0), *ratios]),
        asymptotic=np.concatenate([np.zeros(0), *map(asymptotic_p, diagrams)]),
        null=null,
        asked=asked,
        enough=enough,
    )


def coordinates(clouds: np.ndarray) -> list[Float64]:
    """Points with these distances around their mean, in a basis orthogonal to (1, ..., 1).

    Parameters
    ----------
    clouds : ndarray (clouds, N, N)

    Returns
    -------
    list of ndarray (N - 1, r)
        Per cloud, with r its dimension; the points are Hᵀ times this, H the Helmert matrix.

    Raises
    ------
    OptionError
        If no points have these distances.
    """
    size = clouds.shape[-1]
    basis = helmert(size)  # (N - 1, N), rows orthonormal and orthogonal to (1, ..., 1)
    found = []
    for cloud in clouds:
        squares = np.square(cloud.astype(np.float64))
        values, vectors = np.linalg.eigh(-0.5 * basis @ squares @ basis.T)
        # The distances' rounding makes small eigenvalues of either sign. Those that are no larger
        # than the most negative one would turn into dimensions that the cloud does not have.
        error, largest = max(0.0, -values[0]), max(0.0, values[-1])
        if error > max(_LEAST_ERROR, 2 * size * RELATIVE_ERROR) * largest:
            raise OptionError(
                "`distances` must be Euclidean distances between points, and no points have these"
            )
        real = values > max(error, largest * np.finfo(np.float64).eps * size)
        found.append(vectors[:, real] * np.sqrt(values[real]))
    return found


def null_statistics(layers: Sequence[Sequence[Float64]], draws: range, seed: int) -> Float64:
    """The statistics of rotated clouds; all layers share the rotations of a draw.

    Parameters
    ----------
    layers : sequence of (sequence of ndarray (N - 1, r))
        The `coordinates` of each layer's clouds.
    draws : range
        A draw gives the same rotations whichever others are made, so they may be spread.
    seed : int

    Returns
    -------
    ndarray (draws, layers, 4)
        As `RotationTest.null`.
    """
    sizes = [len(cloud) for cloud in layers[0]] if layers else []
    bases = {size: helmert(size + 1).T for size in sizes}
    results = np.zeros((len(draws), len(layers), 4))
    for row, draw in enumerate(draws):
        rng = np.random.default_rng([seed, draw])
        # Batches are independent of each other, so each has its own rotation.
        frames = [bases[size] @ random_rotation(size, rng) for size in sizes]
        for column, clouds in enumerate(layers):
            points = [frame @ cloud for frame, cloud in zip(frames, clouds, strict=True)]
            results[row, column] = _statistics([persistence(_distances(p))[1] for p in points])
    return results


def random_rotation(size: int, rng: np.random.Generator) -> Float64:
    """A random orthogonal matrix (size, size), uniform by Haar's measure."""
    q, r = np.linalg.qr(rng.normal(size=(size, size)))
    rotation: Float64 = q * np.sign(np.diag(r))
    return rotation


def _distances(points: Float64) -> Float32:
    if not points.shape[1]:  # all points are one
        return np.zeros((len(points), len(points)), np.float32)
    distances: Float32 = squareform(pdist(points)).astype(np.float32)
    return distances


def _statistics(diagrams: Sequence[Float32]) -> Float64:
    """`RotationTest.observed` and whether `asymptotic_p` rejects, of clouds with these diagrams."""
    ratios = [_ratios(diagram) for diagram in diagrams]
    bars: Integers = np.array([len(each) for each in ratios])
    asymptotic = min((asymptotic_p(d).min(initial=1.0) for d in diagrams), default=1.0)
    return np.array(
        [
            bars.mean(),
            np.mean([total_persistence(diagram) for diagram in diagrams]),
            max((each.max(initial=1.0) for each in ratios), default=1.0),
            float(asymptotic * bars.sum() <= LEVEL and bars.sum() > 0),
        ]
    )


def _ratios(diagram: Float32) -> Float64:
    births, deaths = diagram.astype(np.float64).T
    ratios: Float64 = deaths / births
    return ratios


def _check(clouds: np.ndarray, draws: int, seed: int) -> None:
    problems = []
    if clouds.ndim != 3 or not len(clouds) or clouds.shape[1] != clouds.shape[2]:
        problems.append(
            "`distances` must have the shape (N, N) or (clouds, N, N), "
            f"got {tuple(np.squeeze(clouds, 0).shape if len(clouds) == 1 else clouds.shape)}"
        )
    elif clouds.shape[1] < MIN_SAMPLES:
        problems.append(
            f"`distances` must be of at least {MIN_SAMPLES} points, got {clouds.shape[1]}"
        )
    elif not np.isfinite(clouds).all():
        problems.append("`distances` must be finite; this layer's activations are not")
    elif not (
        (clouds >= 0).all()
        and np.allclose(clouds, clouds.swapaxes(1, 2), rtol=1e-4)
        and not np.diagonal(clouds, axis1=1, axis2=2).any()
    ):
        problems.append(
            "`distances` must be a symmetric matrix with zeros on its diagonal and no negative "
            "number; these are not distances"
        )
    raise_problems(problems + _draws_problems(draws, seed))


def check_draws(draws: int, seed: int) -> None:
    """Raise `OptionError` if the number of draws or the seed is out of range."""
    raise_problems(_draws_problems(draws, seed))


def _draws_problems(draws: int, seed: int) -> list[str]:
    problems = []
    if not 1 <= draws <= MOST_DRAWS:
        problems.append(f"`draws` must be from 1 to {MOST_DRAWS}, got {draws}")
    if not 0 <= seed < 2**32:
        problems.append(f"`seed` must be from 0 to 2³² - 1, got {seed}")
    return problems
