"""The sentence about who won says no more than the runs show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from analysis.runs.differences import Differences, differences
from analysis.runs.records import Ending
from analysis.runs.standings import Standing, standings
from analysis.runs.store import Run, RunStore
from app.components.shared.verdict import CAVEAT, verdict
from tests.run_factories import finished_run, run_options

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs.sqlite")


IMAGES = 400


def runs(store: RunStore, **accuracies: list[float]) -> list[Run]:
    """One run for each strategy and seed; the better one has all that the worse one has right."""
    return [
        finished_run(
            store,
            run_options(strategy.replace("_", "-"), seed),
            correct=[place < round(IMAGES * accuracy) for place in range(IMAGES)],
        )
        for strategy, of_seeds in accuracies.items()
        for seed, accuracy in enumerate(of_seeds)
    ]


def said(store: RunStore, of: list[Run]) -> str:
    """The sentence and its evidence."""

    def hold(table: Sequence[Standing]) -> Differences | None:
        return differences(table, lambda run: store.predictions(run.id))

    return " ".join(verdict(of, hold)).replace("\N{NO-BREAK SPACE}", " ")


def sentence(store: RunStore, **accuracies: list[float]) -> str:
    return said(store, runs(store, **accuracies))


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
    assert "15.0 points more than Random (+11.6 to +18.5)." in text
    assert "For comparison: Full 98.5 ± 0.7 %." in text
    assert "AdaBet beats random." in text
    assert "400 test images: one is 0.25 points. Means over 2 seeds" in text
    assert "95 % interval over images and seeds." in text
    assert "not evidence" not in text


def test_a_lead_that_the_images_do_not_bear_out_names_no_winner(store: RunStore) -> None:
    text = sentence(store, adabet=[0.90, 0.96], size=[0.95, 0.93])
    assert text.startswith("No clear winner: Size alone leads with 94.0 ± 1.4 %")
    assert "**" not in text
    assert "AdaBet is not shown to beat size alone." in text


def test_a_lead_beyond_the_spread_over_seeds_may_be_a_few_images(store: RunStore) -> None:
    """Two images of 400, under each of three seeds: the former rule named a winner."""
    text = sentence(store, adabet=[0.905] * 3, size=[0.9] * 3)
    assert text.startswith("No clear winner: AdaBet leads with 90.5 ± 0.0 %, 0.5 points more")


def test_the_winner_must_beat_the_one_it_is_least_sure_of(store: RunStore) -> None:
    """The second has the same images right but few; the third has others right."""
    best = [place < 360 for place in range(400)]
    second = [place < 344 for place in range(400)]
    third = [not place < 48 and place < 390 for place in range(400)]
    ended = [
        finished_run(store, run_options(name, seed), correct=hits)
        for name, hits in (("adabet", best), ("size", second), ("last", third))
        for seed in (0, 1, 2)
    ]
    text = said(store, ended)
    assert "No clear winner: AdaBet leads with 90.0 ± 0.0 %, 4.5 points more than Last" in text
    assert "AdaBet beats size alone." in text
    assert "for 3 comparisons together" in text


def test_equal_accuracies_are_no_lead(store: RunStore) -> None:
    text = sentence(store, adabet=[0.9, 0.9], size=[0.9, 0.9])
    assert "No clear winner: AdaBet leads with 90.0 ± 0.0 %, as does Size alone" in text


def test_one_seed_is_not_evidence(store: RunStore) -> None:
    assert sentence(store, adabet=[0.9]) == (
        "AdaBet classifies 90.0 % of the test images correctly. "
        "400 test images: one is 0.25 points. One seed is not evidence."
    )
    text = sentence(store, adabet=[0.9], size=[0.5])
    assert "With this one seed, AdaBet leads with 90.0 %, 40.0 points more than Size" in text
    assert "AdaBet is not shown to beat size alone." in text
    assert "interval over images alone. One seed is not evidence." in text


def test_runs_without_predictions_have_no_winner(store: RunStore) -> None:
    """Those of earlier versions."""
    old = [
        finished_run(store, run_options(name, seed), accuracy=accuracy)
        for name, accuracy in (("adabet", 0.9), ("size", 0.5))
        for seed in (0, 1)
    ]
    text = said(store, old)
    assert text.startswith("AdaBet leads with 90.0 ± 0.0 %, 40.0 points more than Size alone. No ")
    assert "No winner is named: not all runs kept predictions of the same test images." in text
    assert "AdaBet is not shown to beat size alone." in text
    assert "test image" not in text.split("test images. ")[-1]


def test_every_way_of_scoring_is_held_against_the_nulls(store: RunStore) -> None:
    def hits(share: float) -> list[bool]:
        return [place < share * IMAGES for place in range(IMAGES)]

    ended = [
        finished_run(store, options, correct=hits(share))
        for seed in (0, 1)
        for options, share in (
            (run_options("adabet", seed), 0.9),
            (run_options("adabet", seed, normalization="none"), 0.5),
            (run_options("size", seed), 0.7),
            (run_options("random", seed), 0.505),
        )
    ]
    text = said(store, ended)
    assert "**AdaBet (b1 by activation)** did best" in text
    assert "AdaBet (b1 by activation) beats size alone and random." in text
    assert (
        "AdaBet (b1 by none) does worse than size alone, and is not shown to beat random." in text
    )
    assert "for 6 comparisons together" in text


def test_runs_that_are_not_comparable_have_no_winner(store: RunStore) -> None:
    other = finished_run(store, run_options("size", train_samples=100))
    text, evidence = verdict([*runs(store, adabet=[0.9]), other])
    assert text == "These runs differ in more than strategy and seed, so no winner is named."
    assert evidence == ""


def test_strategies_without_a_common_seed_are_not_compared(store: RunStore) -> None:
    other = finished_run(store, run_options("size", seed=4), accuracy=0.99)
    text = said(store, [*runs(store, adabet=[0.9]), other])
    assert "did best" not in text
    assert "Left out, as they ran with other seeds: Size alone." in text


def test_a_lead_is_the_difference_of_the_rounded_figures(store: RunStore) -> None:
    old = [
        finished_run(store, run_options(name), accuracy=accuracy)
        for name, accuracy in (("adabet", 0.9466), ("size", 0.9414))  # 94.7 and 94.1, 0.52 apart
    ]
    assert "0.6 points more" in said(store, old)


def test_runs_that_did_not_end_well_say_nothing(store: RunStore) -> None:
    failed = finished_run(store, run_options("adabet"), ending=Ending("failed", "It broke."))
    assert verdict([failed]) == ("", "")
    assert "AdaBet" not in said(store, [failed, *runs(store, size=[0.9])])


def test_only_strategies_of_another_budget_are_listed_without_a_winner(store: RunStore) -> None:
    text = sentence(store, full=[0.9, 0.9], head=[0.5, 0.5])
    assert text.startswith("On the test images: Full 90.0 ± 0.0 %, Head only 50.0 ± 0.0 %. 400")


def test_runs_under_different_presets_have_no_winner(store: RunStore) -> None:
    other = finished_run(store, run_options("size", preset="paper"))
    assert "no winner is named" in verdict([*runs(store, adabet=[0.9]), other])[0]


def test_the_caveat_has_the_numbers_of_readme() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "AdaBet beats random layers on 6 of 16 pairs" in readme
    assert "size alone on 3 (" in readme
    assert "AdaBet beats random layers on 6 of 16 pairs, and size alone on 3." in CAVEAT
