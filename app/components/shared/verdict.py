"""Which strategy won, in sentences that do not claim more than the runs show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.runs.differences import LEVEL, Difference, Differences
from analysis.runs.standings import Standing, comparison_key, standings
from analysis.runs.store import Run
from analysis.selection.strategies import ALL_STRATEGIES
from analysis.text import plural, signed
from app.cache import run_differences

ONE_SEED = "One seed is not evidence."
NO_IMAGES = "No winner is named: not all runs kept predictions of the same test images."
CAVEAT = (
    "Whether b₁ finds the layers that matter is a claim, not a theorem. In our own grid, with one "
    "seed, AdaBet beats random layers on 6 of 16 pairs, and size alone on 3."
)
NULLS = ("size", "random")
Hold = Callable[[Sequence[Standing]], Differences | None]


def render_verdict(
    runs: Sequence[Run], before: str = "", aside: DeltaGenerator | None = None
) -> None:
    """Draw what the finished runs show, how sure that is, and what to bear in mind of b₁.

    All but the first goes to `aside`, if it is given.
    """
    sentence, evidence = verdict(runs)
    if not sentence:
        return
    st.markdown(before + sentence)
    uses_b1 = any(run.options.strategy == "adabet" and run.result is not None for run in runs)
    caption = " ".join([*filter(None, [evidence]), *([CAVEAT] if uses_b1 else [])])
    (aside or st).caption(caption)


def verdict(runs: Sequence[Run], hold: Hold = run_differences) -> tuple[str, str]:
    """What the finished runs show, and how sure that is; both empty if there are none.

    `hold` holds standings against each other, image by image.
    """
    done = [run for run in runs if run.result is not None]
    if not done:
        return "", ""
    if len({comparison_key(run) for run in done}) > 1:
        return "These runs differ in more than strategy and seed, so no winner is named.", ""
    table, left_out = standings(done)
    equal = [row for row in table if ALL_STRATEGIES[row.strategy].equal_budget]
    others = [row for row in table if not ALL_STRATEGIES[row.strategy].equal_budget]
    pairs = hold(equal or table)
    parts = [_winner(equal, pairs)] if equal else []
    if others:
        figures = ", ".join(f"{_title(row)} {_accuracy(row)}" for row in others)
        parts.append(f"{'For comparison' if equal else 'On the test images'}: {figures}.")
    parts.append(_against_nulls(equal, pairs))
    if left_out:
        names = " and ".join(ALL_STRATEGIES[name].title for name in dict.fromkeys(left_out))
        parts.append(f"Left out, as they ran with other seeds: {names}.")
    return " ".join(filter(None, parts)), _evidence(table[0], pairs)


def _winner(equal: list[Standing], pairs: Differences | None) -> str:
    best = equal[0]
    if len(equal) == 1:
        return f"{_title(best)} classifies {_accuracy(best)} of the test images correctly."
    second = equal[1]
    if pairs is None:
        return f"{_title(best)} leads with {_accuracy(best)}{_lead(best, second)}. {NO_IMAGES}"
    # The one that it is least sure to beat, which need not be the second.
    place = min(range(1, len(equal)), key=lambda other: pairs.between(0, other).low)
    rival, difference = equal[place], pairs.between(0, place)
    lead = f"{_lead(best, rival)} ({_interval(difference)})"
    if difference.low <= 0:
        return f"No clear winner: {_title(best)} leads with {_accuracy(best)}{lead}."
    if len(best.seeds) == 1:
        return f"With this one seed, {_title(best)} leads with {_accuracy(best)}{lead}."
    return (
        f"Of the strategies that train the same number of layers, **{_title(best)}** did best: "
        f"{_accuracy(best)} of the test images correct{lead}."
    )


def _lead(best: Standing, rival: Standing) -> str:
    lead = round(100 * best.mean, 1) - round(100 * rival.mean, 1)  # as the sentence shows them
    if lead < 0.05:
        return f", as does {_title(rival)}"
    unit = "point" if f"{lead:.1f}" == "1.0" else "points"
    return f", {lead:.1f} {unit} more than {_title(rival)}"


def _interval(difference: Difference) -> str:
    return f"{signed(100 * difference.low)} to {signed(100 * difference.high)}"


def _against_nulls(equal: list[Standing], pairs: Differences | None) -> str:
    """What each way of scoring by AdaBet shows against chance and size, where they ran too."""
    nulls = [place for place, row in enumerate(equal) if row.strategy in NULLS]
    ours = [place for place, row in enumerate(equal) if row.strategy == "adabet"]
    return " ".join(_against(equal, place, nulls, pairs) for place in ours if nulls)


def _against(equal: list[Standing], place: int, nulls: list[int], pairs: Differences | None) -> str:
    groups: dict[str, list[str]] = {}
    for null in nulls:
        groups.setdefault(_relation(equal, place, null, pairs), []).append(
            ALL_STRATEGIES[equal[null].strategy].title.lower()
        )
    clauses = [f"{verb} {' and '.join(names)}" for verb, names in groups.items()]
    return f"{_title(equal[place])} {', and '.join(clauses)}."


def _relation(equal: list[Standing], place: int, null: int, pairs: Differences | None) -> str:
    if pairs is not None and len(equal[place].seeds) > 1:
        difference = pairs.between(place, null)
        if difference.clear:
            return "beats" if difference.low > 0 else "does worse than"
    return "is not shown to beat"


def _evidence(standing: Standing, pairs: Differences | None) -> str:
    seeds, parts = len(standing.seeds), []
    if pairs is not None:
        worth = 100 / pairs.images
        points = plural(float(f"{worth:.2g}"), "point")
        parts.append(f"{plural(pairs.images, 'test image')}: one is {points}.")
    if seeds > 1:
        parts.append(f"Means over {seeds} seeds, ± standard deviation.")
    if pairs is not None and pairs.of_pairs:
        over = "images and seeds" if seeds > 1 else "images alone"
        several = len(pairs.of_pairs)
        together = f" for {several} comparisons together" if several > 1 else ""
        parts.append(
            f"In brackets: {100 * LEVEL:.0f}\N{NO-BREAK SPACE}% interval over {over}{together}."
        )
    return " ".join([*parts, *([ONE_SEED] if seeds == 1 else [])])


def _title(standing: Standing) -> str:
    variant = f" ({standing.variant})" if standing.variant else ""
    return ALL_STRATEGIES[standing.strategy].title + variant


def _accuracy(standing: Standing) -> str:
    spread = f" ± {100 * standing.spread:.1f}" if len(standing.seeds) > 1 else ""
    return f"{100 * standing.mean:.1f}{spread}\N{NO-BREAK SPACE}%"
