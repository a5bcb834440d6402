"""Which images go into which pass, counted by hand."""

from __future__ import annotations

from itertools import combinations

import pytest

from analysis.errors import ModelError
from analysis.text import gigabytes
from analysis.topology.passes import Budget, Footprint, Plan, most_samples, plan_passes

MB = 1_000_000
FOOTPRINT = Footprint(layers=10, image=MB)


@pytest.mark.parametrize(
    ("samples", "blocks"), [(4, 1), (7, 3), (40, 3), (41, 5), (10, 10), (400, 4)]
)
def test_every_pair_of_images_shares_a_pass(samples: int, blocks: int) -> None:
    together: set[tuple[int, int]] = set()
    sizes = []
    for parts in Plan(samples, blocks):
        images = [i for part in parts for i in part]
        sizes.append(len(images))
        together |= set(combinations(sorted(images), 2))
    assert together == set(combinations(range(samples), 2))
    plan = Plan(samples, blocks)
    assert plan.passes == len(sizes)
    assert plan.images == sum(sizes)
    assert plan.pairs == sum(size**2 for size in sizes)
    assert max(sizes) <= plan.largest <= max(sizes) + 1


def test_images_that_fit_take_one_pass() -> None:
    exactly = FOOTPRINT.of_matrices(40) + FOOTPRINT.of_pass(40)
    assert plan_passes(40, FOOTPRINT, Budget(exactly)).passes == 1
    assert plan_passes(40, FOOTPRINT, Budget(exactly - 1)).passes > 1


@pytest.mark.parametrize("together", [2, 3, 8, 20, 39])
def test_no_pass_exceeds_the_budget_and_fewer_passes_would(together: int) -> None:
    room = FOOTPRINT.of_matrices(40) + FOOTPRINT.of_pass(together)
    plan = plan_passes(40, FOOTPRINT, Budget(room))
    assert FOOTPRINT.peak(40, plan.largest, Budget(room)) <= room
    assert plan.blocks == -(-40 // (together // 2))


def test_with_a_gpu_the_matrices_are_on_the_host() -> None:
    budget = Budget(device=FOOTPRINT.of_pass(40), host=FOOTPRINT.of_topology(40))
    assert plan_passes(40, FOOTPRINT, budget).passes == 1
    with pytest.raises(ModelError, match="use at most"):
        plan_passes(40, FOOTPRINT, Budget(budget.device, FOOTPRINT.of_topology(40) - 1))


def test_a_pass_is_charged_for_kernels_and_the_allocator_as_well() -> None:
    assert FOOTPRINT.of_pass(10) > 10 * MB + 2**20
    fixed = Footprint(layers=10, image=MB, fixed=5 * MB)
    assert fixed.of_pass(10) - FOOTPRINT.of_pass(10) >= 5 * MB


def test_an_analysis_that_does_not_fit_names_one_that_would() -> None:
    budget = Budget(500 * MB)
    with pytest.raises(
        ModelError, match=r"distances and topology of 5000 images in 10 layers.*at most \d+"
    ) as e:
        plan_passes(5000, FOOTPRINT, budget)
    most = most_samples(FOOTPRINT, budget)
    assert f"use at most {most} images" in str(e.value)
    plan_passes(most, FOOTPRINT, budget)
    with pytest.raises(ModelError):
        plan_passes(most + 1, FOOTPRINT, budget)


def test_a_model_too_large_for_two_images_is_refused() -> None:
    huge = Footprint(layers=10, image=900 * MB)
    assert most_samples(huge, Budget(1000 * MB)) == 0
    with pytest.raises(ModelError, match=r"Even two images at a time need 2.1 GB.*smaller images"):
        plan_passes(40, huge, Budget(1000 * MB))
    with pytest.raises(ModelError, match="only 0 MB are available"):
        plan_passes(40, huge, Budget(-5))


def test_processes_of_ripser_count_once_they_are_used() -> None:
    several = Footprint(layers=10, image=MB, processes=4)
    assert several.of_topology(149) == FOOTPRINT.of_topology(149)
    assert several.of_topology(150) > FOOTPRINT.of_topology(150) + 400 * MB
    # Nothing is left of the passes by then: the larger of the two is the peak.
    assert several.peak(150, 2, Budget(10**9)) == several.of_topology(150)
    assert several.peak(149, 99, Budget(10**9)) > several.of_topology(149) + 99 * MB


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 MB"), (1, "1 MB"), (48 * MB, "48 MB"), (2_340 * MB, "2.3 GB"), (131.5e9, "132 GB")],
)
def test_bytes_in_words(size: float, text: str) -> None:
    assert gigabytes(size) == text
