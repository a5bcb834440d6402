"""The sentence about who won says no more than the runs show."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.runs.records import Ending
from analysis.runs.standings import standings
from analysis.runs.store import Run, RunStore
from app.components.shared.verdict import verdict_sentence
from tests.run_factories import finished_run, run_options


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs.sqlite")


def runs(store: RunStore, **accuracies: list[float]) -> list[Run]:
    """One run for each strategy and seed."""
    return [
        finished_run(store, run_options(strategy.replace("_", "-"), seed), accuracy=accuracy)
        for strategy, of_seeds in accuracies.items()
        for seed, accuracy in enumerate(of_seeds)
    ]


def sentence(store: RunStore, **accuracies: list[float]) -> str:
    return verdict_sentence(runs(store, **accuracies)).replace("\N{NO-BREAK SPACE}", " ")


def test_means_and_spreads_are_over_seeds(store: RunStore) -> None:
    table, _ = standings(runs(store, adabet=[0.9, 0.92, 0.97], size=[0.8, 0.8, 0.8]))
    assert [standing.strategy for standing in table] == ["adabet", "size"]
    assert table[0].mean == pytest.approx(0.93)
    assert table[0].spread == pytest.approx(0.0360555, rel=1e-5)  # √(0.0026 / 2)
    assert table[1].spread == 0


def test_a_strategy_that_lacks_a_seed_does_not_affect_others(store: RunStore) -> None:
    table, left_out = standings(runs(store, adabet=[0.9, 0.8], size=[0.8, 0.6], head=[0.5]))
    assert [(standing.strategy, standing.seeds, standing.mean) for standing in table] == [
        ("adabet", (0, 1), pytest.approx(0.85)),
        ("size", (0, 1), pytest.approx(0.7)),
    ]
    assert left_out == ["head"]


def test_of_equally_many_results_those_of_more_strategies_count(store: RunStore) -> None:
    table, left_out = standings(runs(store, adabet=[0.9, 0.1], size=[0.8]))
    assert [(standing.strategy, standing.seeds) for standing in table] == [
        ("adabet", (0,)),
        ("size", (0,)),
    ]
    assert left_out == []


def test_the_newest_of_two_alike_runs_counts(store: RunStore) -> None:
    both = runs(store, adabet=[0.5]) + runs(store, adabet=[0.7])
    assert standings(both)[0][0].accuracies == (0.7,)
    assert standings(both[::-1])[0][0].accuracies == (0.7,)


def test_a_clear_winner_over_seeds(store: RunStore) -> None:
    text = sentence(store, adabet=[0.95, 0.96], random=[0.80, 0.81], full=[0.98, 0.99])
    assert "**AdaBet** did best: 95.5 ± 0.7 % of the test images correct" in text
    assert "15.0 points more than Random." in text
    assert "For comparison: Full 98.5 ± 0.7 %." in text
    assert "Means over 2 seeds" in text
    assert "not evidence" not in text
    assert "no clear winner" not in text
    assert "does not beat" not in text


def test_a_lead_within_the_spread_is_not_a_win(store: RunStore) -> None:
    text = sentence(store, adabet=[0.90, 0.96], size=[0.95, 0.93])
    assert "**Size alone** did best" in text
    assert "within the spread over seeds: no clear winner" in text
    assert "AdaBet does not beat size alone here." in text


def test_one_seed_is_not_evidence(store: RunStore) -> None:
    assert sentence(store, adabet=[0.9]) == (
        "AdaBet classifies 90.0 % of the test images correctly. One seed is not evidence."
    )


def test_runs_that_are_not_comparable_have_no_winner(store: RunStore) -> None:
    other = finished_run(store, run_options("size", train_samples=100))
    text = verdict_sentence([*runs(store, adabet=[0.9]), other])
    assert text == "These runs differ in more than strategy and seed, so no winner is named."


def test_strategies_without_a_common_seed_are_not_compared(store: RunStore) -> None:
    other = finished_run(store, run_options("size", seed=4), accuracy=0.99)
    text = verdict_sentence([*runs(store, adabet=[0.9]), other])
    assert "did best" not in text
    assert "Left out, as they ran with other seeds: Size alone." in text


def test_a_lead_is_the_difference_of_the_rounded_figures(store: RunStore) -> None:
    text = sentence(store, adabet=[0.9466], size=[0.9414])  # 94.7 and 94.1, 0.52 apart
    assert "0.6 points more" in text


def test_runs_that_did_not_end_well_say_nothing(store: RunStore) -> None:
    failed = finished_run(store, run_options("adabet"), ending=Ending("failed", "It broke."))
    assert verdict_sentence([failed]) == ""
    assert "AdaBet" not in verdict_sentence([failed, *runs(store, size=[0.9])])


def test_variants_of_adabet_have_different_names(store: RunStore) -> None:
    ended = [
        finished_run(store, run_options("adabet"), accuracy=0.9),
        finished_run(store, run_options("adabet", normalization="none"), accuracy=0.5),
        finished_run(store, run_options("size"), accuracy=0.7),
    ]
    text = verdict_sentence(ended)
    assert "**AdaBet (b1 by activation)** did best" in text
    assert "does not beat" not in text
    assert len(standings(ended)[0]) == 3


def test_runs_under_different_presets_have_no_winner(store: RunStore) -> None:
    other = finished_run(store, run_options("size", preset="paper"))
    assert "no winner is named" in verdict_sentence([*runs(store, adabet=[0.9]), other])
