"""The influence of images, against linear regression and against leaving them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.results import LayerTopology, TopologyReport
from analysis.selection.influence import Influence, image_influence, lead_between, slopes
from analysis.selection.ranking import ranking
from analysis.topology.persistence import persistence
from analysis.topology.subsets import draw_subsets
from tests.factories import blobs, distances_of, layer, report

LOOP = np.array([[1.0, 2.0]], np.float32)


def counted(name: str, loops: np.ndarray) -> LayerTopology:
    """A layer with so many loops in each subset."""
    diagrams = tuple(np.repeat(LOOP, int(count), axis=0) for count in loops)
    return replace(layer(name, blobs(4)), diagrams=diagrams, b1=float(np.mean(loops)))


def of(
    *loops: np.ndarray, samples: int = 40, size: int = 10, subsets: int = 80, seed: int = 0
) -> TopologyReport:
    clouds = draw_subsets(samples, size, subsets, seed=seed)
    layers = [counted(f"l{number}", values) for number, values in enumerate(loops)]
    head = replace(layers[0], name="fc", kind="Linear")
    made = replace(report(*layers, head), samples=samples, batch_size=size, pooling="subsets")
    return replace(made, clouds=clouds)


def found(made: TopologyReport, groups: np.ndarray | None = None, rho: float = 0.5) -> Influence:
    influence = image_influence(made, ranking(made, rho=rho), groups=groups)
    assert influence is not None
    return influence


def test_slopes_are_those_of_linear_regression() -> None:
    rng = np.random.default_rng(0)
    held, values = rng.integers(0, 4, (30, 3)).astype(float), rng.normal(size=(2, 30))
    slope, error = slopes(held, values)
    for row in range(2):
        for group in range(3):
            expected = stats.linregress(held[:, group], values[row])
            assert slope[row, group] == pytest.approx(expected.slope)
            assert error[row, group] == pytest.approx(expected.stderr)
    flat, none = slopes(np.ones((30, 1)), values)
    assert not flat.any()
    assert not none.any()


def test_the_lead_without_an_image_is_that_of_the_subsets_without_it() -> None:
    rng = np.random.default_rng(1)
    loops = rng.integers(10, 20, 80), rng.integers(9, 19, 80)
    made = of(*loops)
    influence = found(made)
    first, second = (0, 1) if loops[0].mean() > loops[1].mean() else (1, 0)
    lead = loops[first] - loops[second]
    assert (influence.last, influence.following) == (f"l{first}", f"l{second}")
    assert influence.lead == pytest.approx(lead.mean())
    assert influence.lead == pytest.approx(lead_between(made, influence.last, influence.following))
    for image in (0, 17, 39):
        without = ~(made.clouds == image).any(axis=1)
        assert influence.without[image] == pytest.approx(lead[without].mean())
        assert influence.means[first, image] == pytest.approx(loops[first][without].mean())
        assert influence.changes[image] == (lead[without].mean() < 0)
        assert influence.ranks[first, image] == (2 if lead[without].mean() < 0 else 1)


def test_it_agrees_with_leaving_the_image_out() -> None:
    """The mean over subsets of the other images, drawn afresh, within four standard errors."""
    rng = np.random.default_rng(3)
    points = [rng.normal(size=(24, 3)) for _ in range(2)]
    points[0][5] *= 30  # an image far from all others makes no loop
    clouds = draw_subsets(24, 12, 300, seed=0)
    layers = []
    for name, cloud in zip("ab", points, strict=True):
        distances = distances_of(cloud)
        diagrams = tuple(persistence(distances[np.ix_(c, c)])[1] for c in clouds)
        layers.append(replace(layer(name, cloud), diagrams=diagrams))
    made = replace(
        report(*layers, replace(layers[0], name="fc", kind="Linear")),
        pooling="subsets", batch_size=12, clouds=clouds,
    )  # fmt: skip
    influence = found(made)
    for image in (5, 11):
        others = np.delete(np.arange(24), image)
        for row, measured in enumerate(layers):
            fresh = [
                len(persistence(measured.distances[np.ix_(c, c)])[1])
                for c in (rng.choice(others, 12, replace=False) for _ in range(600))
            ]
            error = np.hypot(influence.means_error[row, image], np.std(fresh) / np.sqrt(600))
            # The mean over all images has its own error, which the slope leaves out.
            error = np.hypot(error, np.std(fresh) / np.sqrt(300))
            assert abs(influence.means[row, image] - np.mean(fresh)) < 4 * error
    row = influence.layers.index("a")
    means = np.array([len(d) for d in layers[0].diagrams]).mean()
    assert influence.means[row, 5] > means + 3 * influence.means_error[row, 5]


def test_images_without_influence_are_named_in_few_of_many_analyses() -> None:
    rng = np.random.default_rng(7)
    wrong = sum(
        bool(found(of(rng.integers(0, 30, 80), rng.integers(0, 30, 80), seed=seed)).decisive)
        for seed in range(200)
    )
    assert stats.binomtest(wrong, 200, 0.05, alternative="greater").pvalue > 0.001


def test_an_image_that_makes_loops_decides_and_comes_first() -> None:
    rng = np.random.default_rng(2)
    clouds = draw_subsets(40, 10, 80, seed=0)
    makes = 6 * (clouds == 13).any(axis=1)
    influence = found(of(rng.integers(10, 13, 80) + makes, rng.integers(11, 14, 80)))
    assert influence.decisive == [13]
    assert influence.strongest[0] == 13
    assert influence.without[13] < influence.lead - 1
    assert influence.changes.tolist() == [image == 13 for image in range(40)]


def test_a_class_is_judged_by_how_many_of_its_images_a_subset_holds() -> None:
    rng = np.random.default_rng(4)
    clouds, groups = draw_subsets(40, 10, 80, seed=0), np.arange(40) // 10
    held = (groups[clouds] == 2).sum(axis=1)
    influence = found(of(20 + 2 * held, 20 + rng.integers(0, 3, 80)), groups)
    assert influence.strongest[0] == 2  # more of the others are fewer of it: they decide as well
    assert influence.p.argmin() == 2
    assert influence.p[2] < 1e-6
    assert influence.means[0, 2] == pytest.approx(20)  # two loops an image, and none left


def test_random_slopes_change_the_choice_as_often_as_chance_is_said_to() -> None:
    rng = np.random.default_rng(5)
    said, counts = [], []
    for seed in range(30):
        influence = found(of(rng.integers(0, 30, 80), rng.integers(0, 30, 80), seed=seed))
        said.append(influence.by_chance)
        counts.append(influence.changes.sum())
    assert np.mean(counts) == pytest.approx(np.mean(said), rel=0.25)


def test_nothing_is_said_without_subsets_or_without_a_choice() -> None:
    made = of(np.arange(80), np.arange(80)[::-1])
    assert image_influence(made, ranking(made, rho=1.0)) is None
    pooled = replace(made, clouds=np.arange(40)[None])
    assert image_influence(pooled, ranking(made, rho=0.5)) is None
