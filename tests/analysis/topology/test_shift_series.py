"""Analyses at every severity of a shift, against the raw clouds and plain analyses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ripser import ripser
from scipy.spatial.distance import pdist, squareform

from analysis.__main__ import main
from analysis.datasets import load_dataset
from analysis.errors import OptionError
from analysis.models import load_model, prepare_images
from analysis.options import AnalysisOptions
from analysis.progress import Progress
from analysis.selection.drift import drift
from analysis.topology import pipeline
from analysis.topology.pipeline import analyze_named
from analysis.topology.shift_series import (
    ShiftRequest,
    ShiftSeries,
    load_series,
    make_series,
    series_keys,
)
from analysis.topology.store import fingerprint, fingerprints

FEW = AnalysisOptions(model="pocket-vgg", samples=8, pooling="pooled", seed=3)
REQUEST = ShiftRequest(FEW, "contrast")


@pytest.fixture(scope="module", autouse=True)
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTISCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def steps() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def series(steps: list[Progress]) -> ShiftSeries:
    assert load_series(REQUEST, series_keys(REQUEST)) is None
    return make_series(REQUEST, progress=steps.append)


def test_each_severity_is_that_of_the_raw_cloud(series: ShiftSeries) -> None:
    model = load_model("pocket-vgg").eval()
    seen: dict[str, np.ndarray] = {}
    name = "features.5"
    model.get_submodule(name).register_forward_hook(
        lambda _, __, output: seen.update(now=output.flatten(1).double().numpy())
    )
    for severity, report in enumerate(series.reports):
        how = {"shift": "contrast", "severity": severity} if severity else {}
        drawn = load_dataset("digits", **how).sample(8, seed=3)  # type: ignore[arg-type]
        with torch.no_grad():
            model(prepare_images("pocket-vgg", drawn.images))
        raw = squareform(pdist(seen["now"]))
        assert np.allclose(report.layer(name).distances, raw, rtol=1e-5, atol=1e-6)
        loops = ripser(raw, distance_matrix=True, maxdim=1)["dgms"][1]
        assert report.layer(name).b1 == len(loops)


def test_it_is_made_of_plain_analyses_and_never_twice(
    series: ShiftSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [FEW, *(replace(FEW, seed=seed) for seed in (4, 5, 6, 7))]
    monkeypatch.setattr(pipeline, "_compute", None)  # nothing may be computed
    for options, report in zip(plain, (series.reports[0], *series.redrawn), strict=True):
        stored = analyze_named(options)
        assert stored.stored
        assert [layer.b1 for layer in stored.layers] == [layer.b1 for layer in report.layers]
    again, loaded = make_series(REQUEST), load_series(REQUEST, series_keys(REQUEST))
    assert loaded is not None
    for other in (again, loaded):
        assert len(other.reports) == 6
        for one, two in zip((*series.reports, *series.redrawn), (*other.reports, *other.redrawn),
                            strict=True):  # fmt: skip
            assert all(
                np.array_equal(a.distances, b.distances)
                for a, b in zip(one.layers, two.layers, strict=True)
            )


def test_progress_only_grows_and_says_which_analysis_it_is(
    series: ShiftSeries, steps: list[Progress]
) -> None:
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert {step.total for step in steps} == {10_000}
    assert 9_900 <= done[-1] <= 10_000
    names = list(dict.fromkeys(step.layer.partition(",")[0] for step in steps))
    assert names == [
        "No shift", *(f"Contrast {s}" for s in range(1, 6)), *(f"Draw {d}" for d in range(1, 5)),
    ]  # fmt: skip


def test_a_stop_leaves_the_analyses_that_are_done(series: ShiftSeries) -> None:
    request = ShiftRequest(FEW, "rotation")

    def stop(step: Progress) -> None:
        if step.layer.startswith("Rotation 2"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        make_series(request, progress=stop)
    assert load_series(request, series_keys(request)) is None
    assert analyze_named(request.severities[1]).stored


def test_the_shift_of_the_options_plays_no_part() -> None:
    shifted = replace(FEW, shift="noise", severity=5)
    assert ShiftRequest(shifted, "contrast") == REQUEST
    with pytest.raises(OptionError, match="`shift` must be a shift, got 'none'"):
        ShiftRequest(FEW, "none")
    with pytest.raises(OptionError, match="got 'fog'"):
        ShiftRequest(FEW, "fog")


def test_draws_that_would_not_show_luck_are_not_made() -> None:
    random = ShiftRequest(replace(FEW, weights="random"), "blur")
    assert random.redraws == []
    assert "other random weights" in random.why_no_redraws
    many = ShiftRequest(replace(FEW, samples=600), "blur")
    assert many.redraws == []
    assert "of 1,078 images, two draws of 600 would be much the same" in many.why_no_redraws
    assert many.why_no_redraws.endswith("Analyse at most 539.")
    assert len(ShiftRequest(replace(FEW, samples=539), "blur").redraws) == 4
    last = ShiftRequest(replace(FEW, seed=2**32 - 1), "blur")
    assert [options.seed for options in last.redraws] == [0, 1, 2, 3]


def test_many_fingerprints_are_those_of_each() -> None:
    several = [FEW, replace(FEW, weights="random"), replace(FEW, weights="random", seed=9),
               replace(FEW, dataset="fashion"), replace(FEW, shift="blur")]  # fmt: skip
    assert fingerprints(several) == [fingerprint(options) for options in several]
    assert len(set(fingerprints(several))) == 5


def test_the_command_line_says_what_the_page_would(
    series: ShiftSeries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drift.json"
    few = ["analyze", "--model", "pocket-vgg", "--samples", "8", "--pooling", "pooled"]
    asked = [*few, "--seed", "3", "--rho", "0.3", "--severities"]
    assert main([*asked, "--shift", "contrast", "--json", str(path)]) == 0
    known = drift(series, rho=0.3)
    written = json.loads(path.read_text())["drift"]
    assert written["shared"] == known.shared
    assert written["shared_by_draws"] == list(known.pairs)
    assert [row["b1"] for row in written["severities"][5]] == known.values("b1")[:, 5].tolist()
    said = capsys.readouterr().err
    assert all(f"note: {known.sentence(severity)}" in said for severity in range(1, 6))
    assert main(asked) == 2
    assert "`severities` needs a `shift`, got 'none'" in capsys.readouterr().err
