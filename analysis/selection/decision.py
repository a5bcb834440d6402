"""What decided a selection: the topology, the size of the layers, or the order they run in."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.selection.ranking import NONE_CAN_BE_CHOSEN, border_ties
from analysis.topology.summaries import SUMMARIES


@dataclass(frozen=True)
class Decision:
    """What decided which layers a ranking chose. "By size" is the ranking of `size_only`."""

    chosen: int  # by rank
    ranked: int  # layers that could be chosen
    looped: int  # of these, the layers with a loop that counts
    scored: int  # of these, the layers with a score above 0
    scores: int  # different scores
    tied: int  # layers with the score of the last place, if that place is not enough for them
    tied_chosen: int  # of these, the chosen ones: the first to run
    tied_looped: int  # of these, the layers with a loop that counts
    sizes: int  # different sizes
    like_size: bool  # every layer has the rank that its size alone gives it
    by_size: int  # layers that might be chosen by size, ties included
    by_size_sizes: int  # different sizes of these
    chosen_by_size: int  # chosen layers among these
    sure_by_size: int  # chosen layers that are chosen by size too, however ties are broken
    head: bool | None  # whether the classifier is chosen; None: it is not ranked, or there is none

    @classmethod
    def of(cls, rows: pd.DataFrame, head: str | None) -> Decision:
        """Read it off a `ranking`; `head` is the report's."""
        ranked = rows.loc[rows["rank"].notna()]
        chosen = ranked.loc[ranked["selected"]]
        count = len(chosen)
        tied, placed = border_ties(rows["rank"], count)
        last = ranked["rank"] == chosen["rank"].max() if tied else ranked["rank"].isna()
        by_size = ranked.loc[ranked["selected_by_size"]]
        places = ranked.groupby("size_rank")["size_rank"].transform("size") + ranked["size_rank"]
        sure = ranked["selected"] & (places - 1 <= count)
        heads = ranked.loc[ranked["layer"] == head, "selected"].tolist()
        return cls(
            chosen=count,
            ranked=len(ranked),
            looped=int((ranked["b1"] > 0).sum()),
            scored=int((ranked["score"] > 0).sum()),
            scores=ranked["rank"].nunique(),
            tied=tied,
            tied_chosen=placed,
            tied_looped=int((ranked.loc[last, "b1"] > 0).sum()),
            sizes=ranked["size_rank"].nunique(),
            like_size=bool((ranked["rank"] == ranked["size_rank"]).all()),
            by_size=len(by_size),
            by_size_sizes=by_size["size_rank"].nunique(),
            chosen_by_size=int(by_size["selected"].sum()),
            sure_by_size=int(sure.sum()),
            head=heads[0] if heads else None,
        )

    @property
    def by_order_alone(self) -> bool:
        """Whether all scores are equal, so that the layers that run first were chosen."""
        return 0 < self.chosen < self.ranked and self.scores == 1

    @property
    def degenerate(self) -> tuple[str, ...]:
        """The names of what makes the selection other than one by topology."""
        some = 0 < self.chosen < self.ranked
        names = {
            "no-loops": self.ranked > 0 and not self.looped,
            "equal-scores": self.by_order_alone and self.scored > 0,
            "execution-order": self.tied > 0,
            "head-only": some and self.chosen == 1 and self.head is True,
            "head-left-out": some and self.head is False,
            "one-layer": some and self.chosen == 1,
            "size-alone": some and self.sizes > 1 and self.sure_by_size == self.chosen,
            "mostly-size": some and self.sizes > 1 and self.chosen > self.sure_by_size
            and 2 * self.sure_by_size > self.chosen,
        }  # fmt: skip
        return tuple(name for name, holds in names.items() if holds)

    def sentences(self, *, normalization: str = "activation", summary: str = "b1") -> list[str]:
        """Say it in words.

        Parameters
        ----------
        normalization, summary : str
            Those of the ranking.

        Returns
        -------
        list of str
            Empty if nothing was chosen.
        """
        if not self.chosen:
            return []
        if self.by_order_alone:
            return [self._order_alone(summary)]
        if self.chosen == self.ranked:
            return ["Every layer that can be chosen is chosen, whatever its score."]
        size = "Size" if normalization == "activation" else f"Size ({normalization})"
        return [*self._size_and_ties(size, SUMMARIES[summary].phrase), *self._few()]

    def notes(self, *, normalization: str = "activation", summary: str = "b1") -> list[str]:
        """As `sentences`; also why nothing was chosen."""
        if not self.ranked:
            return [NONE_CAN_BE_CHOSEN]
        if not self.chosen:
            return ["`rho` selects no layer; use a larger value."]
        return self.sentences(normalization=normalization, summary=summary)

    def _order_alone(self, summary: str) -> str:
        if not self.looped:
            why = "No layer has a loop that counts, so all scores are 0"
        elif not self.scored:
            why = f"For every layer {SUMMARIES[summary].phrase} is 0"
        else:
            every = "Both" if self.ranked == 2 else f"All {self.ranked}"
            why = f"{every} layers have the same score"
        return (
            f"{why}, and only the execution order decides. This is not AdaBet's selection: use "
            "more images, or images that differ more."
        )

    def _size_and_ties(self, size: str, phrase: str) -> list[str]:
        ties = [self._ties()] if self.tied else []
        if self.sizes == 1:
            return ties
        alone = f"{size} alone, without any topology,"
        if self.like_size:
            return [f"{alone} would rank every layer the same.", *ties]
        if self.by_size == self.chosen == self.chosen_by_size:
            same = "layer" if self.chosen == 1 else "layers"
            return [f"{alone} would choose the same {same}.", *ties]
        if 2 * self.sure_by_size > self.chosen or self.by_size == self.chosen:
            sure = f"{alone} would choose {self.sure_by_size} of these {self.chosen}"
            mostly = 2 * self.sure_by_size > self.chosen
            if not mostly and not self.sure_by_size:
                others = "another layer" if self.chosen == 1 else "none of these"
                sure = f"{alone} would choose {others}"
            return [f"{sure}: it is mostly a choice by size." if mostly else f"{sure}.", *ties]
        those = "this one" if self.chosen == 1 else "these"
        if self.chosen_by_size < self.chosen:
            those = f"{self.chosen_by_size or 'none'} of these {self.chosen}"
            those = "not this one" if self.chosen == 1 else those
        narrowed = f"{alone} narrows the choice to {self.by_size} layers, {those} among them"
        if self.chosen_by_size < self.chosen or self.by_size_sizes > 1:
            return [f"{narrowed}.", *ties]
        if not self.tied:
            return [f"{narrowed}; {phrase} decides between them."]
        first = self.chosen - self.tied_chosen
        if not first:
            return [f"{narrowed}.", *ties]
        return [f"{narrowed}; {phrase} decides the first{f' {first}' * (first > 1)}.", *ties]

    def _ties(self) -> str:
        alike = "have the same score" if self.tied_looped else "have no loop that counts"
        return ties_sentence(self.tied, self.tied_chosen, self.chosen, alike)

    def _few(self) -> list[str]:
        if self.chosen == 1 and self.head:
            return ["Only the classifier trains, which is plain transfer learning (“Head only”)."]
        sentences = []
        if self.chosen == 1:
            sentences.append("Only one layer is chosen, so all rests on one score.")
        if self.head is False:
            sentences.append("The classifier is not among them: a new one would stay untrained.")
        return sentences


def ties_sentence(tied: int, placed: int, chosen: int, alike: str = "have the same score") -> str:
    """Say that the execution order decided the last places; see `border_ties`."""
    last = "the last place" if placed == 1 else f"the last {placed} places"
    if placed == chosen:
        last = "the only place" if placed == 1 else f"all {placed} places"
    return f"For {last}, {tied} layers {alike}: those that run first are taken."
