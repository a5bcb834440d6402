"""From scores to the layers to train."""

from __future__ import annotations

import math
from collections.abc import Collection

import pandas as pd

from analysis.errors import choice_problem, raise_problems
from analysis.options import PRESETS, ROUNDINGS, Rounding, check_rho
from analysis.results import TopologyReport
from analysis.selection.scores import score, size_only

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
    eligible = scores.drop(index=[name for name in exclude if name in scores.index]).dropna()
    ordered = eligible.sort_values(ascending=False, kind="stable")
    values = ordered.to_numpy(dtype=float)
    places, first = [], 1
    for place, value in enumerate(values, start=1):
        before = values[max(place - 2, 0)]
        if not math.isclose(value, before, rel_tol=_ROUNDING, abs_tol=0):
            first = place
        places.append(first)
    ranks = pd.Series(places, index=ordered.index, dtype="Int64", name="rank")
    return ranks.reindex(scores.index)


def best_first(ranks: pd.Series) -> list[str]:
    """The layers that have a rank, the best first and equal ones in execution order."""
    return list(ranks.dropna().sort_values(kind="stable").index)


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
    layers = len(scores) - sum(name in scores.index for name in exclude)
    count = layer_count(layers, rho=rho, rounding=rounding)
    return best_first(rank(scores, exclude=exclude))[: count if layers else 0]


def unranked_head(head: str | None, preset: str) -> list[str]:
    """The classifier head, if the preset always trains it and never ranks it; else nothing."""
    raise_problems(choice_problem("preset", preset, PRESETS))
    return [head] if head and not PRESETS[preset].ranks_head else []


def select_by_preset(scores: pd.Series, head: str | None, *, rho: float, preset: str) -> list[str]:
    """The layers that a preset's rounding chooses by rank, best first; see `unranked_head`."""
    exclude = unranked_head(head, preset)
    return select(scores, rho=rho, rounding=PRESETS[preset].rounding, exclude=exclude)


def ranking(
    report: TopologyReport,
    *,
    rho: float = 0.1,
    normalization: str = "activation",
    preset: str = "recommended",
    summary: str = "b1",
) -> pd.DataFrame:
    """The report's frame with each layer's score and rank, and whether it is selected.

    Parameters
    ----------
    report : TopologyReport
    rho : float in (0, 1]
    normalization, summary : str
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
    scores = score(report, normalization=normalization, summary=summary)
    chosen = select_by_preset(scores, report.head, rho=rho, preset=preset)
    frame = report.to_frame()
    frame["score"] = scores.to_numpy()
    frame["rank"] = rank(scores, exclude=head).array
    frame["selected"] = frame["layer"].isin(chosen)
    frame["head"] = frame["layer"].isin(head)
    by_size = size_only(report, normalization=normalization)
    baseline = select_by_preset(by_size, report.head, rho=rho, preset=preset)
    size_ranks = rank(by_size, exclude=head)
    last = size_ranks[baseline].max()  # any of the layers of equal size might be chosen
    frame["size_rank"] = size_ranks.array
    frame["selected_by_size"] = (size_ranks <= last).fillna(False).to_numpy(bool)
    return frame
