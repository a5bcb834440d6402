"""Which strategy won, in a sentence that does not claim more than the runs show."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.runs.standings import Standing, comparable, standings
from analysis.runs.store import Run
from analysis.selection.strategies import STRATEGIES

ONE_SEED = "One seed: not evidence."


def verdict_sentence(runs: Sequence[Run]) -> str:
    """Say what the runs that are done show; empty if there is none."""
    done = [run for run in runs if run.result is not None]
    if not done:
        return ""
    if len({comparable(run) for run in done}) > 1:
        return "These runs differ in more than strategy and seed, so no winner is told."
    table, left_out = standings(done)
    seeds = len(table[0].seeds)
    proof = ONE_SEED if seeds == 1 else f"Means over {seeds} seeds, ± standard deviation."
    equal = [each for each in table if STRATEGIES[each.strategy].equal_budget]
    others = [each for each in table if not STRATEGIES[each.strategy].equal_budget]
    parts = [_winner(equal)] if equal else []
    if others:
        listed = ", ".join(f"{_title(each)} {_accuracy(each)}" for each in others)
        parts.append(f"{'For comparison' if equal else 'On the test images'}: {listed}.")
    parts.append(_against_nulls(equal))
    if left_out:
        names = " and ".join(STRATEGIES[name].title for name in dict.fromkeys(left_out))
        parts.append(f"Left out, since other seeds are done: {names}.")
    return " ".join(part for part in [*parts, proof] if part)


def _winner(equal: list[Standing]) -> str:
    best = equal[0]
    if len(equal) == 1:
        return f"{_title(best)} reaches {_accuracy(best)} of the test images."
    second = equal[1]
    lead = round(100 * best.mean, 1) - round(100 * second.mean, 1)  # as they are told
    start = (
        f"Of the strategies that train equally many layers, **{_title(best)}** did best: "
        f"{_accuracy(best)} of the test images right"
    )
    if lead < 0.05:
        return f"{start}, as did {_title(second)}."
    margin = f"{lead:.1f} point{'' if f'{lead:.1f}' == '1.0' else 's'} more than {_title(second)}"
    if len(best.seeds) > 1 and lead <= 100 * max(best.spread, second.spread):
        return f"{start}, {margin}, which is within the spread over seeds: no clear winner."
    return f"{start}, {margin}."


def _against_nulls(equal: list[Standing]) -> str:
    """Whether topology beat chance and size, wherever they ran beside it."""
    by_name: dict[str, float] = {}
    for each in equal:  # the best first: of AdaBet's variants that one counts
        by_name.setdefault(each.strategy, each.mean)
    ours = by_name.get("adabet")
    nulls = [name for name in ("size", "random") if name in by_name]
    if ours is None or not nulls or equal[0].strategy == "adabet":
        return ""
    better = [name for name in nulls if by_name[name] >= ours]
    if not better:
        return ""
    called = " and ".join(STRATEGIES[name].title.lower() for name in better)
    return f"AdaBet does not beat {called} here."


def _title(standing: Standing) -> str:
    variant = f" ({standing.variant})" if standing.variant else ""
    return STRATEGIES[standing.strategy].title + variant


def _accuracy(standing: Standing) -> str:
    spread = f" ± {100 * standing.spread:.1f}" if len(standing.seeds) > 1 else ""
    return f"{100 * standing.mean:.1f}{spread}\N{NO-BREAK SPACE}%"
