"""The whole chain against Ripser and scikit-learn on raw clouds."""

from __future__ import annotations

import gc
import math
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ripser import ripser
from sklearn.cluster import DBSCAN
from torch import Tensor, nn

import analysis.topology.pipeline
from analysis.datasets import load_dataset
from analysis.errors import AnalysisStopped, OptionError
from analysis.models import load_model, prepare_images
from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.results import TopologyReport
from analysis.topology.clustering import MIN_NEIGHBOURS
from analysis.topology.pipeline import analyze, analyze_named
from analysis.topology.resummarize import resummarize
from analysis.topology.store import fingerprint, is_saved
from tests.analysis.datasets.picture_files import class_folders, png_bytes
from tests.factories import POCKET


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
    )


def images(count: int = 24) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def raw_clouds(model: nn.Module, inputs: Tensor, batch_size: int = 8) -> dict[str, np.ndarray]:
    """Every module's outputs by the plain recipe: batch by batch, and all kept."""
    clouds: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: object, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            clouds.setdefault(name, []).append(tensor.detach().clone().flatten(1))

        return hook

    handles = [m.register_forward_hook(keep(n)) for n, m in model.named_modules() if n]
    with torch.no_grad():
        for batch in inputs.split(batch_size):
            model(batch)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts).numpy() for name, parts in clouds.items()}


@pytest.mark.parametrize("dataset", ["digits", "fashion"])
@pytest.mark.parametrize("name", POCKET)
def test_b1_matches_ripser_on_the_raw_pooled_cloud(name: str, dataset: str) -> None:
    model = load_model(name)
    inputs = prepare_images(name, load_dataset(dataset).sample(40, seed=0).images)
    report = analyze(model, inputs)
    clouds = raw_clouds(model, inputs)
    apart = []
    for layer in report.layers:
        births, deaths = ripser(clouds[layer.name], maxdim=1)["dgms"][1].T
        loops = int((deaths - births > 1e-5 * deaths).sum())  # the others are rounding
        apart.append(abs(layer.b1 - loops))
    assert sum(d > 0 for d in apart) <= 0.01 * len(apart)
    assert max(apart) <= 1
    assert report.never_run == report.outside == ()
    assert report.head == report.names[-1]
    owned = sum(p.numel() for p in model.parameters()) - sum(
        p.numel() for p in model.parameters(recurse=False)
    )
    assert sum(layer.parameters for layer in report.layers) == owned


def test_clusters_match_scikit_learn_on_the_raw_cloud() -> None:
    model = load_model("pocket-vgg")
    inputs = prepare_images("pocket-vgg", load_dataset("fashion").sample(40, seed=0).images)
    clouds = raw_clouds(model, inputs)
    for layer in analyze(model, inputs).layers:
        assert layer.clustering is not None
        cloud = clouds[layer.name].astype(np.float64)
        # eps is the k-distance of some point: rounding must not decide whether it is within.
        own = DBSCAN(eps=layer.clustering.eps * (1 + 1e-5), min_samples=MIN_NEIGHBOURS).fit(cloud)
        assert own.labels_.max() + 1 == layer.clustering.count


def test_per_batch_averages_the_full_batches() -> None:
    model, inputs = network(), images(22)
    report = analyze(model, inputs, pooling="per-batch", batch_size=10)
    clouds = raw_clouds(model.eval(), inputs)
    for layer in report.layers:
        halves = (clouds[layer.name][:10], clouds[layer.name][10:20])
        counts = [len(ripser(half, maxdim=1)["dgms"][1]) for half in halves]
        assert layer.b1 == np.mean(counts)
        assert len(layer.diagram) == sum(counts)


def test_images_in_another_order_give_the_same_topology() -> None:
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    first, second = analyze(network(), images()), analyze(network(), images()[order])
    assert [layer.b1 for layer in first.layers] == [layer.b1 for layer in second.layers]
    assert max(layer.b1 for layer in first.layers) > 0


def test_batch_size_changes_nothing_when_pooled() -> None:
    first, second = analyze(network(), images()), analyze(network(), images(), batch_size=3)
    for one, other in zip(first.layers, second.layers, strict=True):
        np.testing.assert_array_equal(one.distances, other.distances)


def test_sizes_are_those_of_the_whole_cloud() -> None:
    report = analyze(network(), images())
    frame = report.to_frame()
    assert frame["layer"].tolist() == ["0", "1", "4"]
    assert frame["activation_size"].tolist() == [24 * 144, 24 * 144, 24 * 5]
    assert frame["parameters"].tolist() == [40, 8, 725]
    assert report.layers[0].distances.dtype == np.float32
    assert report.layers[0].distances.shape == (24, 24)


def test_a_layer_that_is_not_finite_is_named_and_the_others_are_analysed() -> None:
    class Spoils(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.spoilt = nn.Linear(6, 6), nn.Linear(6, 6)
            self.spoilt.bias.data[2] = float("nan")
            self.after = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.fine(x)
            return self.after(x + 0 * torch.nan_to_num(self.spoilt(x)))

    report = analyze(Spoils(), torch.randn(12, 6))
    assert report.not_finite == ["spoilt"]
    spoilt = report.layer("spoilt")
    assert math.isnan(spoilt.b1)
    assert spoilt.clustering is None
    assert [report.layer(n).b1 >= 0 for n in ("fine", "after")] == [True, True]
    assert report.to_frame()["clusters"].isna().tolist() == [False, True, False]


def test_minimum_persistence_leaves_short_loops_out() -> None:
    every = analyze(network(), images())
    lives = np.diff(every.layers[0].diagram, axis=1)
    middle = float(np.median(lives))
    long = analyze(network(), images(), min_persistence=middle)
    assert long.layers[0].b1 == (lives > middle).sum() < every.layers[0].b1
    reread_layers = resummarize(every, min_persistence=middle).layers
    assert [a.b1 for a in reread_layers] == [b.b1 for b in long.layers]


def test_progress_comes_layer_by_layer_and_can_stop_the_analysis() -> None:
    model, seen = network().train(), []

    def stop_at_third(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == 3:
            raise AnalysisStopped("stopped")

    with pytest.raises(AnalysisStopped):
        analyze(model, images(), progress=stop_at_third)
    assert [(p.layer, p.done, p.total) for p in seen] == [("0", 0, 6), ("1", 1, 6), ("4", 2, 6)]
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())

    seen.clear()
    analyze(model, images(), progress=lambda p: seen.append(p))
    assert [p.done for p in seen] == list(range(6))
    assert [p.stage for p in seen] == ["Forward pass"] * 3 + ["Topology"] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
        ({"pooling": "all"}, "`pooling` must be one of pooled, per-batch, subsets; got 'all'"),
        ({"pooling": "per-batch", "batch_size": 25}, "from 4 to the number of images"),
        ({"min_persistence": -1.0}, "`min_persistence` must be at least 0, got -1"),
    ],
)
def test_options_out_of_range_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        analyze(network(), images(), **change)


def test_images_of_the_wrong_kind_are_named() -> None:
    with pytest.raises(
        OptionError, match=r"floating tensor \(N, C, H, W\), got torch.int64 \(5, 2\)"
    ):
        analyze(network(), torch.zeros(5, 2, dtype=torch.int64))
    with pytest.raises(OptionError, match="at least 4 images, got 3"):
        analyze(network(), images(3))


def test_a_saved_analysis_is_not_computed_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    options = AnalysisOptions(model="pocket-vgg", samples=8)
    first = analyze_named(options)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(analysis.topology.pipeline, "analyze", never)
    assert [layer.b1 for layer in analyze_named(options).layers] == [
        layer.b1 for layer in first.layers
    ]


@pytest.mark.parametrize("known", [False, True])
def test_an_analysis_takes_one_fingerprint_and_one_to_check_it(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    options = AnalysisOptions(model="pocket-vgg", samples=8)
    key = fingerprint(options)
    keys: list[str] = []

    def count(options: AnalysisOptions) -> str:
        keys.append(fingerprint(options))
        return keys[-1]

    monkeypatch.setattr(analysis.topology.pipeline, "fingerprint", count)
    monkeypatch.setattr(analysis.topology.store, "fingerprint", count)
    analyze_named(options, key=key if known else "")
    assert keys == [key] * (1 if known else 2)
    assert is_saved(key)
    analyze_named(options, key=key)
    assert len(keys) == (1 if known else 2)  # the store has it


def test_an_analysis_that_cannot_be_saved_is_returned(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "file"))
    report = analyze_named(AnalysisOptions(model="pocket-vgg", samples=8))
    assert len(report.layers) == 10
    assert len(report.notes) == 1
    assert "could not be saved" in report.notes[0]


@pytest.mark.parametrize("change", ["an image more", "all gone"])
def test_an_analysis_of_images_that_changed_during_it_is_not_saved(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))
    pets = class_folders(tmp_path / "pets", {"cat": 10, "dog": 10})
    options = AnalysisOptions(model="pocket-vgg", dataset=f"folder:{pets}", samples=8)

    def changing(*arguments: Any, **named: Any) -> TopologyReport:
        if change == "all gone":
            shutil.rmtree(pets)
        else:
            (pets / "cat" / "new.png").write_bytes(png_bytes(99))
        return analyze(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(analysis.topology.pipeline, "analyze", changing)
        report = analyze_named(options)
    assert len(report.layers) == 10
    (note,) = report.notes
    assert "changed during the analysis" in note
    assert not (tmp_path / "home" / "analyses").exists()
    if change == "an image more":
        assert analyze_named(options).notes == ()
        assert is_saved(fingerprint(options))


@pytest.mark.parametrize("fails", [False, True])
def test_the_allocators_cache_is_freed_when_an_analysis_ends(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))
    resident: list[int] = []
    models: list[weakref.ref[nn.Module]] = []

    def loading(*arguments: Any, **named: Any) -> nn.Module:
        model = load_model(*arguments, **named)
        models.append(weakref.ref(model))
        return model

    def look(device: torch.device) -> None:
        assert device == torch.device("cpu")
        resident.append(sum(model() is not None for model in models))

    monkeypatch.setattr(analysis.topology.pipeline, "load_model", loading)
    monkeypatch.setattr(analysis.topology.pipeline, "free_cache", look)
    options = AnalysisOptions(model="pocket-vgg", samples=8, memory=1 if fails else 0)
    options = replace(options, device="cpu")
    if fails:
        with pytest.raises(OptionError, match="`memory` must be more than"):
            analyze_named(options)
        assert len(resident) == 1
    else:
        gc.collect()
        gc.disable()  # nothing may wait for it: it can be long in coming
        try:
            analyze_named(options)
        finally:
            gc.enable()
        assert resident == [0]  # only what nobody holds can be freed
