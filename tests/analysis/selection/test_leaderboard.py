"""The statistics of a leaderboard, against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from analysis.selection.leaderboard import (
    Leaderboard,
    Standing,
    hits,
    leaderboard,
    partial,
    regrets,
)

LAYERS, SEEDS = 30, 3
RNG = np.random.default_rng(0)
WORTH = RNG.normal(size=LAYERS)
GAINS = WORTH + 0.3 * RNG.normal(size=(SEEDS, LAYERS))
SIZES, PARAMETERS = RNG.normal(size=(2, LAYERS))
COSTS = RNG.uniform(1e6, 9e6, size=LAYERS)
SCORES = {
    "good": WORTH + 0.4 * RNG.normal(size=(SEEDS, LAYERS)),
    "same": np.tile(WORTH + 0.4 * RNG.normal(size=LAYERS), (SEEDS, 1)),
    "luck": RNG.normal(size=(SEEDS, LAYERS)),
    "worst": np.tile(-WORTH, (SEEDS, 1)),
}


def board(gains: np.ndarray = GAINS, **scores: np.ndarray) -> Leaderboard:
    given = {"sizes": SIZES.tolist(), "parameters": PARAMETERS.tolist()}
    return leaderboard(gains, COSTS, scores or SCORES, rho=0.1, draws=500, **given)


def by_name(found: Leaderboard) -> dict[str, Standing]:
    return {standing.criterion: standing for standing in found.standings}


def test_correlations_are_scipys_of_each_seeds_scores_with_the_mean_gain() -> None:
    for name, found in by_name(board()).items():
        of_seeds = [spearmanr(row, GAINS.mean(axis=0)).statistic for row in SCORES[name]]
        assert found.spearman.value == pytest.approx(np.mean(of_seeds))
        of_seeds = [spearmanr(row, GAINS.mean(axis=0) / COSTS).statistic for row in SCORES[name]]
        assert found.per_byte.value == pytest.approx(np.mean(of_seeds))
        assert found.spearman.low < found.spearman.value < found.spearman.high or name == "worst"


def test_criteria_are_ordered_and_told_apart() -> None:
    found = board()
    assert [standing.criterion for standing in found.standings][-2:] == ["luck", "worst"]
    named = by_name(found)
    assert {n for n, s in named.items() if s.level_with_best} == {"good", "same"}
    assert {n for n, s in named.items() if s.clear} == {"good", "same"}


def test_the_interval_of_unrelated_columns_is_as_wide_as_theory_says() -> None:
    """Spearman's coefficient of independent columns has the variance 1 / (L - 1)."""
    count = 400
    rng = np.random.default_rng(1)
    gains, scores = rng.normal(size=(2, 1, count))
    ones = [1.0] * count
    found = leaderboard(gains, ones, {"a": scores}, sizes=ones, parameters=ones, rho=0.1)
    estimate = found.standings[0].spearman
    width = 2 * 1.96 / math.sqrt(count - 1)
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.12)


def test_one_seed_gives_an_interval_over_layers_alone_and_no_agreement() -> None:
    one = {name: rows[:1] for name, rows in SCORES.items()}
    found = board(GAINS[:1], **one)
    assert math.isnan(found.agreement)
    named = by_name(found)["same"].spearman
    assert named.low < named.value < named.high
    pairs = [spearmanr(GAINS[i], GAINS[j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))]
    assert board().agreement == pytest.approx(np.mean(pairs))


def test_hits_share_places_among_ties() -> None:
    gains = [5, 4, 3, 2, 1, 0]
    assert hits([9, 8, 7, 0, 0, 0], gains, 3) == 1
    assert hits([0, 0, 0, 7, 8, 9], gains, 3) == 0
    # One place for four: each of them has a quarter of it.
    assert hits([9, 8, 1, 1, 1, 1], gains, 3) == pytest.approx((2 + 1 / 4) / 3)
    # All the same: what chance would find, 3 of 6.
    assert hits([1] * 6, gains, 3) == pytest.approx(0.5)
    assert hits([1, 2, 3, 4, 5, 6], [1] * 6, 3) == pytest.approx(0.5)


def test_partial_correlations_are_those_of_the_inverse_correlation_matrix() -> None:
    given = np.array([SIZES, PARAMETERS])
    ranks = np.array([rankdata(row) for row in (WORTH, GAINS[0], SIZES, PARAMETERS)])
    inverse = np.linalg.inv(np.corrcoef(ranks))
    expected = -inverse[0, 1] / math.sqrt(inverse[0, 0] * inverse[1, 1])
    assert partial(WORTH, GAINS[0], given) == pytest.approx(expected)
    assert math.isnan(partial(SIZES, GAINS[0], given)), "nothing of it is left"
    assert math.isnan(partial([1.0] * LAYERS, GAINS[0], given))


def test_a_layer_without_a_score_is_the_worst() -> None:
    missing = np.where(np.arange(LAYERS) < 10, np.nan, WORTH)
    lowest = np.where(np.arange(LAYERS) < 10, -99.0, WORTH)
    own = board(a=np.tile(missing, (SEEDS, 1)), b=np.tile(lowest, (SEEDS, 1)))
    first, second = own.standings
    assert first.spearman == second.spearman
    assert first.hits == second.hits
    assert {s.criterion: s.unscored for s in own.standings} == {"a": 10, "b": 0}


def test_a_criterion_that_scores_no_layer_has_no_numbers() -> None:
    none = by_name(board(none=np.full((SEEDS, LAYERS), np.nan), good=SCORES["good"]))["none"]
    assert (none.unscored, none.clear, none.level_with_best) == (LAYERS, False, False)
    numbers = (none.spearman.value, none.hits, none.per_byte.value, none.hits_per_byte)
    assert np.isnan([*numbers, none.partial]).all()


def test_equal_gains_are_said_and_give_no_number() -> None:
    found = board(np.full((SEEDS, LAYERS), 0.25))
    assert found.note == "Every layer gained the same, so no criterion can be judged."
    for standing in found.standings:
        assert math.isnan(standing.spearman.value)
        assert (standing.clear, standing.level_with_best) == (False, False)
        assert standing.hits == pytest.approx(found.by_chance)
    few = leaderboard(
        [[1, 2]], [1, 1], {"a": [[1, 2]]}, sizes=[1, 2], parameters=[1, 2], rho=0.1, draws=10
    )
    assert few.note == "With 2 layers, no criterion can be judged: that takes three or more."
    flat = by_name(board(flat=np.ones((SEEDS, LAYERS)), good=SCORES["good"]))["flat"]
    assert math.isnan(flat.spearman.value)
    assert (flat.clear, flat.level_with_best) == (False, False)


def test_as_many_layers_count_as_rho_rounded_up() -> None:
    assert (board().places, board().by_chance) == (3, pytest.approx(0.1))
    of_31 = np.zeros((1, 31))
    ones = [1.0] * 31
    assert leaderboard(of_31, ones, {}, sizes=ones, parameters=ones, rho=0.1).places == 4


def test_regret_is_against_the_best_set() -> None:
    lost = regrets({"a": [0.5, 0.7], "b": [0.9, 0.9], "": [0.8, 0.9]})
    assert lost == {"a": pytest.approx(0.3), "b": 0.0, "": pytest.approx(0.05)}
