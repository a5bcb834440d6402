"""How far selections from other images agree, and whether their probabilities come true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import mean

import numpy as np

from analysis.models import load_model
from analysis.options import PRESETS, AnalysisOptions
from analysis.results import TopologyReport
from analysis.selection.certainty import certainty
from analysis.selection.ranking import ranking
from analysis.topology.inputs import load_split, prepare_inputs
from analysis.topology.pipeline import analyze
from tests.benchmarks.table import show_table, verdict
from tests.factories import POCKET

DRAWS = 6  # that share no image
EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)  # of the predicted probabilities
LEAST = 0.5  # overlap to reach


@dataclass(frozen=True)
class Stability:
    """Of one model and dataset; overlaps are Jaccard indices, means over pairs of draws."""

    model: str
    dataset: str
    chosen: int  # layers, at ρ = 0.1
    pooled: float  # overlap with one cloud of 40 images
    recommended: float  # overlap with the preset
    predicted: float  # the overlap that the preset predicts
    probabilities: list[float]  # of each layer in each draw, and how often the others chose it
    observed: list[float]


def measure(say: Callable[[str], None]) -> list[Stability]:
    return [_measure(model, data, say) for model in POCKET for data in ("digits", "fashion")]


def _measure(model: str, dataset: str, say: Callable[[str], None]) -> Stability:
    say(f"{model} · {dataset}")
    preset, options = PRESETS["recommended"], AnalysisOptions(model=model, dataset=dataset)
    drawn = load_split(options, "train").sample(DRAWS * preset.samples, seed=7)
    network = load_model(model)
    few, many = list[set[str]](), list[set[str]]()
    predicted, shares = list[float](), list[np.ndarray]()
    for draw in range(DRAWS):
        rows = np.arange(draw * preset.samples, (draw + 1) * preset.samples)
        part = replace(
            drawn, held=drawn.held[rows], labels=drawn.labels[rows], indices=drawn.indices[rows]
        )
        images = prepare_inputs(options, part, set())
        few.append(_selected(analyze(network, images[:40])))
        how = {"batch_size": preset.batch_size, "subsets": preset.subsets, "seed": draw}
        report = analyze(network, images, pooling=preset.pooling, **how)
        many.append(_selected(report))
        known = certainty(report, ranking(report))
        if known is not None:
            predicted.append(known.now.overlap)
            shares.append(known.probability.dropna())
    pairs = [
        (float(share), sum(name in other for other in many if other is not own) / (DRAWS - 1))
        for series, own in zip(shares, many, strict=True)
        for name, share in series.items()
    ]
    return Stability(
        model, dataset, len(many[0]), _overlap(few), _overlap(many), mean(predicted),
        [share for share, _ in pairs], [often for _, often in pairs],
    )  # fmt: skip


def _selected(report: TopologyReport) -> set[str]:
    rows = ranking(report)
    return set(rows.loc[rows["selected"], "layer"])


def _overlap(selections: list[set[str]]) -> float:
    return mean(len(a & b) / len(a | b) for a, b in combinations(selections, 2))


def show(results: list[Stability]) -> None:
    print(f"Overlap of selections from {DRAWS} draws of images that share none")
    numbers = [
        [f"{r.model}, {r.dataset}", str(r.chosen), *(f"{value:.2f}" for value in values),
         verdict(r.recommended >= LEAST)]
        for r in results
        for values in [(r.pooled, r.recommended, r.predicted)]
    ]  # fmt: skip
    show_table(["", "chosen", "40 images", "recommended", "predicted", "0.5"], numbers)
    print("\nHow often other draws chose a layer, by the predicted probability")
    predicted = np.concatenate([r.probabilities for r in results])
    observed = np.concatenate([r.observed for r in results])
    bins = np.digitize(predicted, EDGES[1:-1])
    rows = [
        [f"{EDGES[b]:g} to {EDGES[b + 1]:g}", str(int((bins == b).sum())),
         f"{predicted[bins == b].mean():.2f}", f"{observed[bins == b].mean():.2f}"]
        for b in range(len(EDGES) - 1)
        if (bins == b).any()
    ]  # fmt: skip
    show_table(["probability", "layers", "predicted", "observed"], rows)
