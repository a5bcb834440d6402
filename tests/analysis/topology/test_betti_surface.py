"""The loops of every layer on one scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.topology.betti_surface import betti_surface
from tests.factories import circle, layer, report


def test_it_counts_the_loops_that_are_alive_at_each_scale() -> None:
    cloud = layer("cloud", np.random.default_rng(1).normal(size=(25, 3)))
    twice = replace(cloud, name="two clouds", diagrams=(cloud.diagram, cloud.diagram[:0]))
    scales, loops = betti_surface(report(cloud, twice, layer("not finite")), steps=50)
    births, deaths = (cloud.diagram / cloud.diameter).T
    expected = [int(((births <= scale) & (scale < deaths)).sum()) for scale in scales]
    assert max(expected) > 2
    np.testing.assert_array_equal(loops[0], expected)
    np.testing.assert_array_equal(loops[1], np.array(expected) / 2)
    assert np.isnan(loops[2]).all()
    assert (scales[0], scales[-1]) == (births.min(), deaths.max())


def test_it_does_not_change_with_the_scale_of_a_layer() -> None:
    _, loops = betti_surface(report(layer("a", circle(20)), layer("b", 50 * circle(20))), steps=40)
    assert loops[0].max() == 1
    assert np.abs(loops[0] - loops[1]).sum() <= 2  # at most an end is rounded to the next step


def test_without_loops_it_is_zero_everywhere() -> None:
    scales, loops = betti_surface(report(layer("line", np.arange(9.0)[:, None])), steps=5)
    assert np.all(loops == 0)
    assert (scales[0], scales[-1]) == (0, 1)
