"""Mixtures of clean and shifted images, against plain analyses and the raw clouds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from ripser import ripser
from scipy.spatial.distance import pdist, squareform

from analysis.datasets import load_dataset
from analysis.errors import OptionError
from analysis.models import load_model, prepare_images
from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.results import TopologyReport
from analysis.topology import mixtures
from analysis.topology.mixtures import (
    STEPS,
    MixtureRequest,
    load_mixtures,
    mixed_images,
    mixture_key,
    save_mixtures,
)
from analysis.topology.pipeline import analyze_named
from analysis.topology.store import fingerprint

OPTIONS = AnalysisOptions(
    model="pocket-vgg", samples=30, batch_size=10, subsets=7, shift="contrast", severity=4, seed=3
)
REQUEST = MixtureRequest(OPTIONS)


@pytest.fixture(scope="module", autouse=True)
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTISCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def steps() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def reports(steps: list[Progress]) -> tuple[TopologyReport, ...]:
    assert load_mixtures(REQUEST, mixture_key(fingerprint(OPTIONS))) is None
    key = save_mixtures(REQUEST, progress=steps.append).key
    made = load_mixtures(REQUEST, key)
    assert made is not None
    return made


def test_a_growing_share_of_the_images_is_shifted_and_stays_so() -> None:
    images = mixed_images(30, seed=3)
    shifted = images >= 30
    assert shifted.sum(axis=1).tolist() == [3 * step for step in range(STEPS)]
    assert (images % 30 == np.arange(30)).all()
    assert (shifted[1:] | ~shifted[:-1]).all()


def test_the_ends_are_the_plain_analyses(reports: tuple[TopologyReport, ...]) -> None:
    for report, options in ((reports[0], REQUEST.clean), (reports[-1], OPTIONS)):
        plain = analyze_named(options)
        assert report.samples == plain.samples
        assert np.array_equal(report.clouds, plain.clouds)
        for ours, theirs in zip(report.layers, plain.layers, strict=True):
            assert np.allclose(ours.distances, theirs.distances, rtol=1e-4, atol=1e-5)
            assert ours.b1 == pytest.approx(theirs.b1, abs=0.15)  # ties of rounded distances
            assert ours.activation_size == theirs.activation_size


def test_a_mixture_is_that_of_the_raw_cloud(reports: tuple[TopologyReport, ...]) -> None:
    name, step = "features.5", 4
    model = load_model("pocket-vgg").eval()
    seen: dict[str, np.ndarray] = {}
    model.get_submodule(name).register_forward_hook(
        lambda _, __, output: seen.update(now=output.flatten(1).double().numpy())
    )
    clean = load_dataset("digits").sample(30, seed=3).images
    shifted = load_dataset("digits", shift="contrast", severity=4).sample(30, seed=3).images
    replaced = mixed_images(30, seed=3)[step] >= 30
    assert replaced.sum() == 12
    mixed = np.where(replaced[:, None, None, None], shifted, clean)
    with torch.no_grad():
        model(prepare_images("pocket-vgg", mixed))
    raw = squareform(pdist(seen["now"]))
    layer = reports[step].layer(name)
    assert np.allclose(layer.distances, raw, rtol=1e-4, atol=1e-5)
    counts = [
        len(ripser(raw[np.ix_(cloud, cloud)], distance_matrix=True, maxdim=1)["dgms"][1])
        for cloud in reports[step].clouds
    ]
    assert layer.b1 == pytest.approx(np.mean(counts), abs=0.15)
    assert len(layer.diagrams) == 7


def test_they_are_made_once(
    reports: tuple[TopologyReport, ...], steps: list[Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixtures, "_analyze_both", None)  # nothing may be computed
    assert save_mixtures(REQUEST).stored
    assert [step.layer for step in steps if step.stage == "Mixing"] == reports[0].names
    other = MixtureRequest(replace(OPTIONS, severity=5))
    assert mixture_key(fingerprint(other.options)) != mixture_key(fingerprint(OPTIONS))


def test_pooled_images_are_one_cloud_of_each_mixture() -> None:
    request = MixtureRequest(replace(OPTIONS, samples=12, pooling="pooled"))
    made = load_mixtures(request, save_mixtures(request).key)
    assert made is not None
    assert {report.clouds.shape for report in made} == {(1, 12)}
    assert {len(layer.diagrams) for report in made for layer in report.layers} == {1}


def test_images_without_a_shift_are_refused() -> None:
    with pytest.raises(OptionError, match="`shift` must be a shift, got 'none'"):
        MixtureRequest(replace(OPTIONS, shift="none"))
