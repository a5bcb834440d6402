"""What the numbers say, in plain words."""

from __future__ import annotations

import math

import pandas as pd

from analysis.selection.correlation import rank_correlation

ALPHA = 0.05  # above it a correlation is told as no link


def clusters_sentence(rows: pd.DataFrame) -> str:
    """Whether b₁ goes with the DBSCAN cluster count over the layers (AdaBet, Figure 3)."""
    counts = rows["clusters"].astype(float)
    found = rank_correlation(rows["b1"].tolist(), counts.tolist())
    layers = f"n = {found.n} layers{', head included' if rows['head'].any() else ''}"
    if math.isnan(found.coefficient):
        known = counts.dropna().unique()
        if found.n < 3:
            return f"Too few layers to compare b₁ with the cluster counts (n = {found.n})."
        if len(known) == 1:
            plural = "" if known[0] == 1 else "s"
            return (
                f"DBSCAN finds {known[0]:.0f} cluster{plural} in every layer here, so the cluster "
                f"count cannot follow b₁ (Spearman undefined, {layers})."
            )
        return f"b₁ is the same in every layer here (Spearman undefined, {layers})."
    figures = f"Spearman {_signed(found.coefficient)}, p {_p_value(found.p_value)}, {layers}"
    if found.p_value > ALPHA:
        return f"b₁ shows no clear link with the DBSCAN cluster count here ({figures})."
    strength = "only weakly" if abs(found.coefficient) < 0.4 else "clearly"
    verb = "rises" if found.coefficient > 0 else "falls"
    return f"b₁ {verb} {strength} with the DBSCAN cluster count here ({figures})."


def size_sentence(rows: pd.DataFrame, normalization: str = "activation") -> str:
    """How much of the selection a ranking without any topology would give."""
    divisor = "Size" if normalization == "activation" else f"Size ({normalization})"
    chosen = rows["selected"]
    if not rows.loc[chosen, "score"].max() > 0:
        return "No layer has a loop that counts, so only the execution order decides."
    if rows["score"].nunique() == 1 or rows.loc[chosen, "score"].equals(rows.loc[chosen, "b1"]):
        return ""  # not normalised: size has no say
    loopless = int((rows.loc[chosen, "score"] == 0).sum())
    if loopless:
        return f"{loopless} of them have no loop that counts: the execution order decided."
    candidates = rows["selected_by_size"]
    count, shared = int(chosen.sum()), int((chosen & candidates).sum())
    if shared < count:
        return f"{divisor} alone, without any topology, would choose {shared} of these {count}."
    if int(candidates.sum()) == count:
        return f"{divisor} alone, without any topology, would choose the very same."
    return (
        f"{divisor} alone, without any topology, narrows the choice to {int(candidates.sum())} "
        f"layers, {'these' if count > 1 else 'this one'} among them; b₁ decides between those."
    )


def count_text(number: float) -> str:
    """A count in three digits: 272 k, 25.6 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.01 else f"= {value:.2f}"
