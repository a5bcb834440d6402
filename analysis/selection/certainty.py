"""How sure a selection is: what other images of the same dataset would choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results import Float64, TopologyReport
from analysis.selection.scores import size_only
from analysis.topology.subsets import ErrorOfMeans, error_of_means
from analysis.topology.summaries import SUMMARIES, layer_means

LUCK = 0.5  # a selection of which other images would keep less is mostly luck
INTERVAL = (0.05, 0.95)  # ends of the ranks that `rank_intervals` gives, as shares of draws
_DRAWS = 1000  # pretended draws of images
_EXACT = 0.5  # share of draws with the very same layers from which a sentence counts them


@dataclass(frozen=True)
class Agreement:
    """What this selection and that of another draw of so many images share, as a mean."""

    samples: int  # images
    same: float  # share of draws that choose exactly the same layers
    kept: float  # chosen layers that the other draw chooses as well
    overlap: float  # Jaccard index: shared layers by those that either chooses


@dataclass(frozen=True, eq=False)
class Certainty:
    """How other images of the same dataset would choose, with the same settings."""

    probability: pd.Series  # of each layer, that it is chosen; NaN if it is not ranked
    chosen: int
    now: Agreement
    doubled: Agreement  # if twice as many images had given the same means, from as many subsets
    subsets: int
    chance: float  # share of the error's variance that more subsets would remove

    @property
    def mostly_luck(self) -> bool:
        return self.now.kept < LUCK * self.chosen

    def sentence(self, most: int | None = None) -> str:
        """In words for the user; `most` is the number of images that there are to draw from."""
        those = "this layer" if self.chosen == 1 else f"these {self.chosen} layers"
        counts = self.now.same >= _EXACT or self.chosen == 1
        if counts:
            text = f"{_tenths(self.now.same)} other draws of images would choose {those}"
        else:
            text = f"Other images would choose {_layers(self.now.kept)} of {those} again"
        more = ""
        room = most is None or most >= self.doubled.samples
        before, after = (
            (_tenths(a.same) if counts else _layers(a.kept)) for a in (self.now, self.doubled)
        )
        if self.chance > 0.5:
            more = f"; more than {self.subsets} subsets would make it surer"
        elif room and after != before:
            number = after.removesuffix(" of 10")
            more = f"; with {self.doubled.samples} images it would be {number}"
        luck = "This choice is mostly luck. " if self.mostly_luck else ""
        return f"{luck}{text}{more}."


def _tenths(share: float) -> str:
    return f"{round(10 * share)} of 10"


def _layers(number: float) -> str:
    return f"{round(number)}" if number >= 0.5 else "none"


def certainty(
    report: TopologyReport,
    rows: pd.DataFrame,
    *,
    normalization: str = "activation",
    summary: str = "b1",
) -> Certainty | None:
    """How sure the selection of a ranking is.

    Other images would give each layer another mean. The difference is normal, with the errors of
    two draws, and layers err together as they do in the subsets. Layers are drawn so that the
    predicted probabilities agree with what fresh images choose: `make bench ARGS="--only
    stability"`.

    Parameters
    ----------
    report : TopologyReport
    rows : DataFrame
        Of `ranking.ranking` with the same settings.
    normalization, summary : str

    Returns
    -------
    Certainty or None
        None if the error is not known, as of what tests give, nothing was chosen, or all scores
        are equal.
    """
    pretended = _pretend(report, rows, normalization, summary)
    if pretended is None:
        return None
    error, ranked = pretended.error, pretended.ranked
    chosen = rows["selected"].to_numpy(dtype=bool)
    count = int(chosen.sum())
    others = best_layers(pretended.scores(), count)
    probability = np.full(len(rows), np.nan)
    probability[ranked] = others.mean(axis=0)
    halved = math.sqrt((1 - error.chance) / 2 + error.chance)
    if_doubled = best_layers(pretended.scores(halved), count)
    return Certainty(
        probability=pd.Series(probability, index=pd.Index(rows["layer"], name="layer")),
        chosen=count,
        now=_agreement(report.samples, others, chosen[ranked]),
        doubled=_agreement(2 * report.samples, if_doubled, chosen[ranked]),
        subsets=len(report.clouds),
        chance=error.chance,
    )


def rank_intervals(
    report: TopologyReport,
    rows: pd.DataFrame,
    *,
    normalization: str = "activation",
    summary: str = "b1",
) -> pd.DataFrame | None:
    """The ranks that 90 % of other draws of images would give each layer; see `certainty`.

    Returns
    -------
    DataFrame or None
        Index layer; low and high (float, 1 is best), missing where a layer is not ranked. None
        where `certainty` is None.
    """
    pretended = _pretend(report, rows, normalization, summary)
    if pretended is None:
        return None
    order = np.argsort(-pretended.scores(), axis=1, kind="stable")
    places = np.empty(order.shape)
    np.put_along_axis(places, order, np.arange(1.0, order.shape[1] + 1)[None], axis=1)
    ends = np.full((2, len(rows)), np.nan)
    ends[:, pretended.ranked] = np.quantile(places, INTERVAL, axis=0, method="inverted_cdf")
    index = pd.Index(rows["layer"], name="layer")
    return pd.DataFrame({"low": ends[0], "high": ends[1]}, index=index)


@dataclass(frozen=True, eq=False)
class _Pretended:
    """Means of pretended draws of images, for the layers that are ranked."""

    ranked: NDArray[np.bool_]  # (layers,)
    means: Float64  # (ranked layers,), of the images that there are
    difference: Float64  # (draws, ranked layers), by which others would differ
    size: Float64  # (ranked layers,)
    error: ErrorOfMeans

    def scores(self, share: float = 1.0) -> Float64:
        """The scores in each draw, (draws, ranked layers), with a share of the difference."""
        scores: Float64 = (self.means + share * self.difference) / self.size
        return scores


def _pretend(
    report: TopologyReport, rows: pd.DataFrame, normalization: str, summary: str
) -> _Pretended | None:
    """None if the error is not known, nothing was chosen, or order alone chose."""
    error = error_of_means(report, summary) if summary in SUMMARIES else None
    ranked, chosen = rows["rank"].notna().to_numpy(), rows["selected"].to_numpy(dtype=bool)
    by_order = rows["rank"].nunique() == 1 and not chosen[ranked].all()
    if error is None or by_order or not chosen.any():
        return None
    normal = np.random.default_rng(0).standard_normal((_DRAWS, error.deviations.shape[1]))
    return _Pretended(
        ranked=ranked,
        means=layer_means(report, summary)[ranked],
        # Both draws have the error.
        difference=math.sqrt(2) * normal @ error.deviations[ranked].T,
        size=1 / size_only(report, normalization=normalization).to_numpy()[ranked],
        error=error,
    )


def with_probability(rows: pd.DataFrame, known: Certainty | None) -> pd.DataFrame:
    """The rows of a ranking with the column probability, which is missing if it is not known."""
    return rows.assign(probability=np.nan if known is None else known.probability.to_numpy())


def selection_table(rows: pd.DataFrame) -> list[str]:
    """The selected layers, best first, as lines of text: b₁ with its error, and probability."""
    chosen = rows.loc[rows["selected"]].sort_values("rank", kind="stable")
    width = max(chosen["layer"].str.len().max() if len(chosen) else 0, len("selected"))
    lines = [f"{'selected':{width}}  {'b₁':>14}  chosen by other draws"]
    for row in chosen.to_dict("records"):
        error = "" if np.isnan(row["b1_se"]) else f" ± {row['b1_se']:.2f}"
        share = row["probability"]
        often = "not known" if np.isnan(share) else f"{10 * share:.0f} of 10"
        name = row["layer"] or "(model)"
        lines.append(f"{name:{width}}  {row['b1']:.2f}{error}".ljust(width + 16) + f"  {often}")
    return lines if len(chosen) else []


def best_layers(scores: Float64, count: int) -> NDArray[np.bool_]:
    """The layers with the best scores in each row; of equal ones, those that run first."""
    order = np.argsort(-scores, axis=1, kind="stable")
    chosen = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(chosen, order[:, :count], True, axis=1)
    return chosen


def _agreement(samples: int, others: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Agreement:
    shared = (others & chosen).sum(axis=1)
    either = (others | chosen).sum(axis=1)
    return Agreement(
        samples=samples,
        same=float((shared == either).mean()),
        kept=float(shared.mean()),
        overlap=float((shared / either).mean()),
    )
