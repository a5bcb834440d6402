"""The strategies, and the layers that each trains. To add a strategy, add its entry.

Listing them needs no torch; `training.gradients` computes the gradients that some need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis.options import LoopUnit, Scope
from analysis.results import NamedLayer, TopologyReport
from analysis.selection.decision import ties_sentence
from analysis.selection.ranking import border_ties, rank, select_by_preset, unranked_head
from analysis.selection.scores import score
from analysis.topology.resummarize import resummarize

Needs = Literal["nothing", "topology", "gradients"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a strategy may use. Each series is indexed by the names of `layers`."""

    layers: Sequence[NamedLayer]  # in execution order, including the head
    sizes: Sequence[float]  # activations of each layer for one image
    normalization: str
    seed: int
    head: str | None = None  # one of `layers`, or added to the network since
    summary: str = "b1"
    report: TopologyReport | None = None  # of the model with its old head
    gradients: pd.DataFrame | None = None  # see `gradients.gradient_evidence`

    @classmethod
    def of_report(
        cls,
        report: TopologyReport,
        *,
        normalization: str,
        seed: int,
        summary: str = "b1",
        min_persistence: float = 0.0,
        persistence_unit: LoopUnit = "distance",
    ) -> Evidence:
        """The evidence of an analysis; `min_persistence` and its unit replace its own."""
        return cls(
            layers=report.layers,
            sizes=[math.prod(layer.activation_shape) for layer in report.layers],
            normalization=normalization,
            seed=seed,
            head=report.head,
            summary=summary,
            report=resummarize(
                report, min_persistence=min_persistence, persistence_unit=persistence_unit
            ),
        )

    def topology(self) -> TopologyReport:
        assert self.report is not None, "the strategy needs topology"
        return self.report

    def column(self, name: str) -> pd.Series:
        assert self.gradients is not None, "the strategy needs gradients"
        return self.gradients[name]

    def series(self, values: object) -> pd.Series:
        return pd.Series(values, index=pd.Index(self.names, name="layer"), dtype=float)

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]

    def depth(self) -> pd.Series:
        """How late each layer uses its own parameters.

        A layer with layers inside it ends after them, but uses its own parameters, such as a
        position embedding, before them.
        """
        at = {name: float(i) for i, name in enumerate(self.names)}
        for name in self.names:
            inside = [at[other] for other in self.names if other.startswith(f"{name}.")]
            at[name] = min([at[name], *(position - 0.5 for position in inside)])
        return self.series(at)


@dataclass(frozen=True)
class Strategy:
    """A way to choose what trains. The new head always trains as well."""

    title: str
    help: str  # one sentence, for the user
    source: str
    needs: Needs
    scope: Scope = "layers"
    scores: Callable[[Evidence], pd.Series] | None = None  # of the layers; the best is highest

    @property
    def equal_budget(self) -> bool:
        """Whether it trains as many layers as the others do at the same ρ."""
        return self.scope == "layers"


# Charts assign colours in this order: those compared most often come first.
STRATEGIES: dict[str, Strategy] = {
    "adabet": Strategy(
        "AdaBet",
        "The layers with the most loops for their size, by the chosen normalisation.",
        "AdaBet (arXiv 2510.03101), §4.2",
        "topology",
        scores=lambda e: score(e.topology(), normalization=e.normalization, summary=e.summary),
    ),
    "size": Strategy(
        "Size alone",
        "The layers with the fewest activations: AdaBet's score without the topology.",
        "Our own null: 1 / |a|",
        "nothing",
        scores=lambda e: e.series(1 / np.asarray(e.sizes)),
    ),
    "random": Strategy(
        "Random",
        "Layers drawn at random, by the seed.",
        "A null: chance",
        "nothing",
        scores=lambda e: e.series(np.random.default_rng(e.seed).permutation(len(e.layers))),
    ),
    "head": Strategy(
        "Head only",
        "Only the new classifier: the least that can be trained.",
        "Linear probing; “transfer learning” in AdaBet's baselines",
        "nothing",
        scope="head",
    ),
    "full": Strategy(
        "Full",
        "Every parameter: the most that can be trained.",
        "Full training, the reference for accuracy and memory",
        "nothing",
        scope="everything",
    ),
    "raw-b1": Strategy(
        "Raw b₁",
        "The layers with the most loops, whatever their size.",
        "AdaBet's ablation without normalisation (Figure 8)",
        "topology",
        scores=lambda e: score(e.topology(), normalization="none"),
    ),
    "first": Strategy(
        "First layers",
        "The layers nearest to the image.",
        "Surgical fine-tuning (Lee et al. 2023): good where the input shifted",
        "nothing",
        scores=lambda e: -e.depth(),
    ),
    "last": Strategy(
        "Last layers",
        "The layers nearest to the classifier, and the cheapest in memory.",
        "Common practice (Yosinski et al. 2014)",
        "nothing",
        scores=lambda e: e.depth(),
    ),
    "fisher": Strategy(
        "Fisher",
        "The layers whose activations matter most to the loss: (activation × gradient)² / 2. "
        "Needs labels and a backward pass.",
        "Theis et al. 2018, as in AdaBet's released code",
        "gradients",
        scores=lambda e: e.column("fisher"),
    ),
    "auto-rgn": Strategy(
        "Relative gradient",
        "The layers with the largest gradient for the size of their weights, adapted from "
        "Auto-RGN. Needs labels and a backward pass.",
        "Adapted from Auto-RGN of surgical fine-tuning (Lee et al. 2023)",
        "gradients",
        scores=lambda e: e.column("relative"),
    ),
    "bn-bias": Strategy(
        "Norms and biases",
        "Every norm and every bias, in all layers.",
        "TinyTL (Cai et al. 2020), BitFit (Ben Zaken et al. 2022); a baseline of AdaBet's",
        "nothing",
        scope="norms-and-biases",
    ),
}


def chosen_layers(
    strategy: str, evidence: Evidence, *, rho: float = 0.1, preset: str = "recommended"
) -> list[str]:
    """The layers that a strategy trains, best first.

    Parameters
    ----------
    strategy : str
        A name of `STRATEGIES`.
    evidence : Evidence
    rho : float in (0, 1]
        Share of the layers, for the strategies of equal budget.
    preset : str
        A name of `PRESETS`: the rounding, and whether the head is ranked with the others. If
        not, it comes last, trained without being ranked.

    Returns
    -------
    list of str
        Empty if ρ rounds to none. All layers with the scope "everything", and the head with
        "norms-and-biases": `freezing.trained_names` says which of their parameters train.
    """
    chosen = STRATEGIES[strategy]
    head = evidence.head
    if chosen.scores is not None:
        best = select_by_preset(chosen.scores(evidence), head, rho=rho, preset=preset)
        # A head that was put behind the network after its analysis cannot be ranked.
        added = [head] if head and head not in evidence.names else []
        return best + (added or unranked_head(head, preset))
    if chosen.scope == "everything":
        return evidence.names
    return [head] if head else []


@dataclass(frozen=True)
class OrderShare:
    """How far the execution order, instead of a strategy's scores, decides what trains."""

    alone: bool = False  # all scores are equal
    sentence: str = ""  # for the user; empty if the scores decide


def order_share(
    strategy: str, evidence: Evidence, *, rho: float = 0.1, preset: str = "recommended"
) -> OrderShare:
    """Whether ties decide which layers `chosen_layers` chooses; it has the parameters."""
    known = STRATEGIES[strategy]
    if known.scores is None:
        return OrderShare()
    scores, head = known.scores(evidence), evidence.head
    count = len(select_by_preset(scores, head, rho=rho, preset=preset))
    ranks = rank(scores, exclude=unranked_head(head, preset))
    tied, placed = border_ties(ranks, count)
    if not tied:
        return OrderShare()
    if ranks.nunique() > 1:
        return OrderShare(sentence=ties_sentence(tied, placed, count))
    return OrderShare(
        alone=True,
        sentence=f"“{known.title}” cannot choose: all {tied} layers have the same score, and only "
        "the execution order would decide. Use more images, or another strategy.",
    )
