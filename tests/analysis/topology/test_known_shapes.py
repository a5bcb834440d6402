"""Shapes on the page Learn give the b₁ that theory says, by Ripser itself."""

from __future__ import annotations

import numpy as np
import pytest
from ripser import ripser

from analysis.topology.known_shapes import LEAST_RATIO, SHAPES, long_loops, shape_points
from app.cache.learn import Known

SEEDS = 10
BY_THEORY = {
    "Circle": 1, "Figure eight": 2, "Two circles": 2, "Disc": 0, "Torus": 2, "Sphere": 0,
    "Swiss roll": 0, "Gaussian noise": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_the_default_settings_show_the_known_number_of_loops(name: str) -> None:
    usual = Known(name)
    counts, every = [], []
    for seed in range(SEEDS):
        points = shape_points(
            name, usual.points, noise=usual.noise, dimension=usual.dimension, seed=seed
        )
        births, deaths = ripser(points, maxdim=1)["dgms"][1].T
        counts.append(int((deaths > LEAST_RATIO * births).sum()))
        every.append(len(births))
    assert counts == [BY_THEORY[name]] * SEEDS
    assert SHAPES[name].loops == BY_THEORY[name]
    if name == "Gaussian noise":
        assert min(every) > 10  # it has loops too, all of them short


def test_a_loop_is_long_by_its_own_birth_not_by_its_length() -> None:
    loops = np.array([[0.1, 0.3], [10, 19], [1, 2]], np.float32)
    assert long_loops(loops) == 1
    assert long_loops(loops, 1.8) == 3
    assert long_loops(loops[:0]) == 0


def test_points_keep_their_scale_in_any_dimension() -> None:
    flat = shape_points("Circle", 60, noise=0.0, dimension=2)
    assert flat.shape == (60, 2)
    assert np.square(flat).sum(axis=1).mean() == pytest.approx(1)
    deep = shape_points("Circle", 60, noise=0.1, dimension=20)
    assert deep.shape == (60, 20)
    assert deep[:, 2:].std() == pytest.approx(0.1, rel=0.1)
    assert shape_points("Torus", 20, noise=0.0, dimension=2).shape == (20, 4)
    assert shape_points("Gaussian noise", 20, noise=0.0, dimension=7).shape == (20, 7)
