"""Cycles of images: each is born with its loop, is no older, and gone when it dies."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.options import AnalysisOptions
from analysis.results import Float32
from analysis.topology.persistence import persistence
from analysis.topology.pipeline import analyze_named
from analysis.topology.representatives import representative_cycles
from tests.factories import POCKET, circle, distances_of


class Span(dict[int, int]):
    """A space of chains over Z/2, each an integer with one bit per edge, under its highest bit."""

    def rest(self, chain: int) -> int:
        """What is left of a chain by Gaussian elimination: 0 if it is in the space."""
        while chain and (row := self.get(chain.bit_length())):
            chain ^= row
        return chain

    def add(self, chain: int) -> bool:
        """Whether the chain is new to the space."""
        rest = self.rest(chain)
        if rest:
            self[rest.bit_length()] = rest
        return bool(rest)


class Rips:
    """Boundaries and cycles of a Vietoris-Rips complex, without Ripser."""

    def __init__(self, distances: Float32) -> None:
        self.distances, self.count = distances, len(distances)
        i, j = np.triu_indices(self.count, 1)
        edges = sorted(zip(distances[i, j].tolist(), i.tolist(), j.tolist(), strict=True))
        self.length = {frozenset((a, b)): length for length, a, b in edges}
        self.bit = {edge: 1 << place for place, edge in enumerate(self.length)}
        self.triangles = sorted(
            (max(distances[a, b], distances[a, c], distances[b, c]).item(), a, b, c)
            for a in range(self.count)
            for b in range(a)
            for c in range(b)
        )

    def chain(self, *images: int) -> int:
        """The closed walk past these images."""
        chain = 0
        for edge in pairwise([*images, images[0]]):
            chain ^= self.bit[frozenset(edge)]
        return chain

    def cycles_below(self, scale: float) -> list[int]:
        """A basis of the cycles of edges shorter than `scale`: one for each edge off a forest."""
        edges = {edge for edge, length in self.length.items() if length < scale}
        to_root: dict[int, int] = {}
        for root in range(self.count):
            if root in to_root:
                continue
            to_root[root], queue = 0, deque([root])
            while queue:
                a = queue.popleft()
                for b in range(self.count):
                    if b not in to_root and frozenset((a, b)) in edges:
                        to_root[b] = to_root[a] ^ self.bit[frozenset((a, b))]
                        queue.append(b)
        return [to_root[a] ^ to_root[b] ^ self.bit[frozenset((a, b))] for a, b in map(tuple, edges)]


def check(distances: Float32) -> tuple[int, int]:
    """Check every cycle of a cloud; how many there are, and how many are filled at the death."""
    loops = persistence(distances)[1]
    cycles = representative_cycles(distances, loops)
    rips = Rips(distances)
    chains = [rips.chain(*cycle.images.tolist()) for cycle in cycles]
    triangles, boundaries = deque(rips.triangles), Span()
    for scale in sorted({float(s) for s in loops.ravel()}):
        alive = [n for n, (birth, death) in enumerate(loops) if birth <= scale < death]
        dying = [n for n, (_, death) in enumerate(loops) if death == scale]
        older = {n: rips.cycles_below(loops[n, 0]) for n in dying}
        for n in dying:
            assert _with(boundaries, older[n]).rest(chains[n]), "dead too early"
        while triangles and triangles[0][0] <= scale:
            boundaries.add(rips.chain(*triangles.popleft()[1:]))
        for n in dying:
            assert not _with(boundaries, older[n]).rest(chains[n]), "alive too long"
            assert (not boundaries.rest(chains[n])) == cycles[n].fills
        basis = Span(boundaries)
        assert all(basis.add(chains[n]) for n in alive), "not one for each loop"
        assert not any(basis.add(cycle) for cycle in rips.cycles_below(np.nextafter(scale, np.inf)))
    for (birth, _), cycle, chain in zip(loops, cycles, chains, strict=True):
        lengths = [length for edge, length in rips.length.items() if chain & rips.bit[edge]]
        assert max(lengths) == birth
        assert distances[cycle.images[-1], cycle.images[0]] == birth
    return len(cycles), sum(cycle.fills for cycle in cycles)


def _with(boundaries: Span, cycles: list[int]) -> Span:
    both = Span(boundaries)
    for cycle in cycles:
        both.add(cycle)
    return both


def test_the_cycle_of_a_circle_is_the_whole_circle_in_order() -> None:
    distances = distances_of(circle(12))
    (cycle,) = representative_cycles(distances, persistence(distances)[1])
    steps = np.diff(np.append(cycle.images, cycle.images[0])) % 12
    assert set(steps.tolist()) in ({1}, {11})
    assert len(cycle.images) == 12
    assert cycle.fills


def test_of_two_rings_of_a_tube_the_younger_joins_the_older_and_is_not_filled() -> None:
    rings = [np.column_stack([circle(n), np.full(n, height)]) for n, height in ((14, 0), (12, 0.8))]
    distances = distances_of(np.concatenate(rings))
    loops = persistence(distances)[1]
    older, younger = loops[np.argsort(loops[:, 0])[:2]]
    assert older[1] > younger[1]
    cycles = representative_cycles(distances, np.stack([older, younger]))
    assert [cycle.fills for cycle in cycles] == [True, False]
    check(distances)


def test_a_loop_of_other_distances_is_refused() -> None:
    with pytest.raises(ValueError, match="must be loops of"):
        representative_cycles(distances_of(circle(12)), np.array([[1, 2]], np.float32))


@pytest.mark.parametrize("model", POCKET)
def test_cycles_of_pocket_models_are_born_and_die_with_their_loops(
    model: str, home: object
) -> None:
    report = analyze_named(AnalysisOptions(model, samples=24, pooling="pooled"))
    total = 0
    for layer in report.layers[:: max(1, len(report.layers) // 6)]:
        count, filled = check(layer.distances)
        total += count
        assert filled == count
    assert total > 5


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(4, 18),
    dimension=st.integers(1, 6),
    kind=st.sampled_from(["spread", "lattice", "repeated", "signs"]),
)
def test_cycles_of_random_clouds_are_born_and_die_with_their_loops(
    seed: int, count: int, dimension: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, dimension))
    if kind == "lattice":
        points = np.round(1.5 * points)
    elif kind == "repeated":
        points = points[rng.integers(0, count, count)]
    elif kind == "signs":
        points = np.sign(points)
    check(distances_of(points))
