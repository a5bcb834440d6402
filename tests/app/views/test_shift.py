"""Compare's section Shift without a browser: the job, the sentence, the charts, and the proof."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import app.cache.shift
from analysis.costs.analysis_cost import analysis_cost
from analysis.datasets import dataset_spec
from analysis.models import weights_fingerprint
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.runs.store import Run, RunStore
from analysis.selection.drift import drift, resummarize_series
from analysis.selection.ranking import ranking
from analysis.sweeps.progress import runs_of
from analysis.text import duration_text
from analysis.topology.mixtures import MixtureRequest, load_mixtures, mixture_key
from analysis.topology.shift_series import (
    ShiftRequest,
    ShiftSeries,
    load_series,
    make_series,
    series_keys,
)
from analysis.topology.store import analyses_folder, fingerprint
from app.components.compare import proof
from app.literal import sentence
from tests.app.pages import button, opened, settled, texts
from tests.predictions import PROBE
from tests.run_factories import finished_run

pytestmark = pytest.mark.usefixtures("home")

SHIFTED = AnalysisOptions(model="pocket-vgg", samples=60, batch_size=20, subsets=6)
OF_SHIFTED = {"model": "pocket-vgg", "samples": "60", "batch_size": "20", "subsets": "6"}


@pytest.fixture(scope="module")
def series(home: Path) -> ShiftSeries:
    return make_series(ShiftRequest(SHIFTED, "contrast"))


def decoded(array: dict[str, Any]) -> np.ndarray:
    """An array as Plotly sends it."""
    values = np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])
    return values.reshape([int(side) for side in array["shape"].split(",")])


def test_a_shift_is_analysed_by_a_worker_once_it_is_asked_for(series: ShiftSeries) -> None:
    page = opened("compare", section="Shift", drift_shift="Blur", **OF_SHIFTED)
    assert not page.exception
    # That without a shift and the other draws serve every shift.
    assert "This takes 10 analyses, of which 5 are saved" in texts(page)
    seconds = 5 * analysis_cost(PROBE, SHIFTED).seconds
    assert f"about {duration_text(seconds)} and" in texts(page)
    assert not page.get("plotly_chart")
    button(page, "Analyse every severity").click().run()
    assert button(page, "Stop")
    settled(page, lambda page: bool(page.get("plotly_chart")))
    assert not page.exception
    known = load_series(request := ShiftRequest(SHIFTED, "blur"), series_keys(request))
    assert known is not None
    assert sentence(drift(known).sentence(5)) in texts(page)


def test_stop_leaves_the_button_and_what_is_saved(series: ShiftSeries) -> None:
    page = opened("compare", section="Shift", drift_shift="Rotation", **OF_SHIFTED)
    button(page, "Analyse every severity").click().run()
    button(page, "Stop").click().run()
    assert not page.exception
    assert "Stopped. Press **Analyse every severity** to start again." in texts(page)
    assert button(page, "Analyse every severity")


def test_the_sentence_and_the_charts_follow_rho_and_the_severity(series: ShiftSeries) -> None:
    page = opened("compare", section="Shift", drift_shift="Contrast", rho="0.3", **OF_SHIFTED,
                  drift_severity="4", layer="features.5")  # fmt: skip
    assert not page.exception
    assert sentence(drift(series, rho=0.3).sentence(4)) in texts(page)
    overlap, loops, ranks = (json.loads(c.proto.spec) for c in page.get("plotly_chart"))
    assert overlap["data"][-1]["y"] == drift(series, rho=0.3).shared
    names = series.reports[0].names
    for figure in (loops, ranks):
        (frame,) = figure["layout"]["shapes"]
        assert frame["x0"] + 0.5 == names.index("features.5")
    page.slider(key="rho").set_value(0.6).run()
    page.selectbox(key="normalization").set_value("none").run()
    known = drift(series, rho=0.6, normalization="none")
    assert known.shared != drift(series, rho=0.3).shared
    assert sentence(known.sentence(4)) in texts(page)
    page.button_group(key="drift_severity").set_value(1).run()
    assert sentence(known.sentence(1)) in texts(page)
    overlap = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert overlap["data"][-1]["y"] == known.shared


def test_short_loops_do_not_count_in_the_drift_either(series: ShiftSeries) -> None:
    page = opened("compare", section="Shift", drift_shift="Contrast", **OF_SHIFTED,
                  min_persistence="0.05", persistence_unit="diameter")  # fmt: skip
    assert not page.exception
    long = resummarize_series(series, min_persistence=0.05, persistence_unit="diameter")
    loops = json.loads(page.get("plotly_chart")[1].proto.spec)["data"][0]["z"]
    assert decoded(loops) == pytest.approx(drift(long).values("b1").T)


def test_a_damaged_analysis_of_a_severity_is_named_and_made_again(series: ShiftSeries) -> None:
    request = ShiftRequest(SHIFTED, "contrast")
    path = analyses_folder() / f"{series_keys(request)[3]}.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    app.cache.shift._loaded.clear()
    page = opened("compare", section="Shift", drift_shift="Contrast", **OF_SHIFTED)
    path.write_bytes(whole)
    assert not page.exception
    assert "A saved analysis was damaged" in texts(page)
    assert button(page, "Analyse every severity")


def proof_page(**query: str) -> AppTest:
    return opened("compare", section="Shift", drift_shift="Contrast", **OF_SHIFTED, **query)


def changed_severity(series: ShiftSeries) -> int:
    """A severity at which another set of layers is selected."""
    known = drift(series, rho=0.3, normalization="none")
    return next(s for s in range(5, 0, -1) if known.shared[s] < known.chosen)


def test_the_old_and_the_new_selection_are_queued_with_the_seeds_of_the_recipe(
    series: ShiftSeries, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    severity = changed_severity(series)
    page = proof_page(rho="0.3", drift_severity=str(severity), normalization="none")
    assert not page.exception
    assert "no estimate until a similar run has finished" in texts(page).lower()
    started: list[RunOptions] = []
    monkeypatch.setattr(app.cache.run_queue(), "start", started.extend)
    button(page, "Train 6 runs").click().run()
    assert not page.exception
    assert {(run.strategy, run.recipe.seed) for run in started} == {
        (strategy, seed) for strategy in ("adabet", "stale") for seed in range(3)
    }
    assert {run.analysis for run in started} == {
        replace(SHIFTED, shift="contrast", severity=severity)
    }
    assert {run.rho for run in started} == {0.3}
    rows = page.dataframe[0].value.set_index("Strategy")
    for title, at in (("AdaBet", severity), ("AdaBet before the shift", 0)):
        frame = ranking(series.reports[at], rho=0.3, normalization="none")
        chosen = frame[frame["selected"]].sort_values("rank", kind="stable")["layer"]
        head = frame.loc[frame["head"], "layer"]
        assert rows.loc[title, "Trains"] == ", ".join([*chosen, *head])


def test_what_is_trained_is_shown_and_only_the_rest_is_queued(
    series: ShiftSeries, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    severity = changed_severity(series)
    analysis = replace(SHIFTED, shift="contrast", severity=severity)
    known = {
        "model": weights_fingerprint("pocket-vgg", "pretrained", 0),
        "data": dataset_spec("digits").fingerprint(),
    }

    def with_fingerprints(cells: Iterable[RunOptions], runs: Iterable[Run]) -> object:
        return runs_of(cells, [replace(run, fingerprints=known) for run in runs])

    monkeypatch.setattr(proof, "runs_of", with_fingerprints)
    for seed in range(2):
        for strategy, right in (("adabet", 90), ("stale", 40)):
            options = RunOptions(analysis, strategy, 0.3, "none", recipe=Recipe(seed=seed))
            finished_run(store, options, correct=[True] * right + [False] * (100 - right))
    page = proof_page(rho="0.3", drift_severity=str(severity), normalization="none")
    assert not page.exception
    said = texts(page)
    assert "**AdaBet** did best: 90.0 ± 0.0" in said
    assert "50.0 points more than AdaBet before the shift (" in said
    assert button(page, "Train 2 runs")
    page.number_input(key="proof_seeds").set_value(2).run()
    assert not [b.label for b in page.button if b.label.startswith("Train")]


def test_equal_selections_are_not_trained_twice(series: ShiftSeries) -> None:
    page = proof_page(rho="1.0")
    assert not page.exception
    assert "Both select the same layers at severity 5" in texts(page)
    assert not [b.label for b in page.button if b.label.startswith("Train")]


def test_the_images_are_mixed_by_a_worker_and_then_the_slider_looks_up(
    series: ShiftSeries,
) -> None:
    page = opened("compare", section="Shift", drift_shift="Contrast", drift_severity="4",
                  rho="0.3", **OF_SHIFTED)  # fmt: skip
    cost = replace(SHIFTED, samples=120, subsets=66)
    assert f"about {duration_text(analysis_cost(PROBE, cost).seconds)} and" in texts(page)
    button(page, "Mix the images").click().run()
    settled(page, lambda page: len(page.get("plotly_chart")) == 4)
    assert not page.exception
    request = MixtureRequest(replace(SHIFTED, shift="contrast", severity=4))
    reports = load_mixtures(request, mixture_key(fingerprint(request.options)))
    assert reports is not None
    first = ranking(reports[0], rho=0.3)
    for share in (50, 100):
        page.slider(key="mixture_share").set_value(share).run()
        assert not page.exception
        rows = ranking(reports[share // 10], rho=0.3)
        both = int((first["selected"] & rows["selected"]).sum())
        kept = f"all {both}" if both == first["selected"].sum() else f"{both or 'none'} of"
        said = f"With {share} % of the images shifted the selection shares {kept} "
        assert said in texts(page)
        chart = json.loads(page.get("plotly_chart")[3].proto.spec)["data"][-1]
        assert chart["y"][share // 10] == both
        assert max(chart["marker"]["size"]) == chart["marker"]["size"][share // 10]
