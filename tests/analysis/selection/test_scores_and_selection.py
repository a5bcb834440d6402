"""Scores by hand, ties, presets, and selections that are empty."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.errors import OptionError
from analysis.options import PRESETS, Preset, Rounding
from analysis.selection.ranking import layer_count, rank, ranking, select
from analysis.selection.scores import NORMALIZATIONS, score, size_only
from analysis.topology.layer_tests import rotation_tests
from tests.factories import blobs, circle, layer, report

ONE_LOOP = circle(20)


def small_report():  # type: ignore[no-untyped-def]
    return report(
        layer("a", ONE_LOOP, width=4, parameters=10, flops=50),
        layer("b", ONE_LOOP, width=16, parameters=5, flops=500),
        layer("c"),  # not finite
        layer("d", ONE_LOOP, width=4, parameters=0, flops=8),  # nothing to train
        layer("head", ONE_LOOP, kind="Linear", width=1, parameters=100, flops=5),
    )


@pytest.mark.parametrize(
    ("normalization", "sizes"),
    [
        ("none", (1, 1, 1)),
        ("activation", (80, 320, 20)),
        ("parameters", (10, 5, 100)),
        ("sqrt-activation", (math.sqrt(80), math.sqrt(320), math.sqrt(20))),
        ("flops", (50, 500, 5)),
    ],
)
def test_scores_by_hand(normalization: str, sizes: tuple[float, ...]) -> None:
    scores = score(small_report(), normalization=normalization)
    assert scores.index.tolist() == ["a", "b", "c", "d", "head"]
    assert scores.drop(["c", "d"]).tolist() == pytest.approx([1 / size for size in sizes])
    assert scores[["c", "d"]].isna().all()
    same = size_only(small_report(), normalization=normalization)
    pd.testing.assert_series_equal(scores, same)  # every layer here has exactly one loop


def test_every_normalization_is_covered_above() -> None:
    known = {"none", "activation", "parameters", "sqrt-activation", "flops"}
    assert set(NORMALIZATIONS) == known


def test_another_summary_changes_the_score() -> None:
    reports = report(layer("a", ONE_LOOP), layer("b", ONE_LOOP * 5))
    persistence = score(reports, normalization="none", summary="total-persistence")
    assert persistence["b"] == pytest.approx(5 * persistence["a"], rel=1e-5)


def test_what_a_test_gives_can_be_scored_once_it_was_made() -> None:
    rng = np.random.default_rng(0)
    reports = report(
        layer("noise", rng.normal(size=(16, 5)), width=4),
        layer("ring", circle(16, noise=0.1), width=8),
        layer("bad"),
    )
    tests = rotation_tests(reports, draws=39, enough=None)
    loops = score(reports, summary="long-loops", tests=tests)
    assert loops["ring"] == 1 / (16 * 8)
    assert loops["noise"] == 0
    assert math.isnan(loops["bad"])
    z = score(reports, normalization="none", summary="b1-z", tests=tests)
    null = tests.tests["noise"].null[:, 0]
    expected = (reports.layer("noise").b1 - null.mean()) / null.std(ddof=1)
    assert z["noise"] == pytest.approx(expected)
    rows = ranking(reports, rho=0.3, summary="long-loops", tests=tests)
    assert rows.loc[rows["selected"], "layer"].tolist() == ["ring"]
    with pytest.raises(OptionError, match=r"`summary` must be one of b1, .*; got 'b1-z'"):
        score(reports, summary="b1-z")


def test_all_unknown_names_are_reported_at_once() -> None:
    with pytest.raises(OptionError, match=r"`normalization` must be one of activation.*`summary`"):
        score(small_report(), normalization="size", summary="b2")


@pytest.mark.parametrize(
    ("layers", "rho", "rounding", "expected"),
    [
        (42, 0.1, "at-least-one", 4),
        (42, 0.1, "floor", 4),
        (8, 0.1, "at-least-one", 1),
        (8, 0.1, "nearest", 1),
        (4, 0.1, "nearest", 0),
        (8, 0.1, "floor", 0),
        (4, 0.1, "at-least-one", 1),
        (100, 0.29, "floor", 29),
        (7, 1.0, "floor", 7),
    ],
)
def test_counts(layers: int, rho: float, rounding: Rounding, expected: int) -> None:
    assert layer_count(layers, rho=rho, rounding=rounding) == expected


@pytest.mark.parametrize("rho", [0, -0.1, 1.5, float("nan")])
def test_rho_out_of_range_is_named(rho: float) -> None:
    with pytest.raises(OptionError, match=r"`rho` must be in \(0, 1\], got"):
        select(pd.Series({"a": 1.0}), rho=rho)


def test_best_first_and_ties_in_execution_order() -> None:
    scores = pd.Series({"a": 1.0, "b": 3.0, "c": 1.0, "d": math.nan, "e": 3.0})
    assert select(scores, rho=1.0) == ["b", "e", "a", "c"]
    assert select(scores, rho=0.6) == ["b", "e", "a"]
    assert select(scores, rho=0.4, exclude=["b"]) == ["e", "a"]
    ranks = rank(scores, exclude=["e"])
    assert ranks.index.tolist() == list("abcde")
    assert ranks.drop(["d", "e"]).tolist() == [2, 1, 2]
    assert ranks[["d", "e"]].isna().all()


def test_scores_that_differ_by_rounding_share_a_rank_and_keep_execution_order() -> None:
    scores = pd.Series({"a": 0.1 + 0.2, "b": 1.0, "c": 0.3, "d": math.nextafter(0.3, 1), "e": 0.2})
    assert rank(scores).tolist() == [2, 1, 2, 2, 5]
    assert rank(-scores).tolist() == [2, 5, 2, 2, 1]
    assert select(scores, rho=0.8) == ["b", "a", "c", "d"]
    assert rank(pd.Series({"a": 1e-9, "b": 0.0, "c": 2e-9, "d": 0.0})).tolist() == [2, 3, 1, 3]


def test_many_ties_keep_execution_order() -> None:
    names = [f"layer{n}" for n in range(60)]
    scores = pd.Series([float(n % 3) for n in range(60)], index=names)
    expected = [name for best in (2, 1, 0) for name in names[best::3]]
    assert select(scores, rho=1.0) == expected


def test_a_layer_without_parameters_or_numbers_is_never_chosen() -> None:
    assert select(score(small_report()), rho=1.0) == ["head", "a", "b"]


def test_nothing_to_choose_from_chooses_nothing() -> None:
    assert select(pd.Series({"a": math.nan}), rho=1.0) == []
    assert select(pd.Series({"a": 1.0}), rho=1.0, exclude=["a"]) == []


@pytest.mark.parametrize(
    ("preset", "chosen", "head_ranked"),
    [("recommended", ["a"], False), ("paper", ["head", "a"], True), ("released", ["head"], True)],
)
def test_presets_rank_the_head_and_round_as_documented(
    preset: str, chosen: list[str], head_ranked: bool
) -> None:
    rows = ranking(small_report(), rho=0.3, preset=preset)
    assert set(rows.loc[rows["selected"], "layer"]) == set(chosen)
    assert bool(rows.set_index("layer")["rank"].notna()["head"]) is head_ranked
    assert rows["head"].tolist() == [False, False, False, False, not head_ranked]


def test_presets_are_those_of_the_method() -> None:
    def told(preset: Preset) -> tuple[object, ...]:
        return (preset.pooling, preset.batches, preset.batch_size, preset.rounding)

    assert told(PRESETS["paper"]) == ("pooled", 5, 8, "nearest")
    assert told(PRESETS["released"]) == ("per-batch", 4, 32, "floor")
    assert told(PRESETS["recommended"]) == ("subsets", 4, 40, "at-least-one")
    assert PRESETS["recommended"].subsets == 100
    assert PRESETS["released"].samples == 128


def test_blobs_without_loops_score_nothing() -> None:
    line = layer("line", blobs(10, 1, dimensions=1))
    assert score(report(line))["line"] == 0
