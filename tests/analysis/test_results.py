"""The sentences of a report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.results import LayerTopology, TopologyReport
from analysis.topology.rounding_error import rounding_sentences
from tests.factories import circle, layer, report


def test_missing_layers_are_reported() -> None:
    report = TopologyReport(
        layers=(), samples=8, batch_size=8, pooling="all", min_persistence=0.0, seed=0,
        seconds=0.0, peak_bytes=0, never_run=("unused", "fc2"), outside=("", "mlp"),
    )  # fmt: skip
    assert report.warnings() == [
        "Not analysed because the model did not run them: unused, fc2.",
        "Not analysed because their output is not one point per image: (model), mlp.",
    ]


def test_images_that_are_alike_are_reported() -> None:
    point, ring = np.ones((8, 2)), circle(8)
    pairs = np.repeat(ring[:4], 2, axis=0)
    assert report(layer("a", point), layer("b"), layer("c", 0 * point)).warnings()[0] == (
        "All 8 images are the same to this network, so no layer has a loop. Choose images that "
        "differ."
    )
    repeated, *others = report(layer("a", pairs), layer("b", 2 * pairs)).warnings()
    assert repeated.startswith("4 of the 8 images are the same as another one to this network")
    assert not others
    # Alike in one layer alone: no image repeats another, but this layer is dead.
    assert report(layer("a", ring), layer("b", point), layer("c", ring)).warnings() == [
        "All images are one point in 1 of 3 layers: b."
    ]
    assert report(layer("a", ring), layer("b", pairs)).warnings() == []


def test_rounding_does_not_tell_equal_images_apart() -> None:
    def rounded(name: str, points: np.ndarray) -> LayerTopology:
        return replace(layer(name, points), rounding=1e-6)

    point, noise = np.ones((8, 2)), 1e-6 * circle(8)
    said = "All 8 images are the same to this network"
    one = (layer("a", point), rounded("b", noise))
    assert report(*one).warnings()[0].startswith(said)
    assert rounding_sentences(one, "", set()) == []
    for differ in ((layer("a", point), rounded("b", 2 * noise)), (rounded("b", noise),)):
        assert not any(said in sentence for sentence in report(*differ).warnings())
    assert "no more than rounding in b" in rounding_sentences(differ, "", set())[0]
