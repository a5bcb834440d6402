"""CKA and the distances of diagrams, over all pairs of layers."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from analysis.errors import StoreError
from analysis.progress import Progress
from analysis.results import Float64
from analysis.selection.resemblance import (
    ResemblanceRequest,
    cka_matrix,
    diagram_distances,
    requested_distances,
)
from analysis.topology.store import save_analysis
from tests.factories import circle, layer, report

RNG = np.random.default_rng(0)
POINTS = {name: RNG.normal(size=(12, width)) for name, width in (("a", 2), ("b", 5), ("c", 3))}
REPORT = report(*(layer(name, points) for name, points in POINTS.items()), layer("not finite"))


def cost(one: Float64, other: Float64, measure: str) -> float:
    """The best of all ways to move one small diagram onto another, or onto the diagonal."""

    def to_diagonal(point: Float64) -> float:
        length = point[1] - point[0]
        return length / 2 if measure == "bottleneck" else length / np.sqrt(2)

    def apart(a: Float64, b: Float64) -> float:
        return float(np.linalg.norm(a - b, ord=np.inf if measure == "bottleneck" else 2))

    total = max if measure == "bottleneck" else sum
    places = [*range(len(other)), *[None] * len(one)]
    best = np.inf
    for chosen in set(permutations(places, len(one))):
        moves = [
            to_diagonal(point) if place is None else apart(point, other[place])
            for point, place in zip(one, chosen, strict=True)
        ]
        moves += [to_diagonal(other[j]) for j in set(range(len(other))) - set(chosen)]
        best = min(best, total(moves, start=0.0) if total is sum else max(moves, default=0.0))
    return float(best)


def test_cka_is_that_of_the_points() -> None:
    centred = {name: points - points.mean(axis=0) for name, points in POINTS.items()}
    values = cka_matrix(REPORT)
    for i, one in enumerate(centred.values()):
        for j, other in enumerate(centred.values()):
            norms = np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other)
            expected = np.linalg.norm(one.T @ other) ** 2 / norms
            assert values[i, j] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(values[3]).all()
    assert np.isnan(values[:, 3]).all()


@pytest.mark.parametrize("measure", ["wasserstein", "bottleneck"])
def test_the_distances_are_the_best_of_all_moves_whatever_the_scale(measure: str) -> None:
    large = report(
        *(layer(name, 7 * points) for name, points in POINTS.items()), layer("not finite")
    )
    values = diagram_distances(REPORT, measure)
    np.testing.assert_allclose(diagram_distances(large, measure), values, atol=1e-6)
    scaled = [one.diagram.astype(float) / one.diameter for one in REPORT.layers[:3]]
    assert all(0 < len(diagram) < 5 for diagram in scaled[:2])
    for i, one in enumerate(scaled):
        for j, other in enumerate(scaled):
            assert values[i, j] == pytest.approx(cost(one, other, measure), abs=1e-6)
    assert np.isnan(values[3]).all()


def test_a_layer_without_loops_is_as_far_as_the_loops_of_the_other() -> None:
    flat = report(layer("circle", circle(12)), layer("line", np.arange(12.0)[:, None]))
    (birth, death), diameter = flat.layers[0].diagram[0], flat.layers[0].diameter
    bottleneck = diagram_distances(flat, "bottleneck")[0, 1]
    assert bottleneck == pytest.approx((death - birth) / 2 / diameter)


def test_a_saved_analysis_is_compared_with_progress(home: object) -> None:
    steps: list[Progress] = []
    key = "0" * 64
    request = ResemblanceRequest(key, "wasserstein")
    with pytest.raises(StoreError, match="no longer saved"):
        requested_distances(request)
    finite = report(*REPORT.layers[:3])
    save_analysis(key, finite)
    found = requested_distances(request, progress=steps.append)
    np.testing.assert_allclose(found, diagram_distances(finite, "wasserstein"))
    assert [(step.done, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
