"""How sure a difference is: paired intervals over images and seeds, held against scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, t

from analysis.runs.differences import Difference, differences, paired_bootstrap
from analysis.runs.standings import standings
from analysis.runs.store import RunStore
from tests.run_factories import finished_run, run_options


def gains_of(won: int, lost: int, images: int) -> np.ndarray:
    """One seed's gains: some images that only the first has right, some that only the other."""
    return np.array([[1] * won + [-1] * lost + [0] * (images - won - lost)])


@pytest.mark.parametrize(("won", "lost"), [(30, 10), (12, 9), (3, 25)])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_over_images_alone_it_is_the_bootstrap_of_scipy(won: int, lost: int, level: float) -> None:
    gains = gains_of(won, lost, 360)
    ours = paired_bootstrap(gains, level=level)
    theirs = bootstrap(
        (gains[0],), np.mean, confidence_level=level, n_resamples=20_000, method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert ours.gain == pytest.approx((won - lost) / 360)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1.1 / 360)


@pytest.mark.parametrize("seeds", [3, 5, 20])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_over_seeds_alone_it_is_the_interval_of_student(seeds: int, level: float) -> None:
    """Each seed's gain is the same on every image."""
    by_seed = np.random.default_rng(2).normal(0.1, 0.1, seeds)
    ours = paired_bootstrap(np.repeat(by_seed[:, None], 50, axis=1), level=level)
    theirs = t.interval(level, seeds - 1, by_seed.mean(), by_seed.std(ddof=1) / np.sqrt(seeds))
    width = theirs[1] - theirs[0]
    # Of three seeds a draw has ten mixtures, so the ends of the interval move in steps.
    assert (ours.low, ours.high) == pytest.approx(theirs, abs=width * (0.25 if seeds < 5 else 0.1))


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_that_vary_do_not_make_a_winner_by_chance(seeds: int) -> None:
    """Two equally good strategies, whose runs vary by eight points from seed to seed."""
    rng = np.random.default_rng(0)
    clear = 0
    for _ in range(150):
        share = 0.7 + rng.normal(0, 0.08, (2, seeds, 1))
        hits = (rng.random((2, seeds, 200)) < share).astype(int)
        clear += paired_bootstrap(hits[0] - hits[1], draws=500).clear
    assert binomtest(clear, 150, 0.05, alternative="greater").pvalue > 0.01


def test_images_and_seeds_add_their_variances() -> None:
    rng = np.random.default_rng(0)
    gains = rng.integers(-1, 2, (30, 1)) * (rng.random((30, 400)) < 0.5)
    gains[:, :200] |= 1  # so that images differ too
    drawn = paired_bootstrap(gains)
    of_images = gains.mean(axis=0).var() / 400
    of_seeds = gains.mean(axis=1).var() / 30
    width = 2 * 1.96 * np.sqrt(of_images + of_seeds)
    assert drawn.high - drawn.low == pytest.approx(width, rel=0.1)


@pytest.mark.parametrize(("won", "lost"), [(40, 5), (5, 40), (15, 14), (8, 8), (0, 0)])
def test_it_is_clear_where_the_sign_test_is(won: int, lost: int) -> None:
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert paired_bootstrap(gains_of(won, lost, 360)).clear == (p < 0.05)


def test_a_larger_family_of_pairs_has_wider_intervals(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs.sqlite")
    hits = {"adabet": 300, "size": 290, "random": 250}
    runs = [
        finished_run(store, run_options(name), correct=[i < count for i in range(360)])
        for name, count in hits.items()
    ]

    def width(count: int) -> float:
        table, _ = standings(runs[:count])
        pairs = differences(table, lambda run: store.predictions(run.id))
        assert pairs is not None
        assert pairs.images == 360
        assert pairs.between(0, 1).gain == pytest.approx(10 / 360)
        assert pairs.between(1, 0) == -pairs.between(0, 1)
        return pairs.between(0, 1).high - pairs.between(0, 1).low

    assert width(3) > width(2)
    expected = paired_bootstrap(gains_of(10, 0, 360), level=1 - 0.05 / 3)
    assert width(3) == pytest.approx(expected.high - expected.low)


@pytest.mark.parametrize("other", [[], [True] * 7])
def test_without_the_same_images_nothing_is_compared(tmp_path: Path, other: list[bool]) -> None:
    store = RunStore(tmp_path / "runs.sqlite")
    runs = [
        finished_run(store, run_options("adabet"), correct=[True] * 8),
        finished_run(store, run_options("size"), correct=other),
    ]
    table, _ = standings(runs)
    assert differences(table, lambda run: store.predictions(run.id)) is None


def test_an_interval_that_touches_zero_is_not_clear() -> None:
    assert not Difference(0.1, 0.0, 0.2).clear
    assert not Difference(-0.1, -0.2, 0.0).clear
    assert Difference(0.1, 0.01, 0.2).clear
    assert (-Difference(0.1, 0.01, 0.2)).clear
