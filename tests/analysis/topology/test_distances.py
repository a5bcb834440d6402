"""Distances against scipy's in float64, where float32 arithmetic alone would fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from torch import Tensor, nn

from analysis.instruments.ledger import Ledger
from analysis.topology.distances import pairwise_distances
from analysis.topology.rounding import RELATIVE_ERROR

TOLERANCE = RELATIVE_ERROR


def reference(cloud: Tensor) -> np.ndarray:
    return squareform(pdist(cloud.detach().double().flatten(1).numpy()))


def worst_error(cloud: Tensor) -> float:
    matrix, expected = pairwise_distances(cloud), reference(cloud)
    assert matrix is not None
    assert matrix.dtype == np.float32
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 0).all()
    apart = expected > 0
    assert (matrix[~apart] == 0).all()
    return float((np.abs(matrix - expected)[apart] / expected[apart]).max(initial=0))


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(40, 3), (40, 100_000), (4, 1), (300, 2_000), (17, 8, 5, 5)])
def test_gaussian_clouds(shape: tuple[int, ...]) -> None:
    assert worst_error(gaussian(*shape)) < TOLERANCE


@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_a_cloud_far_from_the_origin(offset: float) -> None:
    assert worst_error(gaussian(40, 5_000) + offset) < TOLERANCE


def test_coincident_points() -> None:
    cloud = gaussian(20, 3_000)
    cloud[5] = cloud[3]
    cloud[11] = cloud[3]
    cloud[1] = cloud[0]
    assert worst_error(cloud) < TOLERANCE
    assert worst_error(torch.ones(12, 500)) == 0


@pytest.mark.parametrize("gap", [1e-2, 1e-4])
def test_one_pair_much_closer_than_the_rest(gap: float) -> None:
    cloud = gaussian(20, 3_000)
    cloud[7] = cloud[2] + gap * gaussian(3_000, seed=1)
    assert worst_error(cloud) < TOLERANCE


@pytest.mark.parametrize("apart", [1e2, 1e4])
def test_two_tight_groups_far_from_each_other(apart: float) -> None:
    cloud = gaussian(60, 3_000)
    cloud[30:] += apart
    assert worst_error(cloud) < TOLERANCE


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1e10, 1e25])
def test_scales_whose_squares_leave_float32(scale: float) -> None:
    assert worst_error(gaussian(20, 300) * scale) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    assert worst_error(gaussian(30, 2_000).to(dtype)) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_close_pair_in_half_precision(dtype: torch.dtype) -> None:
    cloud = gaussian(20, 50).to(dtype)
    cloud[7] = cloud[2] + (0.02 * gaussian(50, seed=1)).to(dtype)
    assert worst_error(cloud) < TOLERANCE


@pytest.mark.parametrize("count", [2, 4, 8, 12])
def test_few_points_with_very_many_coordinates(count: int) -> None:
    cloud = torch.full((count, 1_000_000), 0.1)
    cloud[torch.rand(cloud.shape, generator=torch.Generator().manual_seed(0)) < 0.035] = 0
    cloud[0] = 0
    assert worst_error(cloud) < TOLERANCE


@pytest.mark.parametrize("setting", ["fp32_precision", "mkldnn.matmul.fp32_precision"])
def test_torchs_other_setting_of_the_precision_is_respected(setting: str) -> None:
    *path, name = setting.split(".")
    place = torch.backends
    for part in path:
        place = getattr(place, part)
    before = getattr(place, name)
    try:
        setattr(place, name, "tf32")
        assert worst_error(gaussian(40, 5_000)) < TOLERANCE
        assert getattr(place, name) == "tf32"
    finally:
        setattr(place, name, before)
        torch.set_float32_matmul_precision("highest")  # makes torch's two settings agree again


def test_memory_layouts_do_not_matter() -> None:
    cloud = gaussian(30, 16, 9, 7) + 5
    channels_last = cloud.contiguous(memory_format=torch.channels_last)
    assert worst_error(channels_last) < TOLERANCE
    assert worst_error(cloud.transpose(1, 3)) < TOLERANCE
    assert worst_error(cloud[:, ::2, 1:]) < TOLERANCE
    assert worst_error(cloud[:, :1].expand(-1, 4, -1, -1)) < TOLERANCE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_cloud_that_is_not_finite_has_no_distances(value: float) -> None:
    cloud = gaussian(10, 50)
    cloud[4, 7] = value
    assert pairwise_distances(cloud) is None


def test_reduced_precision_that_the_caller_allows_is_not_used() -> None:
    cloud, before = gaussian(40, 5_000), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            assert worst_error(cloud) < TOLERANCE
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_invariances() -> None:
    cloud = gaussian(25, 40)
    matrix = pairwise_distances(cloud)
    assert matrix is not None
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    rotation, _ = torch.linalg.qr(gaussian(40, 40, seed=2).double())
    np.testing.assert_allclose(pairwise_distances(cloud[order]), matrix[order][:, order], rtol=1e-6)
    np.testing.assert_allclose(pairwise_distances(cloud.double() @ rotation), matrix, rtol=1e-5)
    np.testing.assert_allclose(pairwise_distances(cloud * 4), matrix * 4, rtol=1e-6)


def test_the_cloud_is_not_altered() -> None:
    cloud = gaussian(10, 20)
    before = cloud.clone()
    pairwise_distances(cloud)
    assert torch.equal(cloud, before)


@pytest.mark.parametrize("shape", [(40, 150_000), (12, 30_000), (200, 9_000)])
def test_the_number_of_threads_does_not_alter_a_bit(shape: tuple[int, ...]) -> None:
    cloud, before, results = gaussian(*shape), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            matrix = pairwise_distances(cloud)
            assert matrix is not None
            results.append(matrix.tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1]


def test_a_ledger_does_not_count_the_slices_of_a_cloud() -> None:
    cloud = gaussian(40, 150_000)
    with Ledger(nn.Linear(1, 1)) as ledger:
        pairwise_distances(cloud)
    slice_bytes = 40 * 8192 * 4
    assert ledger.peak.total - cloud.nbytes < slice_bytes
