"""The results in plain words."""

from __future__ import annotations

import math

import pandas as pd

from analysis.results import TopologyReport
from analysis.selection.correlation import rank_correlation
from analysis.text import p_value_text, plural, signed
from analysis.topology.layer_tests import LayerTests

ALPHA = 0.05  # a correlation with a larger p is reported as no link
FEW = 10  # clouds; the spread of fewer is itself known only roughly


def clusters_sentence(rows: pd.DataFrame) -> str:
    """Whether b₁ goes with the DBSCAN cluster count over the layers (AdaBet, Figure 3)."""
    counts = rows["clusters"].astype(float)
    result = rank_correlation(rows["b1"].tolist(), counts.tolist())
    layers = f"n = {plural(result.n, 'layer')}{', head included' if rows['head'].any() else ''}"
    if math.isnan(result.coefficient):
        known = counts.dropna().unique()
        if result.n < 3:
            return f"Too few layers to compare b₁ with the cluster counts (n = {result.n})."
        if len(known) == 1:
            return (
                f"DBSCAN finds {plural(int(known[0]), 'cluster')} in every layer here, so the "
                f"cluster count cannot follow b₁ (Spearman undefined, {layers})."
            )
        return f"b₁ is the same in every layer here (Spearman undefined, {layers})."
    figures = (
        f"Spearman {signed(result.coefficient, 2)}, p {p_value_text(result.p_value)}, {layers}"
    )
    if result.p_value > ALPHA:
        return f"b₁ shows no clear link with the DBSCAN cluster count here ({figures})."
    strength = "only weakly" if abs(result.coefficient) < 0.4 else "clearly"
    verb = "rises" if result.coefficient > 0 else "falls"
    return f"b₁ {verb} {strength} with the DBSCAN cluster count here ({figures})."


def errors_sentence(report: TopologyReport, tests: LayerTests | None) -> str:
    """On how few clouds the error bars of b₁, and the band of its tests, rest; else empty."""
    if report.pooling == "pooled":
        return ""
    one, many = ("subset", "") if report.pooling == "subsets" else ("batch", "batches")
    count, sentences = len(report.clouds), []
    if 1 < count < FEW and any(not math.isnan(layer.b1_se) for layer in report.layers):
        sentences.append(
            f"The error bars rest on only {plural(count, one, many)}, so they may be far too short "
            "or too long."
        )
    if tests is not None and tests.groups < FEW:
        sentences.append(
            f"The band behind b₁ rests on {plural(tests.groups, one, many)} of {tests.size} "
            f"images, rotated up to {plural(tests.asked, 'time')}."
        )
    return " ".join(sentences)
