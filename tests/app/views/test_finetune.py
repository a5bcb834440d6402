"""The Fine-tune page without a browser: what it plans, starts, shows and stops."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from pathlib import Path
from statistics import mean, stdev

import pytest
from PIL import Image

import app.cache
from analysis.costs.training_memory import MemoryRequest, estimate
from analysis.datasets import import_archive, remove_dataset
from analysis.jobs.jobs import Jobs
from analysis.options import AnalysisOptions
from analysis.runs.store import Run
from analysis.selection.ranking import ranking
from analysis.selection.strategies import STRATEGIES
from analysis.text import size_text
from analysis.topology.pipeline import analyze_named
from app.components.finetune.plan import KEPT
from tests.app.pages import (
    busy_store,
    button,
    opened,
    settled,
    texts,
    tile,
    tiles,
    wait_until,
)
from tests.run_factories import finished_run, run_options

pytestmark = pytest.mark.usefixtures("home")
SHORT = {"epochs": "1", "train_samples": "64"}
NEW = {"seed": "3", "samples": "8"}  # an analysis that is not there, and quick


def group() -> list[Run]:
    """The runs that were started last, in their order."""
    runs = app.cache.run_queue().store.runs()
    return sorted((r for r in runs if r.group == runs[0].group), key=lambda r: r.number)


def over() -> bool:
    return not any(run.active for run in group())


def adabet_layers() -> tuple[str, ...]:
    rows = ranking(analyze_named(AnalysisOptions()))
    chosen = rows.loc[rows["selected"]].sort_values("rank", kind="stable")["layer"]
    return (*chosen, *rows.loc[rows["head"], "layer"])


def predicted_peak(scope: str, layers: tuple[str, ...] = ()) -> int:
    names = tuple(analyze_named(AnalysisOptions()).names)
    return estimate(MemoryRequest("pocket-resnet20", 10, scope, layers, names)).peak.total  # type: ignore[arg-type]


def test_a_worker_starts_sooner_on_the_page_that_starts_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(app.cache, "WARM_AFTER", 10.0)
    monkeypatch.setattr(Jobs, "warm", lambda _, after: waits.append(after))
    opened("runs")
    opened("finetune")
    assert waits[0] == 10.0
    assert waits[-1] == 2.0


@pytest.mark.usefixtures("real_predictions")
def test_explore_predicts_the_memory_of_the_selection_against_full_training() -> None:
    page = opened()
    settled(page, lambda p: "less than full" in p.metric[2].delta)
    part, full = predicted_peak("layers", adabet_layers()), predicted_peak("everything")
    assert tile(page, "Predicted peak memory") == size_text(part)
    assert page.metric[2].delta == f"{100 * (1 - part / full):.0f} % less than full training"
    assert "the paper's figures" in page.metric[2].help
    page.slider(key="rho").set_value(1.0).run()
    settled(page, lambda p: tile(p, "Predicted peak memory") != size_text(part))
    assert not page.exception


@pytest.mark.usefixtures("real_predictions")
def test_the_plan_has_the_parameters_and_memory_of_each_strategy() -> None:
    names = ["adabet", "fisher", "full", "snr", "neighbours", "cka", "input-shift", "head"]
    page = opened("finetune", strategies=names)
    settled(page, lambda p: "…" not in p.dataframe[0].value["Predicted peak"].tolist())
    plan = page.dataframe[0].value.set_index("Strategy")
    assert plan.loc["AdaBet", "Trains"] == ", ".join(adabet_layers())
    assert plan.loc["AdaBet", "Predicted peak"] == size_text(
        predicted_peak("layers", adabet_layers())
    )
    assert plan.loc["AdaBet", "Against full"].endswith("% less")
    assert "a backward pass over labelled images" in plan.loc["Fisher", "Trains"]
    assert "by labelled images" in plan.loc["Nearest neighbours", "Trains"]
    assert "the network's weights" in plan.loc["Signal to noise", "Trains"]
    assert "by a pass over the images" in plan.loc["Input shift", "Trains"]
    assert plan.loc["Change by CKA", "Trains"].endswith("fc")
    assert plan.loc["Change by CKA", "Against full"].endswith("% less")
    assert plan.loc["Fisher", "Predicted peak"] == "when it runs"
    assert plan.loc["Full", "Predicted peak"] == size_text(predicted_peak("everything"))
    assert plan.loc["Head only", KEPT] == size_text((500 + 359) * 64 * 4)  # features, in float32
    assert plan.loc[["Full", "Fisher"], KEPT].to_list() == ["", ""]


def test_the_form_shows_the_usual_strategies_first_and_the_others_by_what_they_need() -> None:
    link = {"strategies": ["adabet", "fisher", "head"], "strategies_reversed": "true"}
    page = opened("finetune", **link)
    assert not page.exception
    assert not page.toast, "links of earlier versions name all strategies in one place"
    pills = {its.key: its for its in page.button_group if (its.key or "").startswith("strategies")}
    assert pills["strategies"].value == ["adabet", "head"]
    assert pills["strategies_gradients"].value == ["fisher"]
    names = {key: list(its.options) for key, its in pills.items()}
    assert names.pop("strategies") == ["adabet", "size", "random", "head", "full"]
    needs = {name: key for key, own in names.items() for name in own}
    assert needs == {
        name: f"strategies_{strategy.needs}" for name, strategy in list(STRATEGIES.items())[5:]
    }
    plan = page.dataframe[0].value.set_index("Strategy")
    assert list(plan.index) == ["AdaBet, reversed", "Head only", "Fisher, reversed"]
    last_ones = plan.loc["AdaBet, reversed", "Trains"].split(", ")
    assert not set(last_ones[:-1]) & set(adabet_layers())
    assert not button(page, "Start 3 runs").disabled


def test_start_runs_every_strategy_with_every_seed_and_shows_the_results() -> None:
    page = opened("finetune", strategies=["head", "last"], seeds="2", **NEW, **SHORT)
    settled(page, lambda p: not button(p, "Start 4 runs").disabled)
    button(page, "Start 4 runs").click().run()
    assert not page.exception
    started = group()
    assert [(r.options.strategy, r.options.recipe.seed) for r in started] == [
        ("head", 3), ("last", 3), ("head", 4), ("last", 4),
    ]  # fmt: skip
    assert {r.options.analysis.seed for r in started} == {3, 4}
    for run in started[1::2]:
        app.cache.run_queue().stop(run.id)
    assert {r.options.train_samples for r in started} == {64}
    assert {r.options.recipe.epochs for r in started} == {1}
    wait_until(over)
    page.run()
    assert not page.exception
    ended = [run for run in group() if run.result is not None]
    accuracies = [100 * run.result.test_accuracy for run in ended if run.result is not None]
    assert [run.options.recipe.seed for run in ended] == [3, 4]
    average, spread = mean(accuracies), stdev(accuracies)
    assert tile(page, "Head only") == f"{average:.1f} ± {spread:.1f} %"
    assert "360 test images: one is 0.28 points. Means over 2 seeds, ± standard" in texts(page)
    assert "not evidence" not in texts(page)
    assert "Whether b₁" not in texts(page)  # no run ranks by it
    drawn = " ".join(chart.proto.id for chart in page.get("plotly_chart"))
    assert all(f"chart_{name}" in drawn for name in ("accuracy", "loss", "memory", "live_tradeoff"))
    assert "**Topology in motion**" in texts(page)
    weights = app.cache.run_queue().store.weights_path(ended[-1].id)
    wait_until(weights.is_file)  # they are written when all else is safe


def test_adabet_by_several_normalisations_is_planned_and_queued_together() -> None:
    page = opened("finetune", strategies=["adabet", "head"], **SHORT)
    page.multiselect(key="normalizations").set_value(["activation", "none"]).run()
    plan = page.dataframe[0].value.set_index("Strategy")["Trains"]
    assert plan.index.tolist() == ["AdaBet", "Head only", "AdaBet by none"]
    rows = ranking(analyze_named(AnalysisOptions()), normalization="none")
    best = rows.loc[rows["selected"]].sort_values("rank")["layer"]
    assert plan["AdaBet by none"] == ", ".join([*best, "fc"])
    assert plan["AdaBet"] == ", ".join(adabet_layers())
    settled(page, lambda p: not button(p, "Start 3 runs").disabled)
    button(page, "Start 3 runs").click().run()
    assert not page.exception
    assert [(r.options.strategy, r.options.normalization) for r in group()] == [
        ("adabet", "activation"), ("head", "activation"), ("adabet", "none"),
    ]  # fmt: skip
    for run in group():
        app.cache.run_queue().stop(run.id)
    wait_until(over)
    page.run()
    assert tiles(page) == ["AdaBet · by activation", "Head only", "AdaBet · by none"]


def test_another_session_sees_the_same_runs_and_one_can_be_stopped() -> None:
    page = opened("finetune", strategies=["head", "last"], epochs="1000")
    settled(page, lambda p: not button(p, "Start 2 runs").disabled)
    button(page, "Start 2 runs").click().run()
    running, waiting = group()
    wait_until(lambda: app.cache.run_queue().store.metrics(running.id).epochs)
    other = opened("finetune")
    assert {metric.label for metric in other.metric} == {"Head only", "Last layers"}
    button(other, "Cancel 1 waiting").click().run()
    other.button(key=f"stop_{running.id}").click().run()
    wait_until(over)
    assert [r.state for r in group()] == ["stopped", "stopped"]
    assert app.cache.run_queue().store.metrics(running.id).epochs  # its results so far are kept
    assert app.cache.run_queue().store.metrics(waiting.id).steps == ()
    page.run()
    assert not page.exception
    assert [metric.delta for metric in page.metric] == ["validation · stopped", "stopped"]


def test_clicks_count_even_if_the_page_cannot_be_drawn() -> None:
    page = opened("finetune", strategies=["head"], epochs="1000")
    settled(page, lambda p: not button(p, "Start 1 run").disabled)
    with busy_store():
        button(page, "Start 1 run").click().run()
    assert "locked" in page.error[0].value
    page.run()
    (run,) = group()
    wait_until(lambda: app.cache.run_queue().store.metrics(run.id).steps)
    page.run()
    with busy_store():
        page.button(key=f"stop_{run.id}").click().run()
    assert "locked" in page.error[0].value
    wait_until(over)
    assert group()[0].state == "stopped"


def test_the_layers_on_screen_are_those_that_train() -> None:
    """A run ranks by the same summary and shortest loop as Explore."""
    link = {"summary": "betti-maximum", "min_persistence": "0.5"}
    page = opened("finetune", strategies=["adabet"], **link, **SHORT)
    settled(page, lambda p: not button(p, "Start 1 run").disabled)
    planned = page.dataframe[0].value["Trains"].item()
    assert planned != ", ".join(adabet_layers())
    rows = opened(**link).dataframe[-1].value
    explored = rows.loc[rows["selected"]].sort_values("rank", kind="stable")["layer"]
    assert planned == ", ".join([*explored, "fc"])
    button(page, "Start 1 run").click().run()
    wait_until(over)
    (ended,) = group()
    assert ended.selection is not None
    assert ", ".join(ended.selection.layers) == planned


def test_a_disabled_start_button_says_why() -> None:
    page = opened("finetune", strategies=[""])
    start = button(page, "Start")
    assert start.disabled
    assert start.help == "Choose a strategy first."


def test_a_run_without_layers_to_train_fails_with_the_reason() -> None:
    page = opened("finetune", strategies=["adabet"], preset="released", samples="40", rho="0.01")
    settled(page, lambda p: not button(p, "Start 1 run").disabled)
    assert page.dataframe[0].value["Trains"].tolist() == [
        "nothing: ρ = 0.01 rounds down to no layer"
    ]
    button(page, "Start 1 run").click().run()
    wait_until(over)
    page.run()
    assert [failed.state for failed in group()] == ["failed"]
    assert "Nothing would train: ρ = 0.01 of 43 layers rounds down to 0" in texts(page)
    assert not page.exception


def test_a_locked_store_is_reported_and_nothing_is_lost() -> None:
    store = app.cache.run_queue().store
    before = [r.id for r in store.runs()]
    page = opened("finetune", strategies=["head"])
    settled(page, lambda p: not button(p, "Start 1 run").disabled)
    with sqlite3.connect(store.path, isolation_level=None) as locker:
        locker.execute("BEGIN EXCLUSIVE")
        button(page, "Start 1 run").click().run()
        locker.execute("ROLLBACK")
    assert not page.exception
    assert "locked" in texts(page)
    assert [r.id for r in store.runs()] == before


def test_nothing_starts_while_the_sidebar_asks_for_another_analysis() -> None:
    page = opened("finetune")
    assert not button(page, "Start 3 runs").disabled
    page.number_input(key="seed").set_value(7).run()
    assert button(page, "Start 3 runs").disabled
    assert "The settings have changed" in button(page, "Start 3 runs").help
    page.number_input(key="seed").set_value(0).run()
    assert not button(page, "Start 3 runs").disabled


def test_runs_stay_visible_when_the_images_on_the_page_are_deleted(tmp_path: Path) -> None:
    packed = tmp_path / "shapes.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(40):
            picture = io.BytesIO()
            Image.new("L", (8, 8), number).save(picture, "png")
            archive.writestr(f"{number % 2}/{number}.png", picture.getvalue())
    dataset = import_archive(packed, "shapes.zip").dataset
    finished_run(app.cache.run_queue().store, run_options("head"))
    page = opened("finetune", seed="5", samples="8")
    page.selectbox(key="dataset").set_value(dataset)
    page.number_input(key="seed").set_value(6).run()  # which no test draws digits by
    button(page, "Analyse").click().run()
    settled(page, lambda p: not button(p, "Start 3 runs").disabled)
    remove_dataset(dataset)
    page.run()
    assert page.selectbox(key="dataset").value == "digits"
    assert not page.error
    assert "(yours) are gone or have changed" in page.warning[0].value
    assert button(page, "Start 3 runs").disabled
    assert tile(page, "Head only") == "90.0 %"
    page.switch_page("views/explore.py").run()
    assert not page.exception
    assert tile(page, "Predicted peak memory") == "–"
    assert "no prediction: the images are missing" in [metric.delta for metric in page.metric]
