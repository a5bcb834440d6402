"""Scores of layers: a summary of the topology, divided by a size of the layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from analysis.errors import choice_problem, raise_problems
from analysis.results import LayerTopology, TopologyReport
from analysis.topology.summaries import SUMMARIES, average


@dataclass(frozen=True)
class Normalization:
    title: str  # short enough for the head of a narrow column
    help: str
    size: Callable[[LayerTopology], float]


NORMALIZATIONS = {
    "activation": Normalization(
        "per activation",
        "Loops per activation, as in the paper. Favours layers that need little memory.",
        lambda layer: layer.activation_size,
    ),
    "none": Normalization("not normalised", "The number of loops itself.", lambda _: 1.0),
    "parameters": Normalization(
        "per parameter",
        "Loops per parameter. Favours norms and narrow layers.",
        lambda layer: layer.parameters,
    ),
    "sqrt-activation": Normalization(
        "per √activation",
        "Halfway between not normalised and per activation, on a log scale.",
        lambda layer: math.sqrt(layer.activation_size),
    ),
    "flops": Normalization(
        "per FLOP",
        "Loops per floating-point operation of the layer for one image.",
        lambda layer: layer.flops,
    ),
}


def score(
    report: TopologyReport, *, normalization: str = "activation", summary: str = "b1"
) -> pd.Series:
    """The score of each layer, summary / size (AdaBet §4.2.4: b̂₁ = b₁ / |a|).

    Parameters
    ----------
    report : TopologyReport
    normalization : str
        A name of `NORMALIZATIONS`.
    summary : str
        A name of `summaries.SUMMARIES`; the report's `shortest_loop` applies.

    Returns
    -------
    Series of float
        Indexed by layer name, in execution order. NaN for a layer that is not finite or has no
        parameters.

    Raises
    ------
    OptionError
        Naming each unknown option and the known values.
    """
    problems = choice_problem("normalization", normalization, NORMALIZATIONS)
    raise_problems(problems + choice_problem("summary", summary, SUMMARIES))
    size = NORMALIZATIONS[normalization].size
    return _series(
        report,
        lambda layer: average(layer.diagrams, summary, report.shortest_loop(layer)) / size(layer),
    )


def size_only(report: TopologyReport, *, normalization: str = "activation") -> pd.Series:
    """A baseline: the score with 1 in place of the topology, 1 / size.

    Raises
    ------
    OptionError
        If `normalization` is not a name of `NORMALIZATIONS`.
    """
    raise_problems(choice_problem("normalization", normalization, NORMALIZATIONS))
    return _series(report, lambda layer: 1 / NORMALIZATIONS[normalization].size(layer))


def _series(report: TopologyReport, value: Callable[[LayerTopology], float]) -> pd.Series:
    values = [
        value(layer) if layer.finite and layer.parameters else math.nan for layer in report.layers
    ]
    return pd.Series(values, index=pd.Index(report.names, name="layer"), name="score")
