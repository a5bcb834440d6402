"""From scores to the layers to train."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import choice_problem, raise_problems
from analysis.options import PRESETS, ROUNDINGS, Rounding, check_rho
from analysis.results import Float64, Integers, TopologyReport
from analysis.selection.scores import score, size_only

if TYPE_CHECKING:
    from analysis.topology.layer_tests import LayerTests

_ROUNDING = 1e-9  # share of a score
NONE_CAN_BE_CHOSEN = (
    "No layer can be chosen: apart from the classifier, none has both finite activations and "
    "parameters. Choose another model."
)


def layer_count(layers: int, *, rho: float, rounding: Rounding) -> int:
    """The number of layers in the share `rho`; "nearest" and "floor" may round it to none."""
    check_rho(rho)
    raise_problems(choice_problem("rounding", rounding, ROUNDINGS))
    share = rho * layers
    if rounding == "floor":
        return math.floor(share + 1e-9)  # 0.29 · 100 is 28.999… in floating point
    nearest = round(share)
    return max(1, nearest) if rounding == "at-least-one" else nearest


def rank(scores: pd.Series, *, exclude: Collection[str] = ()) -> pd.Series:
    """Ranks from 1 (best) as Int64; equal scores share one, as in 1, 2, 2, 4.

    Scores are equal if they differ by no more than the rounding of floating-point arithmetic.
    Excluded layers and missing scores have no rank.
    """
    barred = _are_among(scores.index, exclude)
    ranks = _ranks(scores.to_numpy(dtype=float, na_value=np.nan), barred)
    return pd.Series(_with_gaps(ranks), index=scores.index, name="rank")


# Without pandas, which takes most of the time where many analyses are ranked.
def _ranks(scores: Float64, barred: NDArray[np.bool_]) -> Integers:
    """As `rank`, with 0 for no rank."""
    eligible = np.flatnonzero(~np.isnan(scores) & ~barred)
    ordered = eligible[np.argsort(-scores[eligible], kind="stable")]
    best = scores[ordered]
    close = np.isclose(best[1:], best[:-1], rtol=_ROUNDING, atol=0)
    places = np.arange(1, len(best) + 1)
    places[1:][close] = 0
    ranks = np.zeros(len(scores), dtype=np.int64)
    ranks[ordered] = np.maximum.accumulate(places)
    return ranks


def _first(ranks: Integers, count: int) -> Integers:
    """Where the best `count` of `_ranks` are, the best first and equal ones in execution order."""
    ranked = np.flatnonzero(ranks)
    return ranked[np.argsort(ranks[ranked], kind="stable")][:count]


def _are_among(names: Iterable[str], some: Collection[str]) -> NDArray[np.bool_]:
    return np.array([name in some for name in names], dtype=bool)


def _with_gaps(ranks: Integers) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(ranks, mask=ranks == 0)


def best_first(ranks: pd.Series) -> list[str]:
    """The layers that have a rank, the best first and equal ones in execution order."""
    return list(ranks.dropna().sort_values(kind="stable").index)


def best_layer(rows: pd.DataFrame) -> str:
    """The layer of rank 1 in a `ranking`, or the first layer if none has a rank."""
    best = rows.loc[rows["rank"] == 1, "layer"]
    return str((rows["layer"] if best.empty else best).iloc[0])


def border_ties(ranks: pd.Series, count: int) -> tuple[int, int]:
    """How many layers share the rank of the last of `count` places, and how many of them get one.

    (0, 0) if there is a place for each of them.
    """
    known = ranks.dropna().sort_values()
    if not 0 < count < len(known):
        return 0, 0
    last = known.iloc[count - 1]
    tied, placed = int((known == last).sum()), count - int((known < last).sum())
    return (tied, placed) if tied > placed else (0, 0)


def select(
    scores: pd.Series,
    *,
    rho: float = 0.1,
    rounding: Rounding = "at-least-one",
    exclude: Collection[str] = (),
) -> list[str]:
    """The layers to train, best first.

    Parameters
    ----------
    scores : Series of float
        Indexed by layer name, in execution order, which breaks ties. A layer whose score is
        missing is never chosen.
    rho : float in (0, 1]
        Share of the layers to choose.
    rounding : {"at-least-one", "nearest", "floor"}
        max(1, round(ρ · L)), round(ρ · L), or floor(ρ · L): METHOD's presets.
    exclude : collection of str
        Layers that are neither ranked nor counted in L, such as the classifier head.

    Returns
    -------
    list of str
        Empty if ρ · L rounds to nothing.

    Raises
    ------
    OptionError
        If `rho` or `rounding` is out of range.
    """
    layers = int((~_are_among(scores.index, exclude)).sum())
    count = layer_count(layers, rho=rho, rounding=rounding)
    return best_first(rank(scores, exclude=exclude))[:count]


def unranked_head(head: str | None, preset: str) -> list[str]:
    """The classifier head, if the preset always trains it and never ranks it; else nothing."""
    raise_problems(choice_problem("preset", preset, PRESETS))
    return [head] if head and not PRESETS[preset].ranks_head else []


def select_by_preset(scores: pd.Series, head: str | None, *, rho: float, preset: str) -> list[str]:
    """The layers that a preset's rounding chooses by rank, best first; see `unranked_head`."""
    exclude = unranked_head(head, preset)
    return select(scores, rho=rho, rounding=PRESETS[preset].rounding, exclude=exclude)


def equal_rho(report: TopologyReport, *, rho: float, preset: str) -> float:
    """The same ρ for every `rho` that chooses as many of the report's layers."""
    layers = len(report.layers) - len(unranked_head(report.head, preset))
    count = layer_count(layers, rho=rho, rounding=PRESETS[preset].rounding)
    return (count or 0.1) / layers if layers else rho


def ranking(
    report: TopologyReport,
    *,
    rho: float = 0.1,
    normalization: str = "activation",
    preset: str = "recommended",
    summary: str = "b1",
    tests: LayerTests | None = None,
) -> pd.DataFrame:
    """The report's frame with each layer's score and rank, and whether it is selected.

    Parameters
    ----------
    report : TopologyReport
    rho : float in (0, 1]
    normalization, summary, tests
        As for `scores.score`.
    preset : str
        A name of `options.PRESETS`; decides the rounding and whether the head is ranked.

    Returns
    -------
    DataFrame
        `report.to_frame()` with score (float), rank (Int64, 1 is best, equal scores share one,
        missing if the layer cannot be chosen), selected (bool: chosen by rank), head (bool:
        trained without being ranked), size_rank (Int64: the baseline, the rank if every layer
        had one loop) and selected_by_size (bool: whether it might be chosen by that, including
        ties).

    Raises
    ------
    OptionError
        If an option is unknown or out of range.
    """
    head = unranked_head(report.head, preset)
    are_heads = _are_among(report.names, head)
    layers = len(are_heads) - int(are_heads.sum())
    count = layer_count(layers, rho=rho, rounding=PRESETS[preset].rounding)
    scores = score(report, normalization=normalization, summary=summary, tests=tests).to_numpy()
    ranks = _ranks(scores, are_heads)
    size_ranks = _ranks(size_only(report, normalization=normalization).to_numpy(), are_heads)
    last = size_ranks[_first(size_ranks, count)].max(initial=0)
    selected = np.zeros(len(scores), dtype=bool)
    selected[_first(ranks, count)] = True
    columns = {
        "score": scores,
        "rank": _with_gaps(ranks),
        "selected": selected,
        "head": are_heads,
        "size_rank": _with_gaps(size_ranks),
        # Any of the layers of equal size might be chosen.
        "selected_by_size": (size_ranks > 0) & (size_ranks <= last),
    }
    return pd.concat([report.to_frame(), pd.DataFrame(columns)], axis=1)
