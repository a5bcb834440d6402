"""Parts of the images: which share none, and that their loops are Ripser's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ripser import ripser

from analysis.errors import ModelError
from analysis.progress import Progress
from analysis.topology import part_store
from analysis.topology.part_clouds import BATCH, SUBSETS, Way, part_clouds, part_clouds_plan
from analysis.topology.part_store import PartsRequest, load_parts, save_parts, saved_parts
from tests.factories import blobs, circle, distances_of, layer, report


def images_of(way: Way, images: tuple[np.ndarray, ...], shuffle: int, part: int) -> set[int]:
    return set(np.concatenate([images[cloud] for cloud in way.parts[shuffle, part]]).tolist())


def test_no_two_parts_share_an_image() -> None:
    ways, images = part_clouds_plan(160, seed=3)
    assert {way.kind for way in ways} == {"whole", "subsets", "pooled", "averaged"}
    for way in ways:
        shuffles, parts, clouds = way.parts.shape
        assert parts >= 2
        assert clouds == way.clouds
        for shuffle in range(shuffles):
            every = [images_of(way, images, shuffle, part) for part in range(parts)]
            assert len(set.union(*every)) == sum(map(len, every))
            assert all(len(part) <= way.images for part in every)


def test_both_kinds_of_batches_are_of_the_same_images() -> None:
    ways, images = part_clouds_plan(160)
    pooled, averaged = (
        {way.images: way for way in ways if way.kind == kind} for kind in ("pooled", "averaged")
    )
    assert [size // BATCH for size in pooled] == [1, 3, 5, 7, 10]
    for size, way in pooled.items():
        assert {len(images[cloud]) for cloud in averaged[size].parts.ravel()} == {BATCH}
        assert averaged[size].clouds == size // BATCH
        assert images_of(way, images, 1, 1) == images_of(averaged[size], images, 1, 1)


def test_fewer_subsets_of_a_half_are_the_first_of_more() -> None:
    ways, images = part_clouds_plan(160)
    halves = [way for way in ways if way.kind == "subsets"]
    assert [way.clouds for way in halves] == list(SUBSETS)
    assert {way.images for way in halves} == {80}
    most = halves[-1].parts
    assert all((way.parts == most[:, :, : way.clouds]).all() for way in halves)
    assert {len(images[cloud]) for cloud in most.ravel()} == {40}


def test_few_images_have_fewer_ways() -> None:
    assert {way.kind for way in part_clouds_plan(39)[0]} == {"pooled", "averaged"}
    assert {way.images for way in part_clouds_plan(16)[0]} == {8}
    assert part_clouds_plan(15)[0] == ()


def test_the_loops_are_those_of_the_submatrix() -> None:
    points = circle(48, noise=0.3)
    progress: list[Progress] = []
    made = part_clouds(report(layer("a", points), layer("b", blobs(24))), progress=progress.append)
    assert [(step.layer, step.done, step.total) for step in progress] == [("a", 0, 2), ("b", 1, 2)]
    distances = distances_of(points)
    for number in (0, len(made.images) // 2, len(made.images) - 1):
        chosen = made.images[number]
        expected = ripser(distances[np.ix_(chosen, chosen)], distance_matrix=True)["dgms"][1]
        assert np.allclose(np.sort(made.layers[0].diagrams[number], axis=0),
                           np.sort(expected, axis=0), atol=1e-5)  # fmt: skip


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(ModelError, match="at least 16 images"):
        part_clouds(report(layer("a", blobs(7))))
    with pytest.raises(ModelError, match="No layer has finite"):
        part_clouds(report(layer("a")))


@pytest.fixture
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))


@pytest.mark.usefixtures("_home")
def test_they_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    analysed = report(layer("a", blobs(10)), layer("lost"), layer("b", circle(20, noise=0.3)))
    analysed = replace(analysed, samples=20)
    request = PartsRequest("0" * 32, seed=2)
    made = saved_parts(request, analysed)
    assert made.notes == ()
    monkeypatch.setattr(part_store, "part_clouds", lambda *_, **__: pytest.fail("twice"))
    loaded = saved_parts(request, analysed)
    assert [e.name for e in loaded.layers] == ["a", "b"]
    for one, other in zip(made.layers, loaded.layers, strict=True):
        for first, second in zip(one.diagrams, other.diagrams, strict=True):
            assert np.array_equal(first, second)
    assert all(map(np.array_equal, made.images, loaded.images))
    assert load_parts(PartsRequest("0" * 32, seed=3), analysed) is None


@pytest.mark.usefixtures("_home")
def test_a_damaged_file_and_one_of_other_images_count_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    analysed = report(layer("a", blobs(10)))
    request = PartsRequest("1" * 32)
    path = save_parts(request, part_clouds(analysed))
    assert load_parts(request, analysed) is not None
    assert load_parts(request, report(layer("a", blobs(20)))) is None
    with monkeypatch.context() as patch:
        patch.setattr(part_store, "_VERSION", 2)
        assert load_parts(request, analysed) is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_parts(request, analysed) is None
