"""The strategies, and the layers that each trains. To add a strategy, add its entry.

Listing them needs no torch; `training.choosing` obtains the gradients, weights and labels that some
need.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from analysis.options import LoopUnit, RunOptions, Scope
from analysis.results import Float32, Integers, NamedLayer, TopologyReport
from analysis.selection.criteria import (
    intrinsic_dimension,
    linear_cka,
    linear_evidence,
    neighbour_agreement,
    participation_ratio,
)
from analysis.selection.decision import ties_sentence
from analysis.selection.ranking import border_ties, rank, select_by_preset, unranked_head
from analysis.selection.scores import score
from analysis.topology.resummarize import resummarize

Needs = Literal["nothing", "weights", "images", "labels", "gradients"]
Measure = Literal["weights", "norms", "gradients", "step"]  # of the network, beside its analysis
NEEDS: dict[Needs, str] = {
    "nothing": "Needs no images.",
    "weights": "Needs weights, but no images.",
    "images": "Needs images without labels.",
    "labels": "Needs images with labels.",
    "gradients": "Needs labels and a backward pass.",
}


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
    # One row per layer: see `norms.norm_evidence`, and the like for gradients and weights
    measured: pd.DataFrame | None = None
    labels: Integers | None = None  # (N,), of the report's images

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
        assert self.measured is not None, "the strategy measures the network"
        return self.measured[name]

    def classes(self) -> Integers:
        assert self.labels is not None, "the strategy needs labels"
        return self.labels

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
    measure: Measure | None = None  # what `Evidence.measured` must have
    before_shift: bool = False  # it chooses by the images as they were before their shift
    counts_loops: bool = False  # so that the shortest loop that counts matters

    @property
    def description(self) -> str:
        """What it trains and what it needs for that, for the user."""
        return f"{self.help} {NEEDS[self.needs]}"

    @property
    def uses_analysis(self) -> bool:
        return self.needs in ("images", "labels") and self.measure is None

    @property
    def uses_labels(self) -> bool:
        return self.needs in ("labels", "gradients")

    @property
    def chooses_at_once(self) -> bool:
        """Whether an analysis of the images it trains on shows what it chooses."""
        known = self.needs in ("nothing", "images") and self.measure is None
        return known and not self.before_shift

    @property
    def equal_budget(self) -> bool:
        """Whether it trains as many layers as the others do at the same ρ."""
        return self.scope == "layers"


def _adabet_scores(evidence: Evidence) -> pd.Series:
    e = evidence
    return score(e.topology(), normalization=e.normalization, summary=e.summary)


def _of_distances(evidence: Evidence, criterion: Callable[[Float32], float]) -> pd.Series:
    return evidence.series(
        [
            criterion(layer.distances) if layer.finite else np.nan
            for layer in evidence.topology().layers
        ]
    )


def _changes(evidence: Evidence) -> pd.Series:
    """1 − CKA of each layer to the last one before it that has finite activations."""
    layers = evidence.topology().layers
    finite = [layer for layer in layers if layer.finite]
    changes = {
        layer.name: 1 - linear_cka(layer.distances, before.distances)
        for before, layer in itertools.pairwise(finite)
    }
    return evidence.series([changes.get(layer.name, np.nan) for layer in layers])


def _within_kinds(evidence: Evidence) -> pd.Series:
    """The share of the layers of its kind that a layer's signal to noise exceeds."""
    values = evidence.column("snr")
    by_kind = values.groupby([layer.kind for layer in evidence.layers])
    return (by_kind.rank() - 0.5) / by_kind.transform("count")


# Lists follow this order: those compared most often come first. Add others at the end, as charts
# give each a symbol by its place.
STRATEGIES: dict[str, Strategy] = {
    "adabet": Strategy(
        "AdaBet",
        "The layers with the most loops for their size, by the chosen normalisation.",
        "AdaBet (arXiv 2510.03101), §4.2",
        "images",
        scores=_adabet_scores,
        counts_loops=True,
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
        "images",
        scores=lambda e: score(e.topology(), normalization="none"),
        counts_loops=True,
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
        "The layers whose activations matter most to the loss: (activation × gradient)² / 2.",
        "Theis et al. 2018, as in AdaBet's released code",
        "gradients",
        scores=lambda e: e.column("fisher"),
        measure="gradients",
    ),
    "auto-rgn": Strategy(
        "Relative gradient",
        "The layers with the largest gradient for the size of their weights, adapted from "
        "Auto-RGN.",
        "Adapted from Auto-RGN of surgical fine-tuning (Lee et al. 2023)",
        "gradients",
        scores=lambda e: e.column("relative"),
        measure="gradients",
    ),
    "bn-bias": Strategy(
        "Norms and biases",
        "Every norm and every bias, in all layers.",
        "TinyTL (Cai et al. 2020), BitFit (Ben Zaken et al. 2022); a baseline of AdaBet's",
        "nothing",
        scope="norms-and-biases",
    ),
    "stale": Strategy(
        "AdaBet before the shift",
        "The layers that AdaBet chooses by the same images without their shift. Use it to see "
        "whether a choice made earlier still does.",
        "Our own control: does a selection survive a shift?",
        "images",
        scores=_adabet_scores,
        before_shift=True,
        counts_loops=True,
    ),
    "parameters": Strategy(
        "Parameters",
        "The layers with the most parameters, as they can change the most.",
        "Our own null: the number of parameters",
        "nothing",
        scores=lambda e: e.series([layer.parameters for layer in e.layers]),
    ),
    "participation-ratio": Strategy(
        "Participation ratio",
        "The layers whose activations spread over the most directions, as these offer the most to "
        "combine anew.",
        "(Σλ)² / Σλ² of the principal components' variances λ (Gao et al. 2017)",
        "images",
        scores=lambda e: _of_distances(e, participation_ratio),
    ),
    "intrinsic-dimension": Strategy(
        "Intrinsic dimension",
        "The layers whose activations vary in the most ways between similar images, as these have "
        "simplified them least.",
        "TwoNN (Facco et al. 2017)",
        "images",
        scores=lambda e: _of_distances(e, intrinsic_dimension),
    ),
    "cka": Strategy(
        "Change by CKA",
        "The layers that differ most from the layer before them in how they represent the images, "
        "as they do the most work. The first layer is never chosen.",
        "1 − linear CKA (Kornblith et al. 2019)",
        "images",
        scores=_changes,
    ),
    "stable-rank": Strategy(
        "Stable rank",
        "The layers whose weights spread over the most directions, as no single one rules them.",
        "‖W‖_F² / ‖W‖₂², as in WeightWatcher (Martin, Peng and Mahoney 2021)",
        "weights",
        scores=lambda e: e.column("stable_rank"),
        measure="weights",
    ),
    "snr": Strategy(
        "Signal to noise",
        "The layers whose weights stand out most from noise among layers of their kind, as these "
        "have learnt the most. Layers without a weight matrix are never chosen.",
        "Spectrum (arXiv 2406.06623)",
        "weights",
        scores=_within_kinds,
        measure="weights",
    ),
    "neighbours": Strategy(
        "Nearest neighbours",
        "The layers where most images lie next to one of their own class, as these are closest to "
        "telling the classes apart.",
        "Leave-one-out accuracy of the nearest neighbour",
        "labels",
        scores=lambda e: _of_distances(e, lambda d: neighbour_agreement(d, e.classes())),
    ),
    "input-shift": Strategy(
        "Input shift",
        "The batch norms whose inputs differ most from those of the pre-training, as these fit the "
        "new images least. Other layers are never chosen.",
        "Divergence from the running statistics, after AdaShadow (arXiv 2410.08256)",
        "images",
        scores=lambda e: e.column("input_shift"),
        measure="norms",
    ),
    "logme": Strategy(
        "LogME",
        "The layers that predict the classes best by a linear model, as these have the most to "
        "offer the new classifier.",
        "LogME (You et al. 2021), with an intercept",
        "labels",
        scores=lambda e: _of_distances(e, lambda d: linear_evidence(d, e.classes())),
    ),
    "elastic": Strategy(
        "Elastic",
        "The layers whose share of one training step lowers the loss the most, adapted from "
        "ElasticTrainer: by number of layers, not by time.",
        "Adapted from ElasticTrainer (Huang et al. 2023): its importance −g · Δw",
        "gradients",
        scores=lambda e: e.column("step"),
        measure="step",
    ),
}


REVERSED = "-reversed"  # ends the name of a strategy that ranks the other way


def reversed_name(strategy: str) -> str:
    """The strategy that ranks the other way, or the same one if it ranks no layers."""
    if strategy.endswith(REVERSED):
        return strategy.removesuffix(REVERSED)
    name = f"{strategy}{REVERSED}"
    return name if name in ALL_STRATEGIES else strategy


def _reversed(strategy: Strategy) -> Strategy:
    scores = strategy.scores
    assert scores is not None, "only a strategy that ranks layers can be reversed"
    return replace(
        strategy,
        title=f"{strategy.title}, reversed",
        help=f"The layers that “{strategy.title}” ranks last.",
        scores=lambda evidence: -scores(evidence),
    )


# With those that rank the other way, which no list shows. By names of their own, no run of theirs
# is taken for one of the strategy itself.
ALL_STRATEGIES: dict[str, Strategy] = STRATEGIES | {
    f"{name}{REVERSED}": _reversed(strategy)
    for name, strategy in STRATEGIES.items()
    if strategy.scores is not None
}


def title_of(strategy: str) -> str:
    """The title of a strategy; the name itself of one that only another version has."""
    known = ALL_STRATEGIES.get(strategy)
    return known.title if known else strategy


def chosen_layers(
    strategy: str, evidence: Evidence, *, rho: float = 0.1, preset: str = "recommended"
) -> list[str]:
    """The layers that a strategy trains, best first.

    Parameters
    ----------
    strategy : str
        A name of `ALL_STRATEGIES`.
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
    chosen = ALL_STRATEGIES[strategy]
    head = evidence.head
    if chosen.scores is not None:
        best = select_by_preset(chosen.scores(evidence), head, rho=rho, preset=preset)
        # A head that was put behind the network after its analysis cannot be ranked.
        added = [head] if head and head not in evidence.names else []
        return best + (added or unranked_head(head, preset))
    if chosen.scope == "everything":
        return evidence.names
    return [head] if head else []


def idle_settings(options: RunOptions) -> frozenset[str]:
    """The fields of a run that play no part in how its strategy chooses."""
    known = STRATEGIES.get(options.strategy.removesuffix(REVERSED))
    names = set[str]()
    if known is None or known.scores is not _adabet_scores:
        names |= {"normalization", "summary"}
    if known is None or not known.counts_loops:
        names |= {"min_persistence", "persistence_unit"}
    if known is not None and not known.equal_budget:
        names.add("rho")
    return frozenset(names)


@dataclass(frozen=True)
class OrderShare:
    """How far the execution order, instead of a strategy's scores, decides what trains."""

    alone: bool = False  # all scores are equal
    sentence: str = ""  # for the user; empty if the scores decide


def order_share(
    strategy: str, evidence: Evidence, *, rho: float = 0.1, preset: str = "recommended"
) -> OrderShare:
    """Whether ties decide which layers `chosen_layers` chooses; it has the parameters.

    Nothing is chosen, either, where a strategy scores no layer.
    """
    known = ALL_STRATEGIES[strategy]
    if known.scores is None:
        return OrderShare()
    scores, head = known.scores(evidence), evidence.head
    count = len(select_by_preset(scores, head, rho=rho, preset=preset))
    ranks = rank(scores, exclude=unranked_head(head, preset))
    if set(scores.index).difference(unranked_head(head, preset)) and ranks.isna().all():
        return OrderShare(
            alone=True,
            sentence=f"“{known.title}” cannot choose: it gives no layer of this network a score. "
            "Use another strategy.",
        )
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
