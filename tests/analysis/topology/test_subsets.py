"""Subsets that share no image within an order, and errors that are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.options import AnalysisOptions
from analysis.results import Integers, TopologyReport
from analysis.topology.persistence import persistence
from analysis.topology.pipeline import analyze
from analysis.topology.resummarize import resummarize
from analysis.topology.store import fingerprint
from analysis.topology.subsets import (
    draw_subsets,
    error_of_means,
    images_of_clouds,
    standard_errors,
)
from tests.factories import blobs, layer, report


def test_subsets_of_one_order_share_no_image() -> None:
    subsets = draw_subsets(160, 40, 100, seed=3)
    assert subsets.shape == (100, 40)
    assert (np.diff(subsets) > 0).all()
    for order in subsets.reshape(25, 160):
        assert sorted(order) == list(range(160))
    assert len({tuple(row) for row in subsets}) == 100


def test_fewer_subsets_are_the_first_of_more_and_a_seed_repeats_them() -> None:
    ten = draw_subsets(50, 12, 10, seed=1)
    assert ten.shape == (10, 12)
    np.testing.assert_array_equal(ten, draw_subsets(50, 12, 33, seed=1)[:10])
    assert (ten != draw_subsets(50, 12, 10, seed=2)).any()


def test_a_subset_of_all_images_is_the_only_one() -> None:
    for size in (8, 9):
        np.testing.assert_array_equal(draw_subsets(8, size, 100, seed=0), [range(8)])


def test_pooled_images_are_one_cloud_and_batches_follow_each_other() -> None:
    np.testing.assert_array_equal(images_of_clouds(7, pooling="pooled", batch_size=3), [range(7)])
    batches = images_of_clouds(7, pooling="per-batch", batch_size=3)
    np.testing.assert_array_equal(batches, [[0, 1, 2], [3, 4, 5]])


def test_each_subset_is_measured_from_the_distances_of_all_images() -> None:
    torch.manual_seed(0)
    images = torch.randn(24, 6)
    measured = analyze(nn.Linear(6, 4), images, pooling="subsets", batch_size=8, subsets=7, seed=5)
    (linear,) = measured.layers
    assert linear.distances.shape == (24, 24)
    np.testing.assert_array_equal(measured.clouds, draw_subsets(24, 8, 7, seed=5))
    for rows, loops in zip(measured.clouds, linear.diagrams, strict=True):
        alone = persistence(linear.distances[np.ix_(rows, rows)])[1]
        np.testing.assert_array_equal(loops, alone)
    assert linear.b1 == np.mean([len(loops) for loops in linear.diagrams])
    assert linear.b1_se > 0


def counted(value: Callable[[Integers, int], int], *, layers: int = 4) -> TopologyReport:
    """A report whose layer l has `value(images, l)` loops in the subset of these images."""
    clouds = draw_subsets(160, 40, 100, seed=0)
    loop, base = np.array([[1.0, 2.0]], np.float32), layer("", blobs(4))
    return replace(
        report(base),
        samples=160,
        pooling="subsets",
        clouds=clouds,
        layers=tuple(
            replace(
                base,
                name=f"l{n}",
                diagrams=tuple(np.repeat(loop, value(rows, n), axis=0) for rows in clouds),
            )
            for n in range(layers)
        ),
    )


def test_the_error_of_a_count_is_that_of_a_binomial() -> None:
    """How many of 40 images have a mark: the mean is 40 times the share of the 160 that have it."""
    marks = np.random.default_rng(1).random((20, 160)) < 0.5
    errors = standard_errors(counted(lambda rows, n: int(marks[n, rows].sum()), layers=20))
    np.testing.assert_allclose(errors.mean(), 40 * 0.5 / np.sqrt(160), rtol=0.1)


def test_noise_of_the_subsets_themselves_averages_out() -> None:
    """A number that depends on the whole subset alone has the error of 100 independent ones."""
    values = np.random.default_rng(2).poisson(9, (100, 100))
    turn = [iter(row) for row in values]
    measured = counted(lambda _, n: int(next(turn[n])), layers=100)
    error = error_of_means(measured)
    assert error is not None
    # Of the variance 9, a tenth of a quarter is kept as the least; a hundredth is chance.
    np.testing.assert_allclose(error.standard.mean() ** 2, 9 * (0.025 + 0.01), rtol=0.3)
    assert error.chance == pytest.approx(0.01 / 0.035, rel=0.3)


def test_layers_err_together_as_their_subsets_vary_together() -> None:
    marks = np.random.default_rng(3).random((1, 160)) < 0.5
    error = error_of_means(counted(lambda rows, _: int(marks[0, rows].sum()), layers=2))
    assert error is not None
    np.testing.assert_allclose(error.deviations[0], error.deviations[1])


def test_batches_have_the_error_of_independent_ones() -> None:
    torch.manual_seed(0)
    measured = analyze(nn.Linear(6, 4), torch.randn(24, 6), pooling="per-batch", batch_size=8)
    (linear,) = measured.layers
    counts = [len(loops) for loops in linear.diagrams]
    assert linear.b1_se == pytest.approx(np.std(counts, ddof=1) / np.sqrt(3))


@pytest.mark.parametrize("how", [{"pooling": "pooled"}, {"pooling": "subsets", "batch_size": 13}])
def test_without_two_clouds_apart_no_error_is_known(how: dict[str, object]) -> None:
    measured = analyze(nn.Linear(6, 4), torch.randn(24, 6), **how)  # type: ignore[arg-type]
    assert np.isnan(measured.layers[0].b1_se)
    assert error_of_means(measured) is None


def test_the_error_is_that_of_the_loops_that_count() -> None:
    measured = counted(lambda rows, _: int((rows < 80).sum()))
    assert (resummarize(measured).to_frame()["b1_se"] > 0).all()
    assert (resummarize(measured, min_persistence=1.5).to_frame()["b1_se"] == 0).all()


def test_layers_that_are_not_finite_have_no_error() -> None:
    measured = counted(lambda rows, _: int((rows < 80).sum()))
    lost = replace(layer("lost"), distances=np.full((160, 160), np.nan, np.float32))
    errors = standard_errors(replace(measured, layers=(lost, *measured.layers)))
    assert np.isnan(errors[0])
    np.testing.assert_array_equal(errors[1:], standard_errors(measured))


def test_subsets_decide_an_analysis_unless_one_has_all_images() -> None:
    def key(**settings: int) -> str:
        return fingerprint(AnalysisOptions(**settings))  # type: ignore[arg-type]

    assert len({key(), key(subsets=40), key(batch_size=20)}) == 3
    assert key(samples=40) == key(samples=40, subsets=7) == key(samples=40, batch_size=50)
    pooled = AnalysisOptions(samples=40, pooling="pooled")
    assert fingerprint(pooled) == fingerprint(replace(pooled, subsets=3, batch_size=8))
