"""Analyses without some images: the other subsets stay, and the loops are Ripser's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import ModelError, OptionError, StoreError
from analysis.progress import Progress
from analysis.results import TopologyReport
from analysis.topology import removal_store
from analysis.topology.part_clouds import PartClouds
from analysis.topology.part_store import PartsRequest
from analysis.topology.persistence import persistence
from analysis.topology.removal import clouds_without, without_images
from analysis.topology.removal_store import RemovalRequest, saved_removal
from analysis.topology.store import save_analysis
from analysis.topology.subsets import draw_subsets
from analysis.worker import ANSWERS
from tests.factories import blobs, circle, distances_of, layer, report

POINTS = circle(24, noise=0.4)


@pytest.fixture
def analysed() -> TopologyReport:
    clouds = draw_subsets(24, 8, 12, seed=0)
    distances = distances_of(POINTS)
    diagrams = tuple(persistence(distances[np.ix_(c, c)])[1] for c in clouds)
    measured = replace(layer("a", POINTS), diagrams=diagrams)
    lost = replace(layer("lost"), distances=np.full((24, 24), np.nan, np.float32))
    made = report(measured, lost)
    return replace(made, samples=24, batch_size=8, pooling="subsets", clouds=clouds)


def test_each_removed_image_is_replaced_and_nothing_else(analysed: TopologyReport) -> None:
    clouds = clouds_without(analysed, (3, 4))
    assert not np.isin(clouds, (3, 4)).any()
    for before, after in zip(analysed.clouds, clouds, strict=True):
        assert len(set(after.tolist())) == 8
        assert len(np.intersect1d(before, after)) == 8 - np.isin(before, (3, 4)).sum()
        assert (np.diff(after) > 0).all()


def test_the_loops_are_those_of_the_other_images(analysed: TopologyReport) -> None:
    steps: list[Progress] = []
    smaller = without_images(analysed, (3,), progress=steps.append)
    distances = distances_of(POINTS)
    expected = [persistence(distances[np.ix_(c, c)])[1] for c in smaller.clouds]
    for one, other in zip(smaller.layers[0].diagrams, expected, strict=True):
        assert np.array_equal(one, other)
    assert smaller.layers[0].b1 == np.mean([len(diagram) for diagram in expected])
    assert smaller.layers[1] is analysed.layers[1]
    assert [(step.layer, step.total) for step in steps] == [("a", 1)]


def test_what_cannot_be_left_out_is_said(analysed: TopologyReport) -> None:
    with pytest.raises(ModelError, match="Only 7 images are left"):
        clouds_without(analysed, tuple(range(17)))
    with pytest.raises(ModelError, match="no random subsets"):
        clouds_without(report(layer("a", blobs(8))), (1,))
    with pytest.raises(OptionError, match="`images` must name positions"):
        RemovalRequest("0" * 32, ())


def test_it_is_measured_once(
    analysed: TopologyReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    request = RemovalRequest("0" * 32, (9, 2, 9))
    assert request.images == (2, 9)
    made = saved_removal(request, analysed)
    assert made.notes == ()
    monkeypatch.setattr(removal_store, "without_images", lambda *_, **__: pytest.fail("twice"))
    loaded = saved_removal(request, analysed)
    assert loaded.layers[0].b1 == made.layers[0].b1
    assert np.array_equal(loaded.clouds, made.clouds)
    assert all(map(np.array_equal, loaded.layers[0].diagrams, made.layers[0].diagrams))
    with pytest.raises(StoreError, match="no longer saved"):
        saved_removal(request)


def test_a_worker_measures_it_of_a_saved_analysis(
    analysed: TopologyReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    key = "2" * 32
    save_analysis(key, analysed)
    steps: list[Progress] = []
    answer = ANSWERS[RemovalRequest](RemovalRequest(key, (3,)), steps.append)
    assert isinstance(answer, TopologyReport)
    assert answer.layers[0].b1 == without_images(analysed, (3,)).layers[0].b1
    parts = ANSWERS[PartsRequest](PartsRequest(key), steps.append)
    assert isinstance(parts, PartClouds)
    assert {step.stage for step in steps} == {"Without these images", "Parts of the images"}
    assert len(list((tmp_path / "analyses").glob(f"{key}.*.npz"))) == 2
