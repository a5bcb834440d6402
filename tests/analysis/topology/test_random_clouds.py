"""The numbers of random tiny networks and clouds, against Ripser and SciPy on the raw points."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ripser import ripser
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata
from torch import nn

from analysis.results import LayerTopology
from analysis.selection.decision import Decision
from analysis.selection.ranking import rank, ranking, select
from analysis.topology.pipeline import analyze
from analysis.topology.rounding import RELATIVE_ERROR
from tests.factories import circle, layer, report

quick = settings(max_examples=15, deadline=None, derandomize=True, database=None)


@st.composite
def clouds(draw: st.DrawFn) -> np.ndarray:
    """Points (N, d): spread, on a lattice (many equal distances), repeated, or on few values."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    count, width = draw(st.integers(4, 18)), draw(st.integers(1, 5))
    points = rng.normal(size=(count, width))
    kind = draw(st.sampled_from(["spread", "lattice", "repeated", "signs", "far", "one point"]))
    if kind == "lattice":
        points = np.round(1.5 * points)
    elif kind == "repeated":
        points = points[rng.integers(0, count, count)]
    elif kind == "signs":
        points = np.sign(points)
    elif kind == "far":
        points += 50
    elif kind == "one point":
        points[:] = points[0]
    return points.astype(np.float32)


class Scaled(nn.Module):
    """A layer that puts out its input, times a parameter."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.scale


def network(width: int, scale: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(Scaled(scale), nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, 3))


def loops_of(points: np.ndarray) -> tuple[int, int]:
    """The fewest and the most loops of Ripser's that are longer than the rounding, in float64."""
    distances = squareform(pdist(points.astype(np.float64)))
    distances /= distances.max() or 1  # Ripser computes in float32
    births, deaths = ripser(distances, distance_matrix=True, maxdim=1)["dgms"][1].T
    lengths = (deaths - births) / deaths
    return int((lengths > 4 * RELATIVE_ERROR).sum()), int((lengths > RELATIVE_ERROR).sum())


@quick
@given(clouds(), st.sampled_from([1.0, 0.1, 1e-7, 3e5]), st.integers(0, 99))
def test_b1_is_ripsers_of_the_raw_cloud(points: np.ndarray, scale: float, seed: int) -> None:
    model, images = network(points.shape[1], scale, seed), torch.from_numpy(points)
    layers = {layer.name: layer for layer in analyze(model, images).layers}
    assert list(layers) == ["0", "1", "3"]
    with torch.no_grad():
        for name, module in model.named_children():
            images = module(images)
            if name in layers:
                fewest, most = loops_of(images.numpy())
                assert fewest <= layers[name].b1 <= most


@quick
@given(clouds(), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_b1_changes_neither_with_the_scale_nor_with_the_order(
    points: np.ndarray, scale: float, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(len(points))
    images = torch.from_numpy(points)

    def measured(scale: float, images: torch.Tensor) -> LayerTopology:
        return analyze(Scaled(scale), images).layers[0]

    plain, scaled = measured(1.0, images), measured(scale, images)
    shuffled = measured(1.0, images[order])
    assert plain.b1 == scaled.b1 == shuffled.b1
    assert plain.clustering is not None
    assert scaled.clustering is not None
    assert plain.clustering.count == scaled.clustering.count


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.floats(0.05, 1.0))
def test_equal_scores_share_their_rank_and_the_first_to_run_is_taken(
    values: list[int], rho: float
) -> None:
    scores = pd.Series([0.1 * v for v in values], index=[f"l{n}" for n in range(len(values))])
    expected = rankdata([-v for v in values], method="min").astype(int).tolist()
    assert rank(scores).tolist() == expected
    chosen = select(scores, rho=rho)
    best = sorted(range(len(values)), key=lambda n: (-values[n], n))
    assert chosen == [f"l{n}" for n in best[: len(chosen)]]


_CLOUDS = {0: np.linspace([0, 0], [7, 0], 8), 1: circle(8)}


@quick
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3)), min_size=2, max_size=8),
    st.floats(0.05, 1.0),
    st.sampled_from(["activation", "none"]),
)
def test_the_numbers_of_a_decision_are_those_of_all_ways_to_break_ties(
    layers: list[tuple[int, int]], rho: float, normalization: str
) -> None:
    measured = report(
        *(
            layer(f"l{n}", _CLOUDS[b1], kind="LayerNorm", width=w)
            for n, (b1, w) in enumerate(layers)
        )
    )
    rows = ranking(measured, rho=rho, normalization=normalization)
    decision = Decision.of(rows, None)
    sizes = [w if normalization == "activation" else 1 for _, w in layers]
    scores = [b1 / size for (b1, _), size in zip(layers, sizes, strict=True)]
    chosen = [n for n, taken in enumerate(rows["selected"]) if taken]
    last = min(scores[n] for n in chosen)
    same = [n for n, score in enumerate(scores) if score == last]
    if set(same) <= set(chosen):
        assert decision.tied == 0
    else:
        assert (decision.tied, decision.tied_chosen) == (len(same), len({*same} & {*chosen}))
    # Every layer that is chosen by size whatever breaks ties has at most k - 1 others of its size
    # or smaller.
    sure = [n for n in chosen if sum(size <= sizes[n] for size in sizes) <= len(chosen)]
    assert decision.sure_by_size == len(sure)
    might = [n for n in chosen if sum(size < sizes[n] for size in sizes) < len(chosen)]
    assert decision.chosen_by_size == len(might)
    assert decision.by_order_alone is (len(set(scores)) == 1 and len(chosen) < len(layers))
