"""The rotation test: exact on Gaussian clouds, and each number from its definition."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ripser import ripser
from scipy.linalg import helmert
from scipy.stats import gumbel_l, kstest

from analysis import rotation_test
from analysis.errors import OptionError
from analysis.topology.asymptotic import asymptotic_p
from analysis.topology.calibration import calibration
from analysis.topology.persistence import persistence
from analysis.topology.rotation import (
    STATISTICS,
    coordinates,
    null_statistics,
    random_rotation,
    sequential_p,
)
from tests.factories import blobs, circle, distances_of


def gaussian(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)) * np.arange(1, size + 1)


def test_each_statistic_is_that_of_the_rotated_gram_matrix() -> None:
    """The definition, written out with `ripser` and without anything of ours."""
    distances, draws, seed = distances_of(gaussian(14, 30)), 12, 5
    frame = rotation_test(distances, draws=draws, seed=seed).to_frame()
    count = len(distances)
    centre = np.eye(count) - 1 / count
    gram = -0.5 * centre @ (distances.astype(float) ** 2) @ centre
    basis = helmert(count).T

    def statistics(matrix: np.ndarray) -> tuple[float, float, float]:
        loops = ripser(matrix, distance_matrix=True, maxdim=1)["dgms"][1]
        return len(loops), (loops[:, 1] - loops[:, 0]).sum(), (loops[:, 1] / loops[:, 0]).max()

    null = []
    for draw in range(draws):
        rotation = random_rotation(count - 1, np.random.default_rng([seed, draw]))
        rotated = basis @ rotation @ (basis.T @ gram @ basis) @ rotation.T @ basis.T
        own = np.diag(rotated)
        squares = own[:, None] + own[None] - 2 * rotated
        null.append(statistics(np.sqrt(np.maximum(squares, 0))))
    b1, total, longest = np.array(null).T
    expected = statistics(distances)
    by_name = {"b1-more": (b1, 0), "b1-fewer": (b1, 0), "total-persistence": (total, 1)}
    for name, (values, i) in (by_name | {"longest-loop": (longest, 2)}).items():
        row = frame.loc[name]
        assert row["value"] == pytest.approx(expected[i], rel=1e-5)
        assert row["null_mean"] == pytest.approx(values.mean(), rel=1e-5)
        assert row["null_sd"] == pytest.approx(values.std(ddof=1), rel=1e-4)
        extreme = values <= expected[i] if name == "b1-fewer" else values >= expected[i]
        assert row["p"] == (1 + extreme.sum()) / (draws + 1)


def test_the_frame_has_the_rows_and_columns_of_the_interface() -> None:
    frame = rotation_test(distances_of(gaussian(8, 3)), draws=3).to_frame()
    assert tuple(frame.index) == STATISTICS
    assert list(frame.columns) == ["value", "null_mean", "null_sd", "p"]


def test_one_loop_of_a_noisy_circle_passes_and_its_other_bars_do_not() -> None:
    distances = distances_of(circle(30, noise=0.2))
    test = rotation_test(distances, draws=99)
    loops = persistence(distances)[1]
    assert len(test.bars) == len(loops) > 1
    assert test.bars[np.argmax(loops[:, 1] / loops[:, 0])] == 0.01 == test.bars.min()
    assert (test.bars <= 0.05).sum() == 1 == test.long_bars
    assert test.to_frame().loc["longest-loop", "p"] == 0.01


def test_two_clusters_reject_as_well() -> None:
    frame = rotation_test(distances_of(blobs(12)), draws=59).to_frame()
    assert frame.loc["b1-more", "p"] == 1 / 60
    assert frame.loc["b1-fewer", "p"] == 1
    assert frame.loc["b1-more", "value"] > frame.loc["b1-more", "null_mean"]


def test_p_is_uniform_on_gaussian_clouds() -> None:
    """A quick check; the benchmark `rotation` does it for 300 clouds of up to 100 points."""
    p = np.array([calibration(i, points=(12, 20), draws=19).p for i in range(60)])
    for column in range(4):
        assert kstest(p[:, column], "uniform").pvalue > 0.02


def test_an_early_end_keeps_p_valid() -> None:
    """P(p <= α) <= α for draws of the same law as the observed value: any rank is as likely."""
    rng = np.random.default_rng(0)
    values = rng.random((40, 4000))
    p = sequential_p(values[1:] >= values[0], asked=39, enough=5)
    for level in (0.025, 0.05, 0.1, 0.25, 0.5):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / 4000)
    assert (p <= 0.5).mean() > 0.4


def test_an_early_end_is_at_the_draw_that_makes_it_enough() -> None:
    reached = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [1, 0]], bool)
    assert list(sequential_p(reached, asked=9)) == [4 / 10, 3 / 10]
    assert list(sequential_p(reached, asked=9, enough=2)) == [2 / 4, 2 / 2]
    assert list(sequential_p(reached, asked=9, enough=4)) == [4 / 10, 3 / 10]


def test_rotations_keep_the_covariance() -> None:
    distances = distances_of(gaussian(12, 5)).astype(float)
    (points,) = coordinates(distances[None])
    assert points.shape == (11, 5)  # rounding adds no dimension
    cloud = helmert(12).T @ random_rotation(11, np.random.default_rng(1)) @ points
    assert cloud.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-9)
    original = gaussian(12, 5)
    assert np.linalg.eigvalsh(np.cov(cloud.T)) == pytest.approx(
        np.linalg.eigvalsh(np.cov(original.T)), rel=1e-5
    )


def test_random_rotations_are_orthogonal_and_of_either_sign() -> None:
    rng = np.random.default_rng(0)
    rotations = [random_rotation(3, rng) for _ in range(200)]
    assert all(r @ r.T == pytest.approx(np.eye(3), abs=1e-12) for r in rotations)
    # Haar's measure: each entry has mean 0 and variance 1/3, also those that QR makes positive.
    assert np.mean(rotations, axis=0) == pytest.approx(np.zeros((3, 3)), abs=0.15)
    assert np.var(rotations, axis=0) == pytest.approx(np.full((3, 3), 1 / 3), abs=0.08)


def test_a_draw_does_not_depend_on_the_others() -> None:
    layers = [coordinates(distances_of(gaussian(10, d))[None]) for d in (3, 20)]
    whole = null_statistics(layers, range(6), seed=3)
    parts = [null_statistics(layers, part, seed=3) for part in (range(2), range(2, 6))]
    assert np.array_equal(whole, np.concatenate(parts))
    alone = null_statistics(layers[1:], range(6), seed=3)
    assert np.array_equal(whole[:, 1:], alone)
    assert not np.array_equal(whole, null_statistics(layers, range(6), seed=4))


def test_several_clouds_are_rotated_by_themselves() -> None:
    clouds = np.stack([distances_of(gaussian(10, 4, seed)) for seed in range(3)])
    test = rotation_test(clouds, draws=5)
    alone = [persistence(cloud)[1] for cloud in clouds]
    assert test.observed[0] == np.mean(list(map(len, alone)))
    assert len(test.bars) == sum(map(len, alone))
    # The rotations differ, or the same cloud three times would give three times the same.
    repeated = rotation_test(np.stack([clouds[0]] * 3), draws=5)
    single = rotation_test(clouds[0], draws=5)
    assert (repeated.null[:, 2] >= single.null[:, 2]).all()
    assert (repeated.null[:, 2] > single.null[:, 2]).any()


def test_the_units_do_not_matter() -> None:
    distances = distances_of(gaussian(12, 6))
    small, large = (rotation_test(distances * scale, draws=9) for scale in (1e-6, 1e6))
    assert np.array_equal(small.p, large.p)
    assert small.bars == pytest.approx(large.bars)


@pytest.mark.parametrize(
    "points", [np.zeros((6, 2)), np.arange(12.0)[:, None], np.repeat(np.eye(2), 4, axis=0)]
)
def test_clouds_without_loops_reject_nothing(points: np.ndarray) -> None:
    """One point, a line, and two points: rounding must make no loops in the rotated clouds."""
    test = rotation_test(distances_of(points), draws=19)
    assert list(test.p) == [1, 1, 1, 1]
    assert len(test.bars) == 0
    assert test.long_bars == 0
    assert np.isnan(test.z)
    assert test.band() == (0, 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"distances": np.zeros((3, 3))}, "at least 4 points, got 3"),
        ({"distances": np.zeros((5, 4))}, "shape (N, N) or (clouds, N, N), got (5, 4)"),
        ({"distances": np.full((5, 5), np.nan)}, "must be finite"),
        ({"distances": np.ones((5, 5))}, "zeros on its diagonal"),
        ({"distances": np.triu(np.ones((5, 5)), 1)}, "symmetric"),
        ({"distances": (1 - np.eye(6)) ** 2 - 2 * np.eye(6)[::-1] * 0.99}, "no negative"),
        ({"draws": 0}, "`draws` must be from 1 to 99999, got 0"),
        ({"seed": -1}, "`seed` must be from 0"),
    ],
)
def test_what_is_no_cloud_is_refused(change: dict[str, object], sentence: str) -> None:
    arguments: dict[str, object] = {"distances": distances_of(gaussian(6, 2)), "draws": 3} | change
    with pytest.raises(OptionError, match=re.escape(sentence)):
        rotation_test(**arguments)  # type: ignore[arg-type]


def test_distances_that_no_points_have_are_refused() -> None:
    """Steps on a circle of eight: the shortest way round is no Euclidean distance."""
    steps = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    with pytest.raises(OptionError, match="no points have these"):
        rotation_test(np.minimum(steps, 8 - steps).astype(np.float32) ** 2, draws=3)


def test_the_asymptotic_p_is_that_of_a_gumbel_law() -> None:
    loops = persistence(distances_of(gaussian(40, 3)))[1]
    logs = np.log(np.log(loops[:, 1].astype(float) / loops[:, 0]))
    standard = logs - logs.mean() - np.euler_gamma
    assert asymptotic_p(loops) == pytest.approx(gumbel_l.sf(standard))
    assert len(asymptotic_p(np.zeros((0, 2), np.float32))) == 0


def test_the_errors_of_the_asymptotic_p_are_counted_on_the_draws() -> None:
    distances = distances_of(gaussian(16, 2))
    test = rotation_test(distances, draws=40)
    (points,) = coordinates(distances[None])
    rejected = 0
    for draw in range(40):
        rotation = random_rotation(15, np.random.default_rng([0, draw]))
        loops = persistence(distances_of(helmert(16).T @ rotation @ points))[1]
        rejected += bool(len(loops) and asymptotic_p(loops).min() * len(loops) <= 0.05)
    assert test.asymptotic_errors == rejected / 40
