"""The rotation test of all layers of a report, and what is kept of it on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import rotation_test, rotation_tests
from analysis.errors import ModelError, OptionError, StoreError
from analysis.progress import Progress
from analysis.results import TopologyReport
from analysis.topology import layer_test_store
from analysis.topology.layer_test_store import (
    RotationRequest,
    load_tests,
    made_tests,
    save_tests,
    saved_tests,
)
from analysis.topology.layer_tests import LayerTests, draws_needed, holm, images_to_test
from analysis.topology.noise import noise_loops
from analysis.topology.persistence import persistence
from analysis.topology.saved_limit import LIMIT_VARIABLE, saved_bytes
from analysis.topology.store import analyses_folder, save_analysis
from tests.factories import circle, layer, report

KEY = "a" * 32


def noise(seed: int, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(16, size))


@pytest.fixture(scope="module")
def layers() -> TopologyReport:
    """A layer with a loop, two without structure, and one that is not finite."""
    return report(
        layer("ring", circle(16, noise=0.1)),
        layer("noise", noise(0)),
        replace(layer("bad"), distances=np.full((16, 16), np.nan, np.float32)),
        layer("more noise", noise(1, 30)),
    )


@pytest.fixture(scope="module")
def tested(layers: TopologyReport) -> LayerTests:
    return rotation_tests(layers, draws=99, seed=3)


def test_layers_stand_beside_pure_noise_of_their_dimension() -> None:
    wide = replace(layer("wide", noise(1, 30)), activation_size=16 * 30)
    tests = rotation_tests(report(layer("ring", circle(16, noise=0.1)), wide), draws=30, seed=2)
    table = tests.by_layer()
    for name, dimension in (("ring", 10), ("wide", 30)):
        alone = noise_loops(dimension, 16, draws=30, seed=2)
        row = table.loc[name]
        assert row["noise_mean"] == pytest.approx(alone.mean())
        assert row["noise_low"] == np.quantile(alone, 0.025)
        assert row["noise_high"] == np.quantile(alone, 0.975)
    assert table.loc["ring", "noise_mean"] != table.loc["wide", "noise_mean"]


def test_each_layer_has_the_numbers_of_its_own_test(layers: TopologyReport) -> None:
    tests = rotation_tests(layers, draws=12, seed=3, enough=None)
    assert list(tests.tests) == ["ring", "noise", "more noise"]
    for name, test in tests.tests.items():
        alone = rotation_test(layers.layer(name).distances, draws=12, seed=3)
        assert np.array_equal(test.null, alone.null)
        assert np.array_equal(test.p, alone.p)
        assert np.array_equal(test.bars, alone.bars)


def test_a_hopeless_layer_is_given_up_and_the_others_are_not(tested: LayerTests) -> None:
    ring, noisy = tested.tests["ring"], tested.tests["noise"]
    assert ring.draws == 99
    assert ring.to_frame().loc["longest-loop", "p"] == 0.01
    assert 10 <= noisy.draws < 99
    assert noisy.is_decided
    assert noisy.p.min() >= 10 / 99


def test_the_frame_has_one_row_per_layer_and_statistic(tested: LayerTests) -> None:
    frame = tested.to_frame()
    assert list(frame["layer"]) == [name for name in tested.tests for _ in range(4)]
    longest = tested.of_statistic("longest-loop")
    assert list(longest.index) == ["ring", "noise", "more noise"]
    assert list(longest["p_holm"]) == pytest.approx(list(holm(longest["p"].to_numpy())))
    assert longest.loc["ring", "p_holm"] == pytest.approx(0.03)  # 3 · 0.01
    assert longest.loc["ring", "draws"] == 99


def test_the_table_has_one_row_per_layer(tested: LayerTests) -> None:
    table = tested.by_layer()
    assert list(table.index) == list(tested.tests)
    for name, test in tested.tests.items():
        row, null = table.loc[name], test.null
        assert row["b1"] == test.observed[0]
        assert row["b1_mean"] == pytest.approx(null[:, 0].mean())
        assert row["b1_low"] == np.quantile(null[:, 0], 0.025)
        assert row["b1_high"] == np.quantile(null[:, 0], 0.975)
        z = (test.observed[0] - null[:, 0].mean()) / null[:, 0].std(ddof=1)
        assert row["b1_z"] == pytest.approx(z)
        assert row["longest"] == pytest.approx(max(test.ratios))
        assert row["longest_high"] == np.quantile(null[:, 2], 0.95)
        assert row["long_bars"] == (test.bars <= 0.05).sum()
    frame = tested.to_frame().set_index(["layer", "statistic"])
    for name, statistic in frame.index:
        assert table.loc[name, f"p {statistic}"] == frame.loc[(name, statistic), "p"]
        assert table.loc[name, f"p_holm {statistic}"] == frame.loc[(name, statistic), "p_holm"]
    assert table.loc["ring", "long_bars"] == 1


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # Holm (1979): 4 · 0.01, 3 · 0.02, then never below the one before.
        ([0.04, 0.01, 0.02, 0.03], [0.06, 0.04, 0.06, 0.06]),
        ([0.5, 0.9], [1, 1]),
        ([], []),
    ],
)
def test_holms_correction(p: list[float], adjusted: list[float]) -> None:
    assert list(holm(np.array(p))) == pytest.approx(adjusted)


def test_too_few_draws_are_said(tested: LayerTests) -> None:
    assert tested.sentence() == ""  # 3 layers and 99 draws: 0.03
    few = replace(tested, asked=19)
    assert "With 19 draws, no single one of 3 layers" in few.sentence()
    assert "at least 59 draws" in few.sentence()
    assert replace(tested, asked=59).sentence() == ""
    assert draws_needed(107) == 2139


def test_each_batch_is_rotated_by_itself() -> None:
    points = np.random.default_rng(0).normal(size=(22, 5))
    whole = layer("a", points)
    batches = [whole.distances[s : s + 8, s : s + 8] for s in (0, 8)]
    loops = tuple(persistence(batch)[1] for batch in batches)
    batched = replace(whole, diagrams=loops)
    tests = rotation_tests(replace(report(batched), pooling="per-batch"), draws=9, enough=None)
    alone = rotation_test(np.stack(batches), draws=9)
    assert (tests.groups, tests.size) == (2, 8)
    assert np.array_equal(tests.tests["a"].null, alone.null)
    assert np.array_equal(tests.tests["a"].observed, alone.observed)


def test_of_random_subsets_those_without_a_common_image_are_tested() -> None:
    images = np.array([[0, 2, 4, 6, 8, 9], [1, 3, 5, 7, 10, 11], [12, 13, 14, 15, 0, 1]])
    whole = layer("a", noise(0))
    clouds = [whole.distances[np.ix_(cloud, cloud)] for cloud in images]
    loops = tuple(persistence(cloud)[1] for cloud in clouds)
    subsets = report(replace(whole, diagrams=loops))
    object.__setattr__(subsets, "clouds", images)
    object.__setattr__(subsets, "pooling", "subsets")
    tests = rotation_tests(subsets, draws=9, enough=None)
    alone = rotation_test(np.stack(clouds[:2]), draws=9)
    assert (tests.groups, tests.size) == (2, 6)
    object.__setattr__(subsets, "clouds", images[[0, 2, 1]])  # the first two share an image
    assert images_to_test(subsets).tolist() == images[:1].tolist()
    assert np.array_equal(tests.tests["a"].null, alone.null)
    assert np.array_equal(tests.tests["a"].observed, alone.observed)


def test_the_progress_is_reported_and_may_end_the_work(layers: TopologyReport) -> None:
    class Stopped(Exception):
        pass

    seen: list[Progress] = []

    def stop_at_ten(progress: Progress) -> None:
        seen.append(progress)
        if progress.done >= 10:
            raise Stopped

    with pytest.raises(Stopped):
        rotation_tests(layers, draws=30, progress=stop_at_ten)
    assert [(step.done, step.total, step.layer) for step in seen] == [
        (0, 30, "draw 0 of 30, 3 layers left"),
        (10, 30, "draw 10 of 30, 3 layers left"),
    ]


def test_nothing_to_test_is_refused(layers: TopologyReport) -> None:
    with pytest.raises(ModelError, match="No layer has finite activations"):
        rotation_tests(report(layers.layer("bad")))
    with pytest.raises(OptionError, match="`draws` must be from 1 to 99999, got 0"):
        rotation_tests(layers, draws=0)


@pytest.mark.usefixtures("home")
class TestOnDisk:
    def test_what_is_saved_is_read_again(self, tested: LayerTests) -> None:
        request = RotationRequest(KEY, 99, 3)
        save_tests(request, tested)
        read = load_tests(request)
        assert read is not None
        assert read.to_frame().equals(tested.to_frame())
        assert read.by_layer().equals(tested.by_layer())
        for name, test in tested.tests.items():
            assert np.array_equal(read.tests[name].bars, test.bars)
            assert np.array_equal(read.tests[name].asymptotic_bars, test.asymptotic_bars)
        assert (read.groups, read.size, read.asked, read.seed) == (1, 16, 99, 3)
        assert load_tests(replace(request, seed=4)) is None

    def test_a_file_without_noise_is_read_still(self, tested: LayerTests) -> None:
        request = RotationRequest(KEY, 99, 3)
        path = save_tests(request, tested)
        with np.load(path) as arrays:
            older = {name: array for name, array in arrays.items() if name != "noise"}
        np.savez(path, allow_pickle=False, **older)
        read = load_tests(request)
        assert read is not None
        assert read.to_frame().equals(tested.to_frame())
        assert read.by_layer()["noise_mean"].isna().all()

    def test_tests_are_made_once(
        self, layers: TopologyReport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_analysis(KEY, layers)
        request = RotationRequest(KEY, 9)
        first = saved_tests(request)
        monkeypatch.setattr(layer_test_store, "rotation_tests", None)  # calling it would raise
        assert saved_tests(request).to_frame().equals(first.to_frame())

    def test_a_full_disk_loses_no_tests(
        self, layers: TopologyReport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise StoreError("The disk is full.")

        monkeypatch.setattr(layer_test_store, "save_tests", refuse)
        tests = saved_tests(RotationRequest(KEY, 9), layers)
        assert tests.notes == ("The disk is full.",)
        assert len(tests.tests) == 3

    def test_without_the_analysis_nothing_is_tested(self) -> None:
        with pytest.raises(StoreError, match="no longer saved"):
            saved_tests(RotationRequest(KEY, 9))

    def test_a_damaged_file_counts_as_none(self, tested: LayerTests) -> None:
        request = RotationRequest(KEY, 99, 3)
        path = save_tests(request, tested)
        path.write_bytes(path.read_bytes()[:-200])
        assert load_tests(request) is None

    def test_the_tests_with_the_most_draws_are_found(self, tested: LayerTests) -> None:
        assert made_tests(KEY) is None
        for request in (RotationRequest(KEY, 9), RotationRequest(KEY, 199)):
            save_tests(request, tested)
        save_tests(RotationRequest("b" * 32, 999), tested)
        assert made_tests(KEY) == RotationRequest(KEY, 199)

    def test_they_count_towards_the_limit_and_go_first_when_older(
        self, tested: LayerTests, layers: TopologyReport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = save_tests(RotationRequest(KEY, 99, 3), tested)
        assert saved_bytes(analyses_folder()) == path.stat().st_size
        monkeypatch.setenv(LIMIT_VARIABLE, "0.000001")
        save_analysis(KEY, layers)
        assert not path.exists()
