"""Images in a model's input format: the same at once and block by block."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import analysis.topology.inputs
from analysis.datasets import ImageDataset, load_dataset
from analysis.errors import OptionError
from analysis.models import prepare_images
from analysis.options import AnalysisOptions, RunOptions
from analysis.system.devices import available_devices
from analysis.topology.inputs import PreparedImages, prepare_inputs
from analysis.topology.pipeline import analyze_named
from analysis.training.fine_tune import Training

OPTIONS = AnalysisOptions(model="pocket-vgg", samples=12)


@pytest.fixture
def drawn() -> ImageDataset:
    return load_dataset("digits").sample(12, seed=0)


def test_few_images_are_prepared_at_once(drawn: ImageDataset) -> None:
    expected = prepare_images("pocket-vgg", drawn.images)
    prepared = prepare_inputs(OPTIONS, drawn)
    assert isinstance(prepared, torch.Tensor)
    assert torch.equal(prepared, expected)


def test_many_images_are_prepared_when_they_are_read(
    drawn: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare_inputs(OPTIONS, drawn)
    assert isinstance(whole, torch.Tensor)
    size = whole.numel() * whole.element_size()
    monkeypatch.setattr(analysis.topology.inputs, "HELD_BYTES", size)
    assert isinstance(prepare_inputs(OPTIONS, drawn), torch.Tensor)
    monkeypatch.setattr(analysis.topology.inputs, "HELD_BYTES", size - 1)
    lazy = prepare_inputs(OPTIONS, drawn)
    assert isinstance(lazy, PreparedImages)
    assert len(lazy) == 12
    assert torch.equal(lazy[3:7], whole[3:7])
    assert torch.equal(lazy.images(torch.tensor([5, 2])), whole[[5, 2]])
    assert lazy.labels.tolist() == drawn.labels.tolist()


def test_the_model_gets_images_of_another_input_side(drawn: ImageDataset) -> None:
    options = AnalysisOptions(model="mobilenet_v2", weights="random", input_side=64)
    assert PreparedImages(options, drawn)[:2].shape == (2, 3, 64, 64)


def test_an_analysis_of_images_prepared_block_by_block_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "one"))
    at_once = analyze_named(OPTIONS)
    monkeypatch.setattr(analysis.topology.inputs, "HELD_BYTES", 0)
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "other"))
    lazily = analyze_named(OPTIONS)
    for one, other in zip(at_once.layers, lazily.layers, strict=True):
        np.testing.assert_array_equal(one.distances, other.distances)


def test_an_analysis_runs_in_the_chosen_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    full, half = analyze_named(OPTIONS), analyze_named(replace(OPTIONS, precision="bfloat16"))
    assert (full.layers[0].distances != half.layers[0].distances).any()
    np.testing.assert_allclose(half.layers[0].distances, full.layers[0].distances, rtol=0.05)


def test_a_budget_covers_the_whole_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    with pytest.raises(OptionError, match=r"`memory` must be more than the .* got 90 MB"):
        analyze_named(replace(OPTIONS, memory=90_000_000))


def test_a_missing_device_is_reported_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    missing = next(d for d in ("cuda", "mps") if d not in available_devices())
    options = replace(OPTIONS, device=missing)
    with pytest.raises(OptionError, match=f"`device` must be .* on this machine, got '{missing}'"):
        analyze_named(options)
    with pytest.raises(OptionError, match=f"`device` must be .* on this machine, got '{missing}'"):
        Training(RunOptions(options))
    assert Training(RunOptions(replace(options, device="cpu"))).device == "cpu"
