"""Whether a selection survives a shift of the images, or luck is read as drift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, compress
from typing import Any

import numpy as np
import pandas as pd

from analysis.options import LoopUnit
from analysis.results import Float64, TopologyReport
from analysis.selection.ranking import NONE_CAN_BE_CHOSEN, ranking
from analysis.topology.resummarize import resummarize
from analysis.topology.shift_series import ShiftSeries


@dataclass(frozen=True, eq=False)
class Drift:
    """The ranking at each severity, held against that without the shift."""

    rows: tuple[pd.DataFrame, ...]  # of `ranking`, by severity from 0
    pairs: tuple[int, ...]  # layers that two draws without the shift both select, of each pair
    by_size: float  # layers of the selection without the shift that size alone would select
    why_no_pairs: str = ""
    titles: tuple[str, ...] = ()  # as of a `ShiftSeries`

    @property
    def layers(self) -> list[str]:
        return list(self.rows[0]["layer"])

    @property
    def chosen(self) -> int:
        """Layers that are selected without the shift."""
        return int(self.rows[0]["selected"].sum())

    @property
    def ranked(self) -> int:
        """Layers that could be, without the shift."""
        return int(self.rows[0]["rank"].notna().sum())

    @property
    def shared(self) -> list[int]:
        """How many of these are selected at each severity, from 0."""
        return [len(self._selections[0] & selection) for selection in self._selections]

    @property
    def luck(self) -> tuple[int, float, int] | None:
        """The least, the mean and the most of `pairs`; None if there are none."""
        if not self.pairs:
            return None
        return min(self.pairs), float(np.mean(self.pairs)), max(self.pairs)

    def values(self, column: str) -> Float64:
        """A column of the rankings, (layers, severities); NaN where it is missing."""
        columns = (rows.set_index("layer")[column].reindex(self.layers) for rows in self.rows)
        return np.stack([c.to_numpy(dtype=float, na_value=np.nan) for c in columns], axis=1)

    def sentence(self, severity: int) -> str:
        """What the shift does to the selection at a severity, from 1, in words."""
        if not self.ranked:
            return NONE_CAN_BE_CHOSEN
        if not self.chosen:
            return "`rho` selects no layer; use a larger value."
        if self.ranked == 1:
            return "Only one layer can be chosen, so no shift can change that."
        if self.chosen == self.ranked:
            return (
                f"All {self.ranked} layers that can be chosen are chosen at this ρ, so no shift "
                "can change that. Use a smaller ρ."
            )
        if _by_order(self.rows[0]):
            return (
                "Without the shift all scores are equal and only the execution order chooses, so "
                "there is no selection to keep. Use more images, or images that differ more."
            )
        now = self.rows[severity]
        if not now["selected"].any():
            return (
                f"{self._title(severity)} no layer can be chosen, as no activations are finite. "
                "Choose a lower severity."
            )
        if _by_order(now):
            why = "all scores are equal" if (now["b1"] > 0).any() else "no layer has a loop"
            return (
                f"{self._title(severity)} {why}, so only the execution order chooses. The images "
                "have become too much alike: choose a lower severity."
            )
        return f"{self._kept(severity)}{self._against_luck(severity)}"

    def document(self) -> dict[str, Any]:
        """The drift as JSON holds it."""
        luck = self.luck
        return {
            "chosen": self.chosen,
            "shared": self.shared,
            "shared_by_draws": list(self.pairs),
            "shared_by_draws_mean": luck[1] if luck else None,
            "shared_by_size": self.by_size,
            "severities": [_layers(rows) for rows in self.rows],
            "notes": [self.sentence(severity) for severity in range(1, len(self.rows))],
        }

    def _title(self, severity: int) -> str:
        return self.titles[severity] if self.titles else f"At severity {severity}"

    def _kept(self, severity: int) -> str:
        shared = self.shared[severity]
        if self.chosen == 1:
            same = "is the same layer as" if shared else "is another layer than"
            return f"{self._title(severity)} the selection {same} that of the clean images"
        number = f"{shared or 'none'} of {self.chosen}"
        if shared == self.chosen:
            number = f"all {shared}"
        return (
            f"{self._title(severity)} the selection shares {number} layers with that of the clean "
            "images"
        )

    def _against_luck(self, severity: int) -> str:
        shared, luck = self.shared[severity], self.luck
        if luck is None:
            return f". {self.why_no_pairs}".rstrip()
        least, mean, _ = luck
        often = f"{mean:.1f}".removesuffix(".0")
        if self.chosen == 1:
            times = sum(self.pairs)
            draws = f"; {times} of {len(self.pairs)} pairs of draws of clean images agree"
        else:
            draws = f"; two draws of clean images share {often} on average"
        if shared == self.chosen:
            return f"{draws}: it survives."
        if shared >= least:
            return f"{draws}: this is no more than luck."
        never = "" if self.chosen == 1 else f" and never fewer than {least}"
        return f"{draws}{never}: luck alone seldom does that."

    @cached_property
    def _selections(self) -> list[set[str]]:
        return [*map(_selected, self.rows)]


def resummarize_series(
    series: ShiftSeries, *, min_persistence: float = 0.0, persistence_unit: LoopUnit = "distance"
) -> ShiftSeries:
    """The series with its loops counted again, as `resummarize` does."""

    def counted(reports: tuple[TopologyReport, ...]) -> tuple[TopologyReport, ...]:
        return tuple(
            resummarize(report, min_persistence=min_persistence, persistence_unit=persistence_unit)
            for report in reports
        )

    return replace(series, reports=counted(series.reports), redrawn=counted(series.redrawn))


def drift(
    series: ShiftSeries,
    *,
    rho: float = 0.1,
    normalization: str = "activation",
    preset: str = "recommended",
    summary: str = "b1",
) -> Drift:
    """Rank the layers at every severity. No model is run, and no topology computed.

    Parameters
    ----------
    series : ShiftSeries
        As `resummarize_series` gives it, if short loops are not to count.
    rho, normalization, preset, summary
        As for `ranking`.

    Raises
    ------
    OptionError
        As `ranking` does.
    """

    def ranked(report: TopologyReport) -> pd.DataFrame:
        return ranking(report, rho=rho, normalization=normalization, preset=preset, summary=summary)

    rows = tuple(map(ranked, series.reports))
    draws = [_selected(rows[0]), *(_selected(ranked(report)) for report in series.redrawn)]
    pairs = [len(one & other) for one, other in combinations(draws, 2)]
    return Drift(rows, tuple(pairs), _by_size(rows[0]), series.why_no_redraws, series.titles)


def _selected(rows: pd.DataFrame) -> set[str]:
    return set(compress(rows["layer"], rows["selected"]))  # `loc` takes five times as long


def _by_order(rows: pd.DataFrame) -> bool:
    """Whether all scores are equal, but not all layers chosen."""
    ranked = rows["rank"].notna()
    return bool(rows["rank"].nunique() == 1 and rows["selected"].sum() < ranked.sum())


def _by_size(rows: pd.DataFrame) -> float:
    """Selected layers that their size alone would select; of equal sizes, the share expected."""
    ranked = rows.loc[rows["size_rank"].notna()]
    places = ranked["size_rank"].to_numpy(dtype=float)
    count = int(ranked["selected"].sum())
    ties = ranked.groupby("size_rank")["size_rank"].transform("size").to_numpy(dtype=float)
    chance = np.clip((count - places + 1) / ties, 0, 1)
    return float(chance[ranked["selected"].to_numpy(dtype=bool)].sum())


def _layers(rows: pd.DataFrame) -> list[dict[str, Any]]:
    few = rows[["layer", "b1", "rank", "selected"]].astype(object)
    records = few.where(few.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in records]
