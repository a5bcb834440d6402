"""Permuted features, against permutations and loops that are made directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from ripser import ripser
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from torch import Tensor, nn

from analysis.costs.permuted_cost import permuted_seconds
from analysis.errors import ModelError, OptionError, StoreError
from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.results import LayerTopology
from analysis.topology import permuted_pass
from analysis.topology.footprints import predict_footprint
from analysis.topology.layer_tests import images_to_test
from analysis.topology.passes import Budget
from analysis.topology.permuted import PermutedLoops, observed_loops, permute_features
from analysis.topology.permuted_pass import permute_layers, permuted_distances
from analysis.topology.permuted_store import (
    PermutedRequest,
    load_permuted,
    permuted_saved_at,
    saved_permuted,
)
from analysis.topology.persistence import persistence
from analysis.topology.pipeline import analyze, analyze_named
from analysis.topology.rounding import RELATIVE_ERROR
from analysis.topology.store import analyses_folder, fingerprint
from analysis.worker import ANSWERS
from tests.factories import circle, layer, report, state_of

SEED = (7, 2, 0)


def directly_permuted(cloud: np.ndarray, draw: int, seed: Sequence[int], block: int) -> np.ndarray:
    """Each column by itself, by the order of its random bits."""
    columns = []
    for number, start in enumerate(range(0, cloud.shape[1], block)):
        part = cloud[:, start : start + block]
        rng = np.random.default_rng([*seed, draw, number])
        bits = rng.integers(0, 2**64, part.T.shape, np.uint64) >> np.uint64(32)
        columns += [part[order, k] for k, order in enumerate(np.argsort(bits, axis=1))]
    return np.stack(columns, axis=1)


def count_loops(points: np.ndarray) -> int:
    distances = squareform(pdist(points))
    return len(ripser(distances, distance_matrix=True, maxdim=1)["dgms"][1])


def loops_of(points: np.ndarray, draws: int, seed: int) -> PermutedLoops:
    """The permuted loops of a layer with these points."""
    found = permuted_distances(torch.from_numpy(points), draws=draws, seed=(seed,))
    measured = layer("a", points)
    permuted = replace(measured, diagrams=tuple(persistence(each)[1] for each in found))
    return PermutedLoops((permuted,), observed_loops(report(measured), [measured]), draws)


def test_each_feature_keeps_its_values_and_every_order_is_as_likely() -> None:
    rows = np.tile(np.float32([1, -2, np.inf]), (12_000, 1))
    made = permute_features(rows, np.random.default_rng(0))
    assert np.array_equal(np.sort(made), np.sort(rows))
    _, counts = np.unique(made, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 0.01
    # Neighbouring rows have nothing to do with each other.
    pairs = np.concatenate([made[::2], made[1::2]], axis=1)
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    assert len(counts) == 36
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("offset", [0, 1e4])
def test_distances_are_those_of_a_cloud_that_is_permuted_directly(
    offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permuted_pass, "BLOCK", 17 * 50)
    cloud = torch.randn(17, 4, 9, 5, generator=torch.Generator().manual_seed(0)).relu() + offset
    monkeypatch.setattr(permuted_pass, "_MATRICES", 2 * 8 * 17**2)  # two draws at a time
    found = list(permuted_distances(cloud, draws=3, seed=SEED))
    plain = cloud.flatten(1).double().numpy()
    for draw in range(3):
        direct = squareform(pdist(directly_permuted(plain, draw, SEED, block=50)))
        assert np.allclose(found[draw], direct, rtol=RELATIVE_ERROR, atol=0)
    assert not np.allclose(found[0], found[1], rtol=1e-3)


def test_doubles_keep_the_digits_that_float32_lacks() -> None:
    cloud = 1e9 + torch.randn(9, 30, dtype=torch.float64, generator=torch.manual_seed(0))
    (found,) = permuted_distances(cloud, draws=1, seed=SEED)
    direct = squareform(pdist(directly_permuted(cloud.numpy(), 0, SEED, block=30)))
    assert np.allclose(found, direct, rtol=RELATIVE_ERROR, atol=0)


def test_p_is_uniform_where_features_are_independent() -> None:
    rng, p = np.random.default_rng(1), []
    for number in range(150):
        scales = rng.uniform(0.1, 3, size=rng.integers(2, 40))
        loops = loops_of(rng.normal(size=(16, len(scales))) * scales, 19, number)
        above = int((loops.null > loops.observed).sum())
        equal = int((loops.null == loops.observed).sum())
        p.append((above + rng.random() * (1 + equal)) / 20)
    assert stats.kstest(p, "uniform").pvalue > 0.05


def test_a_ring_in_many_features_lies_outside() -> None:
    plane = np.random.default_rng(0).normal(size=(2, 60))
    loops = loops_of(circle(30, noise=0.02) @ plane, 19, 0)
    assert loops.null.min() > loops.observed[0]
    row = loops.by_layer().loc["a"]
    assert (row["p_more"], row["p_fewer"]) == (1, 0.05)
    assert "larger than in all 19 clouds with permuted features in **0**" in loops.sentence()
    assert "smaller than in all in **1**. By chance alone each would be" in loops.sentence()


def test_only_layers_outside_all_draws_are_named() -> None:
    def counted(name: str, counts: Sequence[int]) -> LayerTopology:
        diagrams = tuple(np.zeros((count, 2), np.float32) for count in counts)
        return replace(layer(name, circle(8)), diagrams=diagrams)

    counts = ((3, 6), (4, 8), (5, 9))  # two draws each, of one cloud
    layers = tuple(counted(name, each) for name, each in zip("abc", counts, strict=True))
    loops = PermutedLoops(layers, np.array([3.0, 6, 9.5]), 2)  # a tie, within, and above
    assert "Of 3 layers, b₁ is larger than in all 2 clouds" in loops.sentence()
    assert "**1** and smaller than in all in **0**. By chance" in loops.sentence()
    assert loops.sentence().endswith("at most about 1.")
    many = PermutedLoops(layers * 50, np.tile(loops.observed, 50), 2)
    assert many.sentence().endswith("at most about 50.")
    one = PermutedLoops(layers[:1], loops.observed[:1], 2)
    assert one.sentence().endswith("at most about 0.3.")
    table = loops.by_layer()
    assert table["p_more"].tolist() == pytest.approx([1, 2 / 3, 1 / 3])
    assert table["p_fewer"].tolist() == pytest.approx([2 / 3, 2 / 3, 1])
    assert table.loc["b", "permuted_low"] == pytest.approx(np.quantile([4, 8], 0.025))
    halved = replace(loops, draws=1)  # one draw of two clouds
    assert halved.null.tolist() == [[4.5], [6], [7]]


class Network(nn.Module):
    """Two layers; `mixes` lets an image depend on the others of its batch."""

    def __init__(self, mixes: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.mixes = nn.Linear(12, 30), nn.Linear(30, 6), mixes

    def forward(self, images: Tensor) -> Tensor:
        images = self.first(images)
        if self.mixes:
            images = images - images.mean(0)
        out: Tensor = self.second(images.relu())
        return out


def network(mixes: bool = False) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(mixes)


@pytest.mark.parametrize("mixes", [False, True])
def test_loops_are_ripsers_on_activations_that_are_permuted_directly(mixes: bool) -> None:
    model = network(mixes)
    images = torch.randn(40, 12, generator=torch.Generator().manual_seed(5))
    analysed = analyze(model, images, batch_size=10, pooling="subsets", subsets=4, seed=3)
    before, steps = state_of(model), list[Progress]()
    layers = permute_layers(model, images, analysed, draws=4, progress=steps.append)
    assert [each.name for each in layers] == ["first", "second"]
    clouds = images_to_test(analysed)
    assert len(clouds) == 2
    runs = [(0, "first"), (1, "second")] * (1 if mixes else 2)
    done = [0, 40 * 30, 40 * 36, 40 * 66][: len(runs)]
    total = 40 * 36 * len(runs) // 2
    assert [(step.layer, step.done, step.total) for step in steps] == [
        (name, at, total) for (_, name), at in zip(runs, done, strict=True)
    ]
    seen: dict[str, np.ndarray] = {}
    for module in ("first", "second"):
        model.get_submodule(module).register_forward_hook(
            lambda _, __, output, module=module: seen.update({module: output.double().numpy()})
        )
    with torch.no_grad():
        model(images)
    loops = PermutedLoops(layers, observed_loops(analysed, layers), 4)
    for place, name in enumerate(("first", "second")):
        for draw in range(4):
            direct = [
                count_loops(directly_permuted(seen[name][rows], draw, (3, place, cloud), 10**6))
                for cloud, rows in enumerate(clouds)
            ]
            assert loops.null[place, draw] == np.mean(direct)
        own = [count_loops(seen[name][rows]) for rows in clouds]
        assert loops.observed[place] == np.mean(own)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_loops_within_the_rounding_of_the_activations_do_not_count() -> None:
    model, images = network(), torch.randn(12, 12, generator=torch.Generator().manual_seed(5))
    analysed = analyze(model, images)
    coarse = replace(analysed.layers[1], rounding=1e3)
    of_both = permute_layers(
        model, images, replace(analysed, layers=(analysed.layers[0], coarse)), draws=5
    )
    assert sum(map(len, of_both[0].diagrams)) > 0
    assert sum(map(len, of_both[1].diagrams)) == 0


def test_a_cloud_that_does_not_fit_into_memory_is_refused() -> None:
    model, images = network(), torch.randn(12, 12)
    analysed = analyze(model, images)
    one = predict_footprint(model, (12,), 2).peak(12, 6, Budget(0))
    with pytest.raises(ModelError, match=r"12 images of a cloud must run .* at most 6 fit"):
        permute_layers(model, images, analysed, draws=1, memory=one)
    infinite = report(layer("a"))
    with pytest.raises(ModelError, match="nothing to permute"):
        permute_layers(model, images, infinite, draws=1)


def test_the_predicted_time_grows_with_the_draws() -> None:
    known = report(layer("a", np.random.default_rng(0).normal(size=(20, 10))))
    assert permuted_seconds(known, 0) == known.seconds
    once = permuted_seconds(known, 19) - known.seconds
    assert permuted_seconds(known, 190) - known.seconds == pytest.approx(10 * once)


@pytest.mark.usefixtures("home")
class TestOnDisk:
    OPTIONS = AnalysisOptions(model="pocket-vgg", samples=8, pooling="pooled")

    def test_they_are_counted_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key = fingerprint(self.OPTIONS)
        request = PermutedRequest(self.OPTIONS, key, 2)
        with pytest.raises(StoreError, match="no longer saved"):
            saved_permuted(request)
        analysed = analyze_named(self.OPTIONS)
        first = ANSWERS[PermutedRequest](request, lambda _: None)  # as the worker answers
        assert isinstance(first, PermutedLoops)
        assert first.null.shape == (len(analysed.layers), 2)
        assert list(first.observed) == [each.b1 for each in analysed.layers]
        assert permuted_saved_at(request) is not None
        monkeypatch.setattr(permuted_pass, "permute_named", None)  # nothing may be computed
        again = saved_permuted(request)
        assert again.by_layer().equals(first.by_layer())
        assert load_permuted(replace(request, draws=3), analysed) is None
        path = analyses_folder() / f"{key}.permuted-2.npz"
        path.write_bytes(path.read_bytes()[:-200])
        assert load_permuted(request, analysed) is None

    def test_other_images_than_those_of_the_analysis_are_refused(self) -> None:
        analysed = report(layer("a", circle(8)))
        with pytest.raises(StoreError, match="changed since this analysis"):
            saved_permuted(PermutedRequest(self.OPTIONS, "a" * 32), analysed)
        with pytest.raises(OptionError, match="`draws` must be from 1"):
            saved_permuted(PermutedRequest(self.OPTIONS, "a" * 32, 0), analysed)
