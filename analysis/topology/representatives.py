"""A cycle of images that shows each loop of a persistence diagram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ripser import ripser
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from analysis.results import Float32, Integers

_MOST_TRACKED = 5  # older loops whose crossings are counted; each doubles the graph


@dataclass(frozen=True, eq=False)
class Cycle:
    """One of the many cycles that go round the same hole."""

    # (m,), in order: the edge from the last to the first is the one that the loop is born with
    images: Integers
    fills: bool  # whether triangles fill it at the loop's death, or it joins an older loop then


def representative_cycles(distances: Float32, loops: Float32) -> tuple[Cycle, ...]:
    """The shortest cycle that is born with each loop and, if one is found, dies with it.

    A loop of the Vietoris-Rips complex is born when an edge closes a cycle. That edge is the
    shortest in Ripser's cocycle of the loop. The cycle goes round through edges that are no longer.
    If it goes round an older loop as well, another is sought that crosses the cocycle of each loop
    that lives longer an even number of times. How often a cycle crosses the cocycles decides which
    loops it goes round (de Silva, Morozov, Vejdemo-Johansson 2011, arXiv:1107.5665).

    Parameters
    ----------
    distances : ndarray (N, N) of float32
    loops : ndarray (k, 2) of float32
        Births and deaths of loops that Ripser finds in `distances`; all of them, or some.

    Returns
    -------
    tuple of k Cycle
        In the order of `loops`.

    Raises
    ------
    ValueError
        If one of `loops` is no loop of `distances`.
    """
    result = ripser(distances, distance_matrix=True, maxdim=1, do_cocycles=True)
    bars = result["dgms"][1].astype(np.float32)
    rips = _Complex(distances, bars, [cocycle[:, :2] for cocycle in result["cocycles"][1]])
    return tuple(rips.cycle(bar) for bar in _places(loops, bars))


def _places(loops: Float32, bars: Float32) -> list[int]:
    """Where the loops are among Ripser's; those with equal births and deaths in order."""
    places: dict[tuple[float, float], list[int]] = {}
    for place, (birth, death) in reversed(list(enumerate(bars.tolist()))):
        places.setdefault((birth, death), []).append(place)
    try:
        return [places[birth, death].pop() for birth, death in loops.tolist()]
    except (KeyError, IndexError):
        raise ValueError("`loops` must be loops of `distances`, got others") from None


class _Complex:
    """The edges of a cloud, and which of them each loop's cocycle has."""

    def __init__(self, distances: Float32, bars: Float32, cocycles: list[Integers]) -> None:
        self._distances, self._bars, self._cocycles = distances, bars, cocycles
        self._crossed = [set(map(frozenset, cocycle.tolist())) for cocycle in cocycles]

    def cycle(self, bar: int) -> Cycle:
        births, deaths = self._bars.T
        birth, death = self._bars[bar]
        equal = (births == birth) & (deaths == death)
        equal[bar] = False
        # Going round a loop that dies no later changes neither the birth nor the death.
        alive = (births <= birth) & (birth < deaths)
        others = np.flatnonzero(alive & ((deaths > death) | equal)).tolist()
        cycle = self._shortest(bar, [])
        assert cycle is not None  # the edges that join components are in no cocycle
        tracked: list[int] = []
        rounds = self._goes_round(cycle, others)
        while rounds and len(tracked) + len(rounds) <= _MOST_TRACKED:
            tracked += rounds
            other = self._shortest(bar, tracked)
            if other is None:
                break
            rounds = self._goes_round(other, others)
            if not rounds:
                cycle = other
        # Without another, the first cycle stays: the shortest that is born with the loop.
        fills = not any(deaths[each] > death for each in self._goes_round(cycle, others))
        return Cycle(np.array(cycle, dtype=np.int64), fills)

    def _goes_round(self, cycle: list[int], bars: list[int]) -> list[int]:
        edges = [frozenset(edge) for edge in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
        return [bar for bar in bars if sum(edge in self._crossed[bar] for edge in edges) % 2]

    def _shortest(self, bar: int, tracked: list[int]) -> list[int] | None:
        """The shortest cycle through the edge of a loop's birth that goes round no `tracked` loop.

        It is a path in a graph that has each image once for every set of cocycles crossed so far.
        """
        count, birth = len(self._distances), self._bars[bar, 0]
        own = self._cocycles[bar]
        start, end = own[self._distances[own[:, 0], own[:, 1]].argmin()]
        crossing = np.zeros((count, count), np.int64)  # a bit for each tracked loop
        for bit, each in enumerate(tracked):
            i, j = self._cocycles[each].T
            crossing[i, j] |= 1 << bit
            crossing[j, i] |= 1 << bit
        usable = self._distances <= birth
        usable[own[:, 0], own[:, 1]] = usable[own[:, 1], own[:, 0]] = False
        np.fill_diagonal(usable, False)
        i, j = np.nonzero(usable)
        sets = np.arange(1 << len(tracked))[:, None]
        rows, columns = i + count * sets, j + count * (sets ^ crossing[i, j])
        lengths = np.broadcast_to(self._distances[i, j], rows.shape)
        nodes = count << len(tracked)
        graph = csr_matrix((lengths.ravel(), (rows.ravel(), columns.ravel())), (nodes, nodes))
        goal = start + count * crossing[start, end]
        _, before = dijkstra(graph, indices=end, return_predecessors=True)
        path = [int(goal)]
        while path[-1] != end:
            if before[path[-1]] < 0:
                return None
            path.append(int(before[path[-1]]))
        return [node % count for node in path]
