"""Costs computed by hand from an invented probe, and a real probe against a real analysis."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import analysis.costs.probing
from analysis.costs.analysis_cost import (
    AnalysisCost,
    CostRequest,
    Probe,
    analysis_cost,
    is_quick,
)
from analysis.costs.probing import probe
from analysis.datasets import load_dataset
from analysis.errors import OptionError
from analysis.instruments.activations import watch
from analysis.models import load_model, prepare_images
from analysis.options import AnalysisOptions
from analysis.topology.passes import HELD_BYTES, Budget
from analysis.topology.pipeline import analyze
from tests.predictions import MB, PROBE


def cost(samples: int, memory: int = 0, probe: Probe = PROBE) -> AnalysisCost:
    return analysis_cost(probe, AnalysisOptions(samples=samples, memory=memory))


def number(pattern: str, sentence: str) -> int:
    match = re.search(pattern, sentence)
    assert match is not None, sentence
    return int(match[1])


def test_seconds_are_the_sum_of_their_parts() -> None:
    ripser = 0.02 * (40 / 200) ** 2.5
    expected = 0.5 + 1.35 * (40 * 0.11 + 40**2 * 0.001) + 10 * (0.002 + ripser)
    assert cost(40).seconds == pytest.approx(expected)
    assert (cost(40).passes, cost(40).fits, cost(40).suggestion) == (1, True, "")


def test_several_passes_take_longer_and_say_so() -> None:
    room = PROBE.footprint.of_matrices(40) + PROBE.footprint.of_pass(20) + 40 * 1000
    several = cost(40, memory=400 * MB + room)
    assert several.passes == 6  # four blocks
    assert several.fits
    pairs = 6 * 20**2
    ripser = 0.02 * (40 / 200) ** 2.5
    expected = 0.5 + 1.35 * (3 * 40 * 0.11 + pairs * 0.001) + 10 * (0.002 + ripser)
    assert several.seconds == pytest.approx(expected)
    assert several.peak_bytes <= 400 * MB + room
    assert "need 6 passes, 3 times the work of one" in several.suggestion
    at_once = number(r"At most (\d+) fit into one pass", several.suggestion)
    assert cost(at_once, memory=400 * MB + room).passes == 1
    assert 20 <= at_once < 25
    assert cost(25, memory=400 * MB + room).passes > 1


def test_the_peak_is_of_the_whole_process() -> None:
    prediction = cost(40)
    needed = PROBE.footprint.of_matrices(40) + PROBE.footprint.of_pass(40)
    assert prediction.peak_bytes == 400 * MB + 40 * 1000 + needed


def test_an_analysis_that_does_not_fit_names_one_that_would() -> None:
    prediction = cost(5000)
    assert not prediction.fits
    most = number(r"use at most (\d+) images", prediction.suggestion)
    assert prediction.peak_bytes > 1400 * MB
    assert cost(most).fits
    assert not cost(round(1.01 * most)).fits
    nothing = cost(40, memory=410 * MB)
    assert not nothing.fits
    assert "Even two images at a time" in nothing.suggestion
    below = cost(40, memory=300 * MB)
    assert not below.fits
    assert below.suggestion.startswith(
        "The memory limit is 300 MB, but the program, the weights and the images alone take 400 MB"
    )


def test_images_count_only_if_they_are_prepared_at_once() -> None:
    large = replace(PROBE, input_bytes=HELD_BYTES // 100)
    in_memory, lazy = cost(100, probe=large), cost(101, probe=large)
    assert in_memory.peak_bytes - lazy.peak_bytes > 0.9 * HELD_BYTES


def test_with_a_gpu_the_peak_is_that_of_the_gpu() -> None:
    gpu = replace(PROBE, held_bytes=100 * MB, free=Budget(800 * MB, host=2000 * MB))
    prediction = cost(40, probe=gpu)
    assert prediction.peak_bytes == 100 * MB + PROBE.footprint.of_pass(40)


def test_a_model_is_probed_once_for_any_images() -> None:
    one = CostRequest(AnalysisOptions(samples=40, seed=1, dataset="digits", weights="random"))
    other = CostRequest(AnalysisOptions(samples=400, dataset="fashion", memory=10**9))
    assert one == other
    for change in ({"model": "pocket-vit"}, {"input_side": 64}, {"precision": "bfloat16"}):
        assert CostRequest(replace(AnalysisOptions(), **change)) != one


@pytest.mark.parametrize(
    ("quick", "options"),
    [
        (True, {"samples": 400}),  # in subsets of 40
        (True, {"samples": 200, "pooling": "pooled"}),
        (False, {"samples": 401}),
        (False, {"samples": 201, "pooling": "pooled"}),
        (False, {"samples": 400, "subsets": 201}),
        (False, {"samples": 40, "model": "resnet18", "weights": "random"}),
        (False, {"samples": 40, "input_side": 224}),
        (False, {"samples": 40, "dataset": "pets"}),  # must be downloaded
    ],
)
def test_only_what_takes_seconds_needs_no_question(quick: bool, options: dict[str, Any]) -> None:
    assert is_quick(AnalysisOptions(**options)) is quick


@pytest.mark.parametrize("name", ["pocket-vgg", "pocket-vit"])
def test_a_probe_predicts_the_cost_of_an_analysis(name: str) -> None:
    options = AnalysisOptions(model=name, samples=40)
    probed = probe(CostRequest(options))
    prediction = analysis_cost(probed, options)
    images = prepare_images(name, load_dataset("digits").sample(40, seed=0).images)
    model = load_model(name)
    report = analyze(model, images)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    # The ledger sees neither the program nor what kernels and the allocator take.
    assert prediction.fits
    measured = report.peak_bytes - weights
    assert measured < prediction.peak_bytes - probed.held_bytes < measured + 100 * MB
    assert report.seconds / 20 < prediction.seconds < 20 * report.seconds


def test_a_probe_counts_layers_and_input_as_the_analysis_does() -> None:
    probed = probe(CostRequest(AnalysisOptions(model="pocket-vgg")))
    images = prepare_images("pocket-vgg", load_dataset("digits").sample(8, seed=0).images)
    assert probed.footprint.layers == len(analyze(load_model("pocket-vgg"), images).layers)
    assert probed.input_bytes == 3 * 32 * 32 * 4
    assert min(probed.trace_seconds, probed.image_seconds, probed.layer_seconds) > 0
    assert probed.distance_seconds + probed.pair_seconds > 0  # either may be lost in the noise


def test_a_probe_times_no_more_images_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counting(model: nn.Module, images: Tensor, *rest: Any) -> None:
        seen.append(len(images))
        watch(model, images, *rest)

    request = CostRequest(AnalysisOptions(model="pocket-vgg", device="cpu"))
    room = probe(request).footprint.peak(5, 5, Budget(0))
    monkeypatch.setattr(analysis.costs.probing, "watch", counting)
    monkeypatch.setattr(analysis.costs.probing, "_SECONDS", 1e9)  # however slow it is
    for free, expected in ((10**12, 32), (room, 5), (0, 2)):
        monkeypatch.setattr(
            analysis.costs.probing, "free_budget", lambda _, free=free: Budget(free)
        )
        seen.clear()
        probe(request)
        assert seen == [2, expected]


def test_the_allocators_cache_is_freed_when_a_probe_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    freed: list[torch.device] = []
    monkeypatch.setattr(analysis.costs.probing, "free_cache", freed.append)
    probe(CostRequest(AnalysisOptions(model="pocket-vgg", device="cpu")))
    assert freed == [torch.device("cpu")]


def test_a_model_that_cannot_be_probed_is_reported() -> None:
    with pytest.raises(OptionError, match="model"):
        probe(CostRequest(AnalysisOptions(model="no-such-model")))


def test_costs_need_no_torch() -> None:
    root = Path(__file__).resolve().parents[3]
    code = "import sys, analysis.costs.analysis_cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
