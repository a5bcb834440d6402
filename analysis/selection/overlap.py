"""How far the selections of different images overlap, by how the layers are measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import Float64, LayerTopology, TopologyReport
from analysis.selection.certainty import best_layers
from analysis.selection.scores import size_only
from analysis.topology.part_clouds import PartClouds
from analysis.topology.summaries import SUMMARIES, cloud_values, layer_means

COUNTS = (1, 5, 20, 100)  # of subsets
_COLUMNS = ["kind", "images", "clouds", "overlap", "pairs"]


def part_overlaps(
    report: TopologyReport,
    parts: PartClouds,
    rows: pd.DataFrame,
    *,
    normalization: str = "activation",
    summary: str = "b1",
) -> pd.DataFrame:
    """The overlap of the selections from parts of the images that share none.

    Parameters
    ----------
    report : TopologyReport
    parts : PartClouds
        Of the report.
    rows : DataFrame
        Of `ranking.ranking`, whose selection has as many layers as each part selects.
    normalization, summary : str

    Returns
    -------
    DataFrame
        One row per way to measure: kind ("whole", "subsets", "pooled" or "averaged"), images (of
        a part), clouds (of a part), overlap (mean Jaccard index: shared layers by those that
        either selects), pairs (of parts). Without rows if nothing is selected.
    """
    ranked, count = rows["rank"].notna().to_numpy(), int(rows["selected"].sum())
    if not count or summary not in SUMMARIES:
        return pd.DataFrame(columns=_COLUMNS)
    size = _sizes(report, ranked, normalization)
    by_name = {layer.name: layer for layer in parts.layers}
    measured = [by_name[name] for name in rows.loc[ranked, "layer"]]
    values = _values(report, measured, summary)
    found = []
    for way in parts.ways:
        means = values[:, way.parts].mean(axis=-1)  # (layers, shuffles, parts)
        overlaps = [
            overlap
            for shuffle in np.moveaxis(means, 0, -1)
            for overlap in _overlaps(shuffle / size, count)
        ]
        found.append((way.kind, way.images, way.clouds, float(np.mean(overlaps)), len(overlaps)))
    return pd.DataFrame(found, columns=_COLUMNS)


def draw_overlaps(
    reports: Sequence[TopologyReport],
    rows: pd.DataFrame,
    *,
    normalization: str = "activation",
    summary: str = "b1",
) -> pd.DataFrame:
    """The overlap of the selections of several draws of images, by the number of subsets.

    Parameters
    ----------
    reports : sequence of TopologyReport
        Of the same layers, with the same options but for the images.
    rows : DataFrame
        Of the `ranking.ranking` of the first.
    normalization, summary : str

    Returns
    -------
    DataFrame
        images, clouds (each of `COUNTS` that there are, and all), overlap, pairs (of draws).
    """
    ranked, count = rows["rank"].notna().to_numpy(), int(rows["selected"].sum())
    if not count or len(reports) < 2 or summary not in SUMMARIES:
        return pd.DataFrame(columns=_COLUMNS[1:])
    of_draws = []
    for report in reports:
        layers = [
            layer for layer, is_ranked in zip(report.layers, ranked, strict=True) if is_ranked
        ]
        of_draws.append(_values(report, layers, summary))
    values = np.stack(of_draws)  # (draws, layers, clouds)
    size = _sizes(reports[0], ranked, normalization)
    most = values.shape[2]
    found = []
    for clouds in sorted({count for count in COUNTS if count < most} | {most}):
        overlaps = _overlaps(values[:, :, :clouds].mean(axis=2) / size, count)
        found.append((reports[0].samples, clouds, float(np.mean(overlaps)), len(overlaps)))
    return pd.DataFrame(found, columns=_COLUMNS[1:])


def shares_of_draws(
    reports: Sequence[TopologyReport],
    rows: pd.DataFrame,
    *,
    normalization: str = "activation",
    summary: str = "b1",
) -> pd.Series:
    """How many of the draws choose each layer, as a share; index layer, missing if not ranked."""
    ranked, count = rows["rank"].notna().to_numpy(), int(rows["selected"].sum())
    size = _sizes(reports[0], ranked, normalization)
    means = np.stack([layer_means(report, summary)[ranked] for report in reports])
    shares = np.full(len(rows), np.nan)
    shares[ranked] = best_layers(means / size, count).mean(axis=0)
    return pd.Series(shares, index=pd.Index(rows["layer"], name="layer"))


def choices_of_clouds(
    report: TopologyReport, rows: pd.DataFrame, *, normalization: str = "activation"
) -> tuple[Float64, NDArray[np.bool_]]:
    """What each cloud of the report, such as a subset of the images, would choose by itself.

    Parameters
    ----------
    report : TopologyReport
    rows : DataFrame
        Of `ranking.ranking`, whose selection has as many layers as each cloud selects.
    normalization : str

    Returns
    -------
    scores : ndarray (clouds, layers)
        b₁ over size; NaN where a layer is not ranked.
    chosen : ndarray (clouds, layers) of bool
    """
    ranked, count = rows["rank"].notna().to_numpy(), int(rows["selected"].sum())
    layers = [layer for layer, is_ranked in zip(report.layers, ranked, strict=True) if is_ranked]
    found = (_values(report, layers, "b1") / _sizes(report, ranked, normalization)[:, None]).T
    scores = np.full((len(found), len(rows)), np.nan)
    scores[:, ranked] = found
    chosen = np.zeros(scores.shape, dtype=bool)
    chosen[:, ranked] = best_layers(found, count)
    return scores, chosen


def shared_layers(chosen: NDArray[np.bool_]) -> float:
    """How many chosen layers two of the choices (draws, layers) share, as a mean over all pairs."""
    return float(np.mean([(a & b).sum() for a, b in combinations(chosen, 2)]))


def _sizes(report: TopologyReport, ranked: NDArray[np.bool_], normalization: str) -> Float64:
    sizes: Float64 = 1 / size_only(report, normalization=normalization).to_numpy()[ranked]
    return sizes


def _values(report: TopologyReport, layers: Sequence[LayerTopology], summary: str) -> Float64:
    """The summary of each cloud, (layers, clouds)."""
    return np.stack([cloud_values(e, summary, report.shortest_loop(e)) for e in layers])


def _overlaps(scores: Float64, count: int) -> list[float]:
    """Jaccard indices of the selections of each two rows of scores (draws, layers)."""
    chosen = best_layers(scores, count)
    return [float((a & b).sum() / (a | b).sum()) for a, b in combinations(chosen, 2)]
