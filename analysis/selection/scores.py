"""Scores of layers: a summary of the topology, divided by a size of the layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.errors import choice_problem, raise_problems
from analysis.results import Float64, TopologyReport
from analysis.selection.sizes import EXAMPLE, SIZES, divisor, parse_powers, powers_text
from analysis.topology.summaries import SUMMARIES, layer_means

if TYPE_CHECKING:
    from analysis.topology.layer_tests import LayerTests, OfTest


@dataclass(frozen=True)
class Normalization:
    title: str  # short enough for the head of a narrow column
    help: str
    powers: Mapping[str, float]  # of the `sizes.SIZES` that a score is divided by


# Points among all powers; `normalization_of` reads any other.
NORMALIZATIONS = {
    "activation": Normalization(
        "per activation",
        "Loops per activation, as in the paper. Favours layers that need little memory.",
        {"activation": 1.0},
    ),
    "none": Normalization("not normalised", "The number of loops itself.", {}),
    "parameters": Normalization(
        "per parameter",
        "Loops per parameter. Favours norms and narrow layers.",
        {"parameters": 1.0},
    ),
    "sqrt-activation": Normalization(
        "per √activation",
        "Halfway between not normalised and per activation, on a log scale.",
        {"activation": 0.5},
    ),
    "flops": Normalization(
        "per FLOP",
        "Loops per floating-point operation of the layer for one image.",
        {"flops": 1.0},
    ),
}


def normalization_of(text: str) -> Normalization:
    """A normalisation by its name, or by the powers of sizes that it divides by.

    Parameters
    ----------
    text : str
        A name of `NORMALIZATIONS`, or powers such as "activation^0.5 parameters^-1".

    Raises
    ------
    OptionError
        If it is neither.
    """
    raise_problems(normalization_problem(text))
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    powers = parse_powers(text)
    named = {name: f"{SIZES[name].title}^{power:g}" for name, power in powers.items()}
    return Normalization(
        "your own", f"Loops divided by {' × '.join(named.values()) or '1'}.", powers
    )


def normalization_problem(text: str) -> list[str]:
    """A sentence if `normalization_of` cannot read the text; else nothing."""
    if text in NORMALIZATIONS:
        return []
    try:
        parse_powers(text)
    except ValueError as error:
        return [
            f"`normalization` must be one of {', '.join(NORMALIZATIONS)}, or powers of "
            f"{', '.join(SIZES)} such as {EXAMPLE!r}; got {text!r}: {error}"
        ]
    return []


def normalization_name(powers: Mapping[str, float]) -> str:
    """The one text for these powers: a name of `NORMALIZATIONS` if there is one."""
    some = {name: power for name, power in powers.items() if power}
    names = (name for name, known in NORMALIZATIONS.items() if known.powers == some)
    return next(names, powers_text(some))


def plain_normalization(text: str) -> str:
    """The one text for what a text asks for; one that cannot be read stays as it is."""
    if text in NORMALIZATIONS or normalization_problem(text):
        return text
    return normalization_name(parse_powers(text))


def score(
    report: TopologyReport,
    *,
    normalization: str = "activation",
    summary: str = "b1",
    tests: LayerTests | None = None,
) -> pd.Series:
    """The score of each layer, summary / size (AdaBet §4.2.4: b̂₁ = b₁ / |a|).

    Parameters
    ----------
    report : TopologyReport
    normalization : str
        As for `normalization_of`.
    summary : str
        A name of `summaries.SUMMARIES`, to which the report's `shortest_loop` applies; with tests
        also one of `layer_tests.OF_TESTS`.
    tests : LayerTests, optional
        Of the report.

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
    problems = normalization_problem(normalization)
    of_tests: Mapping[str, OfTest] = {}
    if tests is not None:
        from analysis.topology.layer_tests import OF_TESTS as of_tests  # slow to import

    raise_problems(problems + choice_problem("summary", summary, [*SUMMARIES, *of_tests]))
    if tests is not None and summary in of_tests:
        compute = of_tests[summary].compute
        made = {name: compute(test) for name, test in tests.tests.items()}
        values = [made.get(name, np.nan) for name in report.names]
        return _series(report, np.array(values), normalization)
    return _series(report, layer_means(report, summary), normalization)


def size_only(report: TopologyReport, *, normalization: str = "activation") -> pd.Series:
    """A baseline: the score with 1 in place of the topology, 1 / size.

    Raises
    ------
    OptionError
        If `normalization` cannot be read.
    """
    return _series(report, np.ones(len(report.layers)), normalization)


def _series(report: TopologyReport, numerators: Float64, normalization: str) -> pd.Series:
    counts = np.array([layer.finite and layer.parameters > 0 for layer in report.layers], bool)
    values = np.full(len(counts), np.nan)
    sizes = divisor(report, normalization_of(normalization).powers)
    np.divide(numerators, sizes, out=values, where=counts)
    return pd.Series(values, index=pd.Index(report.names, name="layer"), name="score")
