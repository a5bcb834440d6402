"""Which images decide a selection: what it would be without each of them, or without a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import Float64, Integers, TopologyReport
from analysis.selection.certainty import best_layers
from analysis.selection.scores import score, size_only
from analysis.topology.layer_tests import holm
from analysis.topology.summaries import SUMMARIES, cloud_values

LEVEL = 0.05  # of Holm's corrected p, at which a group of images counts as decisive
_FEWEST = 8  # subsets, from which a slope has an error worth the name
_FAKES = 400  # random choices of subsets to leave out


@dataclass(frozen=True, eq=False)
class Influence:
    """What leaving out groups of images would change, by the subsets that hold few of them.

    The lead is by how many loops the last selected layer is ahead of the next one; below 0 they
    change places.
    """

    last: str  # the last selected layer
    following: str  # the best layer that is not selected
    lead: float  # loops of the last selected layer
    without: Float64  # (groups,), the lead without each group
    error: Float64  # (groups,), its standard error
    p: Float64  # (groups,), that a group without influence would change the lead so much, corrected
    changes: NDArray[np.bool_]  # (groups,), whether another layer is selected without it
    by_chance: float  # groups that would be expected among `changes` if none had an influence
    means: Float64  # (layers, groups), the summary of each ranked layer without the group
    means_error: Float64  # (layers, groups)
    ranks: Integers  # (layers, groups), 1 is best
    layers: tuple[str, ...]  # that are ranked

    @property
    def decisive(self) -> list[int]:
        """The groups whose influence is more than chance."""
        return [int(group) for group in np.flatnonzero(self.p <= LEVEL)]

    @property
    def strongest(self) -> list[int]:
        """The groups by how clearly the lead shrinks without them, the clearest first."""
        sureness = (self.without - self.lead) / np.where(self.error > 0, self.error, np.inf)
        return [int(group) for group in np.argsort(sureness, kind="stable")]


def image_influence(
    report: TopologyReport,
    rows: pd.DataFrame,
    *,
    groups: NDArray[np.int64] | None = None,
    normalization: str = "activation",
    summary: str = "b1",
) -> Influence | None:
    """How the selection depends on single images, or on groups of them such as classes.

    Subsets that hold more images of a group are compared with those that hold fewer, by a
    straight line; of one image that is the difference between the subsets with it and without.
    So no loop is counted again, and a small influence is lost in the noise of the other images:
    the error says how much.

    Parameters
    ----------
    report : TopologyReport
        Of random subsets.
    rows : DataFrame
        Of `ranking.ranking` with the same settings.
    groups : ndarray (samples,) of int64, optional
        The group of each image, from 0; by default each image is its own.
    normalization, summary : str

    Returns
    -------
    Influence or None
        None if the analysis has no subsets, or there is nothing to choose between.
    """
    ranked, count = rows["rank"].notna().to_numpy(), int(rows["selected"].sum())
    names = rows.loc[ranked, "layer"].tolist()
    subsets = len(report.clouds)
    if summary not in SUMMARIES or not 0 < count < len(names) or subsets < _FEWEST:
        return None
    layers = [layer for layer, is_ranked in zip(report.layers, ranked, strict=True) if is_ranked]
    values = np.stack([cloud_values(e, summary, report.shortest_loop(e)) for e in layers])
    size = 1 / size_only(report, normalization=normalization).to_numpy()[ranked]
    held = _held(report, np.arange(report.samples) if groups is None else groups)
    if held.std(axis=0).max() == 0:  # each subset holds all images, or none
        return None
    order = np.argsort(-values.mean(axis=1) / size, kind="stable")
    last, following = order[count - 1], order[count]
    lead = values[last] - values[following] * size[last] / size[following]
    slope, error = slopes(held, lead[None])
    share = held.mean(axis=0)
    means_slope, means_error = slopes(held, values)
    means = values.mean(axis=1)[:, None] - means_slope * share
    scores = (means / size[:, None]).T
    now = best_layers(values.mean(axis=1)[None] / size, count)
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1) + 1
    return Influence(
        last=names[last],
        following=names[following],
        lead=float(lead.mean()),
        without=lead.mean() - (slope * share)[0],
        error=(error * share)[0],
        p=holm(_two_sided(slope[0], error[0], subsets - 2)),
        changes=(best_layers(scores, count) != now).any(axis=1),
        by_chance=_changes_by_chance(values, size, held, count),
        means=means,
        means_error=means_error * share,
        ranks=places.T,
        layers=tuple(names),
    )


def lead_between(
    report: TopologyReport,
    last: str,
    following: str,
    *,
    normalization: str = "activation",
    summary: str = "b1",
) -> float:
    """By how many loops of its own one layer is ahead of another."""
    scores = score(report, normalization=normalization, summary=summary)
    size = 1 / size_only(report, normalization=normalization)
    return float((scores[last] - scores[following]) * size[last])


def slopes(held: Float64, values: Float64) -> tuple[Float64, Float64]:
    """The least-squares slope of each row of values (k, subsets) on each group's images.

    Parameters
    ----------
    held : ndarray (subsets, groups)
        Images of each group in each subset.
    values : ndarray (k, subsets)

    Returns
    -------
    slope, error : ndarray (k, groups)
        0 for groups of which all subsets hold as many images.
    """
    x, y = held - held.mean(axis=0), values - values.mean(axis=1, keepdims=True)
    spread = (x**2).sum(axis=0)
    covered = np.where(spread > 0, spread, np.inf)
    slope = y @ x / covered
    left = np.maximum((y**2).sum(axis=1, keepdims=True) - slope**2 * spread, 0)
    return slope, np.sqrt(left / (len(held) - 2) / covered)


def _held(report: TopologyReport, groups: NDArray[np.int64]) -> Float64:
    """How many images of each group each subset holds, (subsets, groups)."""
    held = np.zeros((len(report.clouds), int(groups.max()) + 1))
    for number, images in enumerate(report.clouds):
        np.add.at(held[number], groups[images], 1)
    return held


def _two_sided(slope: Float64, error: Float64, freedom: int) -> Float64:
    from scipy import stats  # slow to import

    t = np.divide(slope, error, out=np.zeros_like(slope), where=error > 0)
    p: Float64 = 2 * stats.t.sf(np.abs(t), freedom)
    return p


def _changes_by_chance(values: Float64, size: Float64, held: Float64, count: int) -> float:
    """How many groups would change the selection if subsets were left to them at random."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(held.shape[1], size=_FAKES)
    shuffled = rng.permuted(held[:, chosen], axis=0)
    slope, _ = slopes(shuffled, values)
    means = values.mean(axis=1)[:, None] - slope * shuffled.mean(axis=0)
    now = best_layers(values.mean(axis=1)[None] / size, count)
    changes = (best_layers((means / size[:, None]).T, count) != now).any(axis=1)
    return float(changes.mean() * held.shape[1])
