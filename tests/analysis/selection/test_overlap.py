"""Overlaps of selections that are counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.results import LayerTopology, TopologyReport
from analysis.selection.overlap import (
    choices_of_clouds,
    draw_overlaps,
    part_overlaps,
    shared_layers,
    shares_of_draws,
)
from analysis.selection.ranking import ranking
from analysis.topology.part_clouds import PartClouds, Way
from tests.factories import blobs, layer, report

LOOP = np.array([[1.0, 2.0]], np.float32)


def counted(name: str, *loops: int) -> LayerTopology:
    """A layer with so many loops in each cloud."""
    diagrams = tuple(np.repeat(LOOP, count, axis=0) for count in loops)
    return replace(layer(name, blobs(4)), diagrams=diagrams, b1=float(np.mean(loops)))


def of(*layers: LayerTopology) -> TopologyReport:
    clouds = np.zeros((len(layers[0].diagrams), 4), np.int64)
    head = replace(layers[0], name="fc", kind="Linear")
    return replace(report(*layers, head), clouds=clouds, pooling="subsets")


def test_parts_that_select_other_layers_overlap_by_what_they_share() -> None:
    # The first part selects a and b, the second b and c, the third a and b.
    layers = counted("a", 9, 1, 9), counted("b", 8, 8, 8), counted("c", 1, 9, 1)
    analysed = of(*layers, counted("d", 0, 0, 0))
    way = Way("whole", 20, 1, np.arange(3).reshape(1, 3, 1))
    both = Way("averaged", 40, 2, np.array([[[0, 1], [1, 2]]]))  # a 5, b 8, c 5: a by order
    parts = PartClouds((way, both), (), analysed.layers)
    rows = ranking(analysed, rho=0.5)
    table = part_overlaps(analysed, parts, rows)
    assert table["pairs"].tolist() == [3, 1]
    assert table["overlap"].tolist() == pytest.approx([(1 / 3 + 1 + 1 / 3) / 3, 1])
    nothing = part_overlaps(analysed, parts, ranking(analysed, rho=0.1, preset="released"))
    assert nothing.empty


def test_draws_are_compared_by_the_first_subsets_and_by_all() -> None:
    # By the first cloud one selects a, the other b; by the mean of five both select a.
    one = of(counted("a", 9, 9, 9, 9, 9, 9), counted("b", 1, 1, 1, 1, 1, 1))
    other = of(counted("a", 1, 9, 9, 9, 9, 9), counted("b", 9, 1, 1, 1, 1, 1))
    rows = ranking(one, rho=0.5)
    table = draw_overlaps([one, other], rows)
    assert table["clouds"].tolist() == [1, 5, 6]
    assert table["overlap"].tolist() == [0, 1, 1]
    assert draw_overlaps([one], rows).empty


def test_a_layer_is_chosen_by_a_share_of_the_draws() -> None:
    more, fewer = of(counted("a", 9), counted("b", 1)), of(counted("a", 1), counted("b", 9))
    shares = shares_of_draws([more, fewer, more, more], ranking(more, rho=0.5))
    assert shares[["a", "b"]].tolist() == [0.75, 0.25]
    assert np.isnan(shares["fc"])


def test_the_size_of_a_layer_counts() -> None:
    large = replace(counted("a", 9, 9), activation_size=10_000)
    analysed = of(large, counted("b", 1, 8))
    shares = shares_of_draws([analysed], ranking(analysed, rho=0.5))
    assert shares[["a", "b"]].tolist() == [0, 1]
    shares = shares_of_draws([analysed], ranking(analysed, rho=0.5), normalization="none")
    assert shares[["a", "b"]].tolist() == [1, 0]


def test_each_cloud_chooses_by_itself() -> None:
    # The second layer is twice as large, so its ten loops lose to six.
    layers = counted("a", 9, 1, 9), counted("b", 10, 20, 2), counted("c", 6, 9, 8)
    sizes = zip(layers, (40, 80, 40), strict=True)
    analysed = of(*(replace(each, activation_size=size) for each, size in sizes))
    scores, chosen = choices_of_clouds(analysed, ranking(analysed, rho=2 / 3))
    names = np.array(["a", "b", "c", "fc"])
    assert [names[row].tolist() for row in chosen] == [["a", "c"], ["b", "c"], ["a", "c"]]
    np.testing.assert_allclose(scores[1], [1 / 40, 20 / 80, 9 / 40, np.nan])
    assert shared_layers(chosen) == pytest.approx((1 + 2 + 1) / 3)
