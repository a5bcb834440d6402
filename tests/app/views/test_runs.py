"""The Runs page without a browser: what it shows, compares, saves and restores."""

from __future__ import annotations

import ast
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.options import AnalysisOptions, Recipe
from analysis.runs.records import Ending
from analysis.runs.store import Run, RunStore
from analysis.text import size_text
from analysis.training.followed import FollowedTopology, save_followed
from analysis.version import __version__
from app.components.runs.details import settings_frame
from app.components.runs.table import epochs_csv, run_frame, runs_csv, runs_json
from app.components.shared.run_charts import MEMORY, TIME, tradeoff
from app.components.shared.run_names import names_of, settings_text
from tests.app.pages import busy_store, button, opened, texts, tile, tiles, wait_until
from tests.run_factories import finished_run, run_options

pytestmark = pytest.mark.usefixtures("home")


def hits(count: int) -> list[bool]:
    """How many of 100 test images a run has right."""
    return [place < count for place in range(100)]


@pytest.fixture
def three(store: RunStore) -> list[Run]:
    return [
        finished_run(store, run_options("adabet"), correct=hits(91), peak=12_000_000),
        finished_run(store, run_options("size"), correct=hits(94), peak=11_000_000),
        finished_run(store, run_options("head"), correct=hits(66), peak=9_000_000, layers=("fc",)),
    ]


def test_without_runs_the_page_says_how_to_start_one(store: RunStore) -> None:
    page = opened("runs")
    assert not page.exception
    assert "No run yet. Start one on the page **Fine-tune**." in texts(page)


def test_the_table_shows_every_run_and_the_sentence_names_the_winner(three: list[Run]) -> None:
    page = opened("runs")
    assert not page.exception
    rows = page.dataframe[0].value
    assert rows["Strategy"].tolist() == ["Head only", "Size alone", "AdaBet"]
    assert rows["Test accuracy (%)"].tolist() == pytest.approx([66, 94, 91])
    assert rows["Peak memory (MB)"].tolist() == [9.0, 11.0, 12.0]
    assert rows["Trained"].tolist() == [0.1, 0.1, 0.1]
    lead = "No clear winner: Size alone leads with 94.0\N{NO-BREAK SPACE}%, 3.0 points more than"
    assert f"{lead} AdaBet (+0.0 to +7.0)." in texts(page)
    assert "AdaBet is not shown to beat size alone." in texts(page)
    assert "100 test images: one is 1 point." in texts(page)
    assert "One seed is not evidence. Whether b₁ finds the layers that matter" in texts(page)
    assert len(page.get("plotly_chart")) == 1


def test_metrics_of_an_ended_run_are_read_once_for_all_sessions(
    store: RunStore, three: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened("runs")
    read: list[str] = []
    monkeypatch.setattr(store, "metrics", lambda run_id, **_: read.append(run_id))
    page = opened("runs")
    assert not page.exception
    assert page.dataframe[0].value["Validation (%)"].tolist() == pytest.approx([66, 94, 91])
    assert read == []


def test_models_and_data_have_the_names_that_users_know(three: list[Run]) -> None:
    digest = 16 * "0123"
    own = AnalysisOptions(
        weights=f"file:/home/me/mine-{digest}.safetensors",
        dataset=f"own:shapes-{digest}",
        shift="noise",
        severity=2,
    )
    run = replace(three[0], options=replace(three[0].options, analysis=own))
    rows = run_frame([run, three[1]])
    assert rows["Weights"].tolist() == ["mine-012301 (yours)", "pretrained"]
    assert rows["Dataset"].tolist() == ["shapes-012301 (yours)", "digits"]
    assert rows["Shift"].fillna("").tolist() == ["noise 2", ""]
    assert settings_text(run).startswith(
        "pocket-resnet20 (mine-012301 (yours)) on shapes-012301 (yours) with noise 2 · "
    )


@pytest.mark.parametrize("view", ["runs", "grid"])
def test_analyse_opens_the_page_that_shows_the_analysis(view: str) -> None:
    page = opened(view, rho="0.5")  # a switch of pages must keep what the URL carries
    assert not tiles(page)  # the default is analysed, but nobody asked for it
    button(page, "Analyse").click().run()
    assert not page.exception
    assert tile(page, "Selected") == "21 of 42 layers"


def test_filters_narrow_the_table(three: list[Run]) -> None:
    page = opened("runs")
    page.multiselect(key="run_strategy").set_value(["size", "head"]).run()
    assert page.dataframe[0].value["Strategy"].tolist() == ["Head only", "Size alone"]
    page.multiselect(key="run_state").set_value(["done"]).run()
    assert not page.exception
    assert len(page.dataframe[0].value) == 2


def test_a_link_restores_the_compared_runs(three: list[Run]) -> None:
    page = opened("runs", runs=f"{three[0].id} {three[2].id} nonsense")
    assert not page.exception
    assert "2 runs side by side" in [subheader.value for subheader in page.subheader]
    assert len(page.get("plotly_chart")) == 4
    differing = page.dataframe[1].value.set_index("setting")
    assert differing.index.tolist() == ["strategy", "layers"]
    assert differing.loc["strategy"].tolist() == ["adabet", "head"]
    assert not page.code
    page.session_state["export_code"] = True
    (code,) = page.run().code
    ast.parse(code.value)
    assert '"layer3.2.bn2"' in code.value


def test_deleted_runs_can_be_restored(store: RunStore, three: list[Run]) -> None:
    page = opened("runs", runs=three[1].id)
    button(page, "Delete").click().run()
    assert [run.id for run in store.runs()] == [three[2].id, three[0].id]
    assert "1 run deleted." in texts(page)
    assert page.dataframe[0].value["Strategy"].tolist() == ["Head only", "AdaBet"]
    page = opened("runs")  # a reload, or another session
    button(page, "Undo").click().run()
    assert [run.id for run in store.runs()] == [run.id for run in three[::-1]]
    assert store.metrics(three[1].id).epochs
    assert not page.exception


def folded(page: AppTest) -> str:
    return " ".join(part.label for part in page.expander)


def test_undo_restores_what_was_deleted_last_and_restore_everything(
    store: RunStore, three: list[Run]
) -> None:
    store.delete([three[0].id])
    store.delete([three[1].id, three[2].id])
    page = opened("runs")
    assert "2 runs deleted." in texts(page)
    assert "3 deleted runs, kept for 7 days" in folded(page)
    button(page, "Undo").click().run()
    assert [run.id for run in store.runs()] == [three[2].id, three[1].id]
    store.delete([three[1].id])
    button(page.run(), "Restore").click().run()
    assert len(store.runs()) == 3
    assert "deleted" not in folded(page)


def test_runs_deleted_for_good_are_gone_with_their_weights(
    store: RunStore, three: list[Run]
) -> None:
    weights = store.weights_path(three[0].id)
    weights.parent.mkdir(exist_ok=True)
    weights.write_bytes(b"weights")
    store.delete([three[0].id, three[1].id])
    page = opened("runs")
    button(page, "Delete 2 runs for good").click().run()
    assert not page.exception
    assert "deleted" not in folded(page)
    assert store.runs(deleted=True) == []
    assert not weights.exists()
    assert store.run(three[0].id) is None
    assert [run.id for run in store.runs()] == [three[2].id]


def test_only_deleted_runs_can_be_removed_for_good(store: RunStore, three: list[Run]) -> None:
    assert store.remove([three[0].id]) == 0
    assert store.run(three[0].id) is not None


def test_all_runs_can_be_stopped_at_once(store: RunStore) -> None:
    ids = store.add([run_options("head", recipe=Recipe(epochs=1000)) for _ in range(3)])
    page = opened("runs")
    wait_until(lambda: store.metrics(ids[0]).steps)
    button(page.run(), "Stop all (3)").click().run()
    wait_until(lambda: not any(run.active for run in store.runs()))
    assert not page.exception
    assert [store.metrics(run_id).steps for run_id in ids[1:]] == [(), ()]  # none began


def test_the_page_says_whose_runs_it_shows(store: RunStore) -> None:
    whose = f"All runs of this computer, whoever started them, from `{store.path.parent}`."
    assert whose in texts(opened("runs"))


def test_a_run_can_be_queued_again_with_its_settings(store: RunStore) -> None:
    failed = finished_run(
        store,
        run_options("head", seed=5, train_samples=40, recipe=Recipe(epochs=1, seed=5)),
        ending=Ending("failed", "It broke."),
    )
    page = opened("runs", runs=failed.id)
    assert "It broke." in texts(page)
    button(page, "Run again").click().run()
    again = store.runs()[0]
    assert again.id != failed.id
    assert again.options == failed.options
    assert len(page.dataframe[0].value) == 2  # it is listed at once
    wait_until(lambda: not store.runs()[0].active)
    page.run()
    assert not page.exception


def test_an_active_run_can_be_stopped_here(store: RunStore) -> None:
    (run_id,) = store.add([run_options("head", recipe=Recipe(epochs=1000))])
    page = opened("runs", runs=run_id)
    wait_until(lambda: store.metrics(run_id).steps)
    button(page, "Stop").click().run()
    wait_until(lambda: not store.runs()[0].active)
    assert store.runs()[0].state == "stopped"
    assert not page.exception


def test_clicks_count_even_if_the_page_cannot_be_drawn(store: RunStore, three: list[Run]) -> None:
    page = opened("runs", runs=three[1].id)
    for label, left in (("Delete", 2), ("Undo", 3), ("Delete", 2), ("Restore", 3)):
        with busy_store():
            button(page, label).click().run()
        assert "locked" in texts(page)
        assert len(store.runs()) == left, label
        page.session_state["session"].comparison.run_ids = [three[1].id]
        page.run()
    failed = finished_run(
        store,
        run_options("head", seed=5, train_samples=40, recipe=Recipe(epochs=1000, seed=5)),
        ending=Ending("failed", "It broke."),
    )
    page = opened("runs", runs=failed.id)
    with busy_store():
        button(page, "Run again").click().run()
    again = store.runs()[0]
    wait_until(lambda: store.metrics(again.id).steps)
    page.run()
    with busy_store():
        button(page, "Stop all (1)").click().run()
    wait_until(lambda: not store.runs()[0].active)
    assert store.runs()[0].state == "stopped"


def test_the_front_joins_only_comparable_runs(store: RunStore, three: list[Run]) -> None:
    unfinished = finished_run(store, run_options("last"), ending=Ending("stopped"))
    traces = [trace.name for trace in tradeoff([*three, unfinished], MEMORY).data]
    assert "Pareto front" in traces
    assert "Last layers" not in traces  # it has no test accuracy
    other = finished_run(store, run_options("random", rho=0.5))
    traces = [trace.name for trace in tradeoff([*three, other], TIME).data]
    assert "Pareto front" not in traces
    assert "Random" in traces


def test_costs_include_choosing_the_layers(store: RunStore) -> None:
    run = finished_run(store, run_options("adabet"), peak=2_000_000)
    (point,) = [trace for trace in tradeoff([run], MEMORY).data if trace.name == "AdaBet"]
    assert list(point.x) == [3.0]  # MB, of the choice: more than the 2 of training
    (point,) = [trace for trace in tradeoff([run], TIME).data if trace.name == "AdaBet"]
    assert list(point.x) == [1.75]  # s, 0.25 of them for the choice


def test_saved_files_hold_every_number(store: RunStore, three: list[Run]) -> None:
    records = json.loads(runs_json(store, three))
    assert [record["id"] for record in records] == [run.id for run in three]
    first = records[0]
    assert first["options"]["recipe"]["epochs"] == 8
    assert first["selection"]["layers"] == ["layer3.2.bn2", "fc"]
    assert first["result"]["test_accuracy"] == 0.91
    assert first["metrics"]["epochs"][0]["val_accuracy"] == 0.91
    assert first["metrics"]["memory"][0]["peak"]["activations"] == 6_000_000
    table = run_frame(three).to_csv(index=False).splitlines()
    assert len(table) == 4
    assert table[1].split(",")[1] == "AdaBet"
    epochs = epochs_csv(store, three).splitlines()
    assert epochs[0].startswith("run,strategy,seed,epoch,train_loss")
    assert [line.split(",")[1] for line in epochs[1:]] == ["adabet", "size", "head"]


def test_files_of_runs_are_named_by_what_the_runs_share(
    three: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    monkeypatch.setattr(
        st, "download_button", lambda _, **button: names.append(button["file_name"])
    )
    assert not opened("runs").exception
    rest = "-pocket-resnet20-pretrained-digits-160-images-seed0-recommended-activation-rho0.1-b1"
    rest += f"-train500-8-epochs-v{__version__}"
    assert names[-3:] == [
        f"bettiscope-runs{rest}.csv", f"bettiscope-epochs{rest}.csv", f"bettiscope-runs{rest}.json"
    ]  # fmt: skip


def test_saved_tables_have_the_settings_of_each_run(store: RunStore, three: list[Run]) -> None:
    for text in (runs_csv(run_frame(three), three), epochs_csv(store, three)):
        table = pd.read_csv(io.StringIO(text), keep_default_na=False)
        assert table["model"].tolist() == ["pocket-resnet20"] * 3
        assert table["strategy"].tolist() == ["adabet", "size", "head"]
        assert table["normalization"].tolist() == ["activation", "", ""]
        assert table["rho"].tolist() == ["0.1", "0.1", ""]
        assert table["version"].tolist() == [__version__] * 3
        assert {"samples", "weight_decay"} <= set(table)
    assert {record["version"] for record in json.loads(runs_json(store, three))} == {__version__}


def test_figures_of_runs_have_a_name_a_caption_and_a_format(three: list[Run]) -> None:
    def saved(page: AppTest) -> dict[str, tuple[str, str, str]]:
        """Format, name and specification of each figure, by what it shows."""
        figures = {}
        for chart in page.get("plotly_chart"):
            image = json.loads(chart.proto.config)["toImageButtonOptions"]
            what = image["filename"].split("-pocket-resnet20")[0].removeprefix("bettiscope-")
            figures[what] = image["format"], image["filename"], chart.proto.spec
        return figures

    page = opened("runs", runs=" ".join(run.id for run in three[:2]))
    assert not page.exception
    plain = saved(page)
    assert set(plain) == {"accuracy-against-peak-memory", "accuracy", "loss", "compared-memory"}
    rest = "-pretrained-digits-160-images-seed0-recommended"
    for format, name, spec in plain.values():
        assert (format, rest in name, name.endswith(f"-v{__version__}")) == ("svg", True, True)
        assert "What differs" not in spec
    page.toggle(key="captions").set_value(True)
    page.button_group(key="figure_format").set_value("PNG").run()
    assert not page.exception
    chosen = saved(page)
    assert {format for format, _, _ in chosen.values()} == {"png"}
    for _, _, spec in chosen.values():
        (note,) = [n for n in json.loads(spec)["layout"]["annotations"] if n["name"] == "caption"]
        assert "What differs: strategy (" in note["text"].replace("<br>", " ")
    page.switch_page("views/finetune.py").run()
    assert page.button_group(key="figure_format").value == "PNG"
    # What a browser shows that opens the popover after a later rerun of the fragment.
    assert list(page.button_group(key="figure_format").proto.default) == [1]
    assert page.toggle(key="captions").proto.default
    assert saved(page)["memory"][0] == "png"


def test_layers_that_train_beside_those_of_the_strategy_are_named(store: RunStore) -> None:
    more = run_options("head", also_train=("conv1", "bn1"))
    runs = [finished_run(store, run_options("head")), finished_run(store, more)]
    assert run_frame(runs)["Also trains"].dropna().tolist() == ["conv1, bn1"]
    assert names_of([*runs, finished_run(store, run_options("head", also_train=("fc2",)))])[
        runs[1].id
    ] == ("Head only · with conv1, bn1")


def test_only_different_settings_are_listed(store: RunStore) -> None:
    runs = [
        finished_run(store, run_options("adabet", seed=seed, rho=rho))
        for seed, rho in ((0, 0.1), (1, 0.2))
    ]
    frame = settings_frame(runs)
    assert frame.index.tolist() == ["analysis · seed", "rho", "recipe · seed"]
    assert frame.loc["rho"].tolist() == ["0.1", "0.2"]
    assert "recipe · epochs" in settings_frame(runs, all_of_them=True).index


def drawn(page: AppTest, name: str) -> list[dict[str, Any]]:
    """The traces of a chart of the time-lapse."""
    charts = [chart for chart in page.get("plotly_chart") if f"chart_{name}" in chart.proto.id]
    return [trace for chart in charts for trace in json.loads(chart.proto.spec)["data"]]


def test_the_loops_of_a_finished_run_move_with_the_epoch(store: RunStore) -> None:
    runs = [
        finished_run(store, run_options("adabet", seed), layers=("a", "fc")) for seed in range(3)
    ]
    plane = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    for run, after in zip(runs, (1, 2, 3), strict=True):
        loops = np.array([[k, k + 1] for k in range(1, 7)], np.float32)
        diagrams = {"a": (loops, loops[:after]), "b": (loops[:2],) * 2, "fc": (loops, loops)}
        turned = plane @ [[0.6, 0.8], [0.8, -0.6]] + 3  # its determinant is -1
        maps = {name: (plane, turned.astype(np.float32)) for name in diagrams}
        followed = FollowedTopology(4, (0, 1), diagrams, "", maps, ("x", "y", "x", "y"))
        if run is runs[2]:  # as of earlier versions
            followed = FollowedTopology(4, (0, 1), diagrams)
        save_followed(store.topology_path(run.id), followed)
    page = opened("runs", runs=" ".join(run.id for run in runs))
    assert not page.exception
    # By hand: the means over "a" and "fc" are 6 before, and 3.5, 4 and 4.5 after.
    said = "The 2 selected layers had 6.0 loops on average before the training and 3.5 after epoch"
    assert f"{said} 1. Over 3 seeds the change is −2.0 ± 0.5." in texts(page)
    assert "After epoch 1, a has 1 loop; validation accuracy is 90.0" in texts(page)
    assert f"and loss 1.25; a step took {size_text(10_000_000)}." in texts(page)
    (way, *points) = drawn(page, "motion_map_0")  # which was only turned: it comes back
    before, after, _ = np.reshape(np.array(way["x"], float), (4, 3)).T
    np.testing.assert_allclose(before, after, atol=1e-3)
    middle = plane - plane.mean(axis=0)
    np.testing.assert_allclose(points[0]["y"], middle[[0, 2], 1], atol=1e-3)
    for name, value in (("accuracy", 90), ("loss", 1.25), ("memory", 10)):
        assert [(*dot["x"], *dot["y"]) for dot in drawn(page, f"motion_{name}")[1::2]] == [
            (1, value)
        ]
    page.select_slider[0].set_value(0).run()
    assert "Before the training, a has 6 loops." in texts(page)
    assert not len(drawn(page, "motion_memory")[1]["x"])
    page.selectbox(key=f"motion_beside_{runs[0].id}").select_index(1).run()
    assert not page.exception
    assert f"{said} 1." in texts(page)
    assert f"{said.replace('3.5', '4.5')} 1." in texts(page)
    assert "After epoch 1, a has 3 loops; validation" in texts(page)
    assert not drawn(page, "motion_map_1")
    assert len(drawn(page, "motion_loss")) == 4  # two lines, and their dots
    store.topology_path(runs[0].id).write_bytes(b"damaged")
    st.cache_resource.clear()
    page = opened("runs", runs=runs[0].id)
    assert not page.exception
    assert "cannot be read: its file is damaged." in texts(page)
