"""What the dashboard finds on the bundled models: the tables of docs/findings.md.

python -m tests.benchmarks --only findings
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from analysis.options import AnalysisOptions
from analysis.selection.agreement import SizeDominance
from analysis.selection.certainty import certainty
from analysis.selection.cluster_claim import cluster_claim
from analysis.selection.ranking import ranking
from analysis.topology.layer_tests import rotation_tests
from analysis.topology.permuted_store import PermutedRequest, saved_permuted
from analysis.topology.pipeline import analyze_named
from analysis.topology.rotation import LEVEL
from analysis.topology.store import fingerprint
from tests.benchmarks.table import show_markdown
from tests.factories import POCKET

DRAWS = 1999  # with fewer, no single one of 42 layers can be rejected after Holm's correction


@dataclass(frozen=True)
class Findings:
    """Of one model and dataset, by the default analysis. Counts are layers."""

    model: str
    dataset: str
    ranked: int
    chosen: int
    with_size: float  # Spearman's correlation of the score with 1/|a|
    with_loops: float  # and with b₁
    with_loops_at_equal_size: float  # and with b₁, given |a|
    by_size: float  # chosen layers that size alone would choose
    overlap: float  # predicted, of the selection with that of other images
    tested: int
    more: int  # layers with more loops than rotated clouds have
    fewer: int
    longer: int  # layers whose longest loop is longer
    more_than_permuted: int  # layers with more loops than all clouds with permuted features have
    fewer_than_permuted: int
    rises: float  # share of DBSCAN's settings at which b₁ clearly rises with the clusters
    falls: float


def measure(say: Callable[[str], None]) -> list[Findings]:
    return [_measure(model, data, say) for model in POCKET for data in ("digits", "fashion")]


def _measure(model: str, dataset: str, say: Callable[[str], None]) -> Findings:
    say(f"{model} · {dataset}")
    options = AnalysisOptions(model=model, dataset=dataset)
    report = analyze_named(options)
    rows = ranking(report)
    size = SizeDominance.of(rows)
    known = certainty(report, rows)
    claim = cluster_claim(report)
    table = rotation_tests(report, draws=DRAWS).to_frame()
    permuted = saved_permuted(PermutedRequest(options, fingerprint(options)), report)
    return Findings(
        model, dataset, size.ranked, size.chosen, size.size.coefficient, size.loops.coefficient,
        size.loops_at_equal_size.coefficient, size.by_size,
        known.now.overlap if known else float("nan"), table["layer"].nunique(),
        _passing(table, "b1-more"), _passing(table, "b1-fewer"), _passing(table, "longest-loop"),
        permuted.more, permuted.fewer,
        claim.share(1), claim.share(-1),
    )  # fmt: skip


def _passing(table: pd.DataFrame, statistic: str) -> int:
    # The two sides of b₁ are two tests of one number.
    level = LEVEL / 2 if statistic.startswith("b1") else LEVEL
    return int((table.loc[table["statistic"] == statistic, "p_holm"] <= level).sum())


def show(results: list[Findings]) -> None:
    print("Is it size?\n")
    show_markdown(
        ["Model and images", "with 1/\\|a\\|", "with b₁", "with b₁, given \\|a\\|", "size chooses"],
        [
            [_name(r), f"{r.with_size:.2f}", f"{r.with_loops:.2f}",
             f"{r.with_loops_at_equal_size:.2f}", f"{r.by_size:.1f} of {r.chosen}"]
            for r in results
        ],
    )  # fmt: skip
    print("\nIs it topology?\n")
    show_markdown(
        ["Model and images", "more loops", "fewer loops", "a longer loop"],
        [[_name(r), *(f"{n} of {r.tested}" for n in (r.more, r.fewer, r.longer))] for r in results],
    )
    print("\nBeside permuted features\n")
    show_markdown(
        ["Model and images", "more loops", "fewer loops"],
        [
            [
                _name(r),
                *(f"{n} of {r.tested}" for n in (r.more_than_permuted, r.fewer_than_permuted)),
            ]
            for r in results
        ],
    )
    print("\nDoes b₁ follow the clusters?\n")
    show_markdown(
        ["Model and images", "clearly rises", "clearly falls"],
        [[_name(r), f"{r.rises:.0%}", f"{r.falls:.0%}"] for r in results],
    )


def _name(result: Findings) -> str:
    return f"{result.model}, {result.dataset}"
