"""Which strategy won, in a sentence that does not claim more than the runs show."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.runs.standings import Standing, comparison_key, standings
from analysis.runs.store import Run
from analysis.selection.strategies import STRATEGIES

ONE_SEED = "One seed is not evidence."


def verdict_sentence(runs: Sequence[Run]) -> str:
    """What the finished runs show; empty if there are none."""
    done = [run for run in runs if run.result is not None]
    if not done:
        return ""
    if len({comparison_key(run) for run in done}) > 1:
        return "These runs differ in more than strategy and seed, so no winner is named."
    table, left_out = standings(done)
    seeds = len(table[0].seeds)
    proof = ONE_SEED if seeds == 1 else f"Means over {seeds} seeds, ± standard deviation."
    equal = [row for row in table if STRATEGIES[row.strategy].equal_budget]
    others = [row for row in table if not STRATEGIES[row.strategy].equal_budget]
    parts = [_winner(equal)] if equal else []
    if others:
        figures = ", ".join(f"{_title(row)} {_accuracy(row)}" for row in others)
        parts.append(f"{'For comparison' if equal else 'On the test images'}: {figures}.")
    parts.append(_against_nulls(equal))
    if left_out:
        names = " and ".join(STRATEGIES[name].title for name in dict.fromkeys(left_out))
        parts.append(f"Left out, as they ran with other seeds: {names}.")
    return " ".join(part for part in [*parts, proof] if part)


def _winner(equal: list[Standing]) -> str:
    best = equal[0]
    if len(equal) == 1:
        return f"{_title(best)} classifies {_accuracy(best)} of the test images correctly."
    second = equal[1]
    lead = round(100 * best.mean, 1) - round(100 * second.mean, 1)  # as the sentence shows them
    start = (
        f"Of the strategies that train the same number of layers, **{_title(best)}** did best: "
        f"{_accuracy(best)} of the test images correct"
    )
    if lead < 0.05:
        return f"{start}, as did {_title(second)}."
    margin = f"{lead:.1f} point{'' if f'{lead:.1f}' == '1.0' else 's'} more than {_title(second)}"
    if len(best.seeds) > 1 and lead <= 100 * max(best.spread, second.spread):
        return f"{start}, {margin}, which is within the spread over seeds: no clear winner."
    return f"{start}, {margin}."


def _against_nulls(equal: list[Standing]) -> str:
    """Which of chance and size AdaBet does not beat, where they ran too."""
    by_name: dict[str, float] = {}
    for row in equal:  # best first, so of AdaBet's variants the best counts
        by_name.setdefault(row.strategy, row.mean)
    ours = by_name.get("adabet")
    nulls = [name for name in ("size", "random") if name in by_name]
    if ours is None or not nulls or equal[0].strategy == "adabet":
        return ""
    better = [name for name in nulls if by_name[name] >= ours]
    if not better:
        return ""
    titles = " and ".join(STRATEGIES[name].title.lower() for name in better)
    return f"AdaBet does not beat {titles} here."


def _title(standing: Standing) -> str:
    variant = f" ({standing.variant})" if standing.variant else ""
    return STRATEGIES[standing.strategy].title + variant


def _accuracy(standing: Standing) -> str:
    spread = f" ± {100 * standing.spread:.1f}" if len(standing.seeds) > 1 else ""
    return f"{100 * standing.mean:.1f}{spread}\N{NO-BREAK SPACE}%"
