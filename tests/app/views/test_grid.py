"""The Grid page without a browser: what it runs, shows, stops and continues."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

import app.cache
from analysis.datasets import import_archive, remove_dataset
from analysis.options import RunOptions
from analysis.runs.records import Ending, Outcome, Run
from analysis.runs.store import RunStore
from analysis.sweeps.grid import POCKET_GRID, DataChoice, Grid
from analysis.sweeps.progress import runs_of
from analysis.sweeps.table import rows_of
from analysis.version import __version__
from app.components.grid.live import _RunReader
from app.components.grid.matrix import AGAINST_FULL, NBSP, matrix
from tests.analysis.run_faults import KINDS, STAND_IN, wait_until
from tests.app.pages import busy_store, button, opened, settled, texts
from tests.grid_factories import fill, keep_cell, outcome


@pytest.fixture(scope="module")
def stand_in() -> Iterator[None]:
    """Workers behave as `train_samples` says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STAND_IN))
        yield


pytestmark = pytest.mark.usefixtures("stand_in", "home")


@pytest.fixture
def store() -> Iterator[RunStore]:
    """The store of the page, emptied afterwards."""
    queue = app.cache.run_queue()
    store = queue.store
    yield store
    for run in store.runs():
        if run.active:
            queue.stop(run.id)
    wait_until(lambda: not store.leases())
    store.delete([run.id for run in store.runs()])
    store.purge(older_than=0)


def progress(page: AppTest) -> str:
    (bar,) = page.get("progress")
    return str(bar.proto.text)


def shown(page: AppTest) -> pd.DataFrame:
    (table,) = page.table
    frame: pd.DataFrame = table.value
    return frame


def small(page: AppTest) -> AppTest:
    """Two cells that run until they are stopped."""
    page.multiselect(key="grid_models").set_value(["pocket-vgg"])
    page.multiselect(key="grid_datasets").set_value(["digits"])
    page.button_group(key="grid_strategies").set_value(["full", "head"])
    page.number_input(key="grid_images").set_value(KINDS.index("long"))
    return page.run()


def test_the_pocket_grid_is_the_example(store: RunStore) -> None:
    page = opened("grid")
    assert not page.exception
    assert progress(page).startswith("80 runs: 80 not started · no estimate until a similar run")
    assert button(page, "Start 80 runs").disabled is False
    table = shown(page)
    assert len(table) == 16
    assert list(table.columns[2:]) == ["AdaBet", "Size alone", "Random", "Head only", "Full"]
    assert table["Dataset"].tolist()[::4] == [str(data) for data in POCKET_GRID.datasets]
    assert set(table["AdaBet"]) == {"–"}


def test_runs_of_a_sweep_are_shown_and_not_repeated(store: RunStore) -> None:
    accuracies = {"adabet": 0.8, "size": 0.9, "random": 0.7, "head": 0.6, "full": 0.95}
    fill(
        store, POCKET_GRID, lambda cell: accuracies[cell.strategy],
        lambda cell: 40_000_000 if cell.strategy == "full" else 10_000_000,
    )  # fmt: skip
    page = opened("grid")
    assert not page.exception
    assert progress(page) == "80 runs: 80 done"
    assert button(page, "Nothing to start").disabled
    assert "AdaBet beats random on 16 of 16 pairs (+10.0 points" in texts(page)
    assert "size alone on 0 of 16 pairs (−10.0 points" in texts(page)
    assert "a hint, not evidence" in texts(page)
    assert set(shown(page)["Full"]) == {"95.0"}
    page.button_group(key="grid_number").set_value("peak memory").run()
    assert not page.exception
    (memory,) = set(shown(page)["AdaBet"])
    assert memory.replace(NBSP, " ") == "10.0 :gray[*≈ 12.5*]"
    assert set(shown(page)[AGAINST_FULL]) == {"−75.0 %"}
    assert "predicted before the run" in texts(page)
    assert "claim" not in texts(page)


def test_start_stop_and_continue(store: RunStore) -> None:
    page = small(opened("grid"))
    button(page, "Start 2 runs").click().run()
    assert not page.exception
    first = store.runs()
    assert {run.group for run in first} == {"grid:page"}
    assert [run.options.strategy for run in reversed(first)] == ["full", "head"]
    settled(page, lambda page: "1 running, 1 waiting" in progress(page))
    assert f"running{NBSP}…" in shown(page)["Full"][0]
    assert "waiting" in shown(page)["Head only"][0]
    assert "Now: pocket-vgg on digits, Full, seed 0" in texts(page)
    assert button(page, "Nothing to start").disabled
    button(page, "Stop 2 runs").click().run()
    settled(page, lambda page: "2 stopped" in progress(page))
    button(page, "Continue with 2 runs").click().run()
    assert not page.exception
    # The one that had begun keeps what it measured; the other is replaced without a word.
    assert [run.options.strategy for run in store.runs()] == ["head", "full", "full"]
    assert [run.options.strategy for run in store.runs(deleted=True)] == ["head"]
    assert not any("deleted" in expander.label for expander in opened("runs").expander)
    button(page, "Stop 2 runs").click().run()
    settled(page, lambda page: "2 stopped" in progress(page))


def test_clicks_count_even_if_the_page_cannot_be_drawn(store: RunStore) -> None:
    page = small(opened("grid"))
    with busy_store():
        button(page, "Start 2 runs").click().run()
    assert "locked" in texts(page)
    settled(page.run(), lambda page: "1 running, 1 waiting" in progress(page))
    with busy_store():
        button(page, "Stop 2 runs").click().run()
    assert "locked" in texts(page)
    wait_until(lambda: not store.leases())
    assert [run.state for run in store.runs()] == ["stopped", "stopped"]


def test_a_failed_attempt_is_shown_until_the_next_one(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = small(opened("grid"))
    with busy_store():  # which also keeps the queue from finding the runs
        start = app.cache.run_queue().start
        monkeypatch.setattr(app.cache.run_queue(), "start", lambda *_, **__: store.runs())
        button(page, "Start 2 runs").click().run()
    monkeypatch.setattr(app.cache.run_queue(), "start", start)
    assert "locked" in texts(page.run())
    button(page, "Start 2 runs").click().run()
    assert "locked" not in texts(page)
    button(page, "Stop 2 runs").click().run()
    settled(page, lambda page: "2 stopped" in progress(page))


def test_only_missing_runs_are_queued(store: RunStore) -> None:
    page = small(opened("grid"))
    base = replace(POCKET_GRID.base, train_samples=KINDS.index("long"))
    grid = Grid("g", ("pocket-vgg",), (DataChoice("digits"),), ("full",), (0,), base)
    keep_cell(store, grid.cells()[0])
    page.run()
    assert progress(page).startswith("2 runs: 1 done, 1 not started")
    button(page, "Continue with 1 run").click().run()
    assert [run.options.strategy for run in store.runs()] == ["head", "full"]


def test_the_store_is_read_again_only_after_a_change(store: RunStore) -> None:
    cell, *_ = cells = POCKET_GRID.cells()
    reader = _RunReader(cells)
    before = reader.read()
    assert before[1] == {}
    assert reader.read() is before
    run = keep_cell(store, cell)
    assert reader.read()[1] == {cell: run}


def test_failures_say_why(store: RunStore) -> None:
    page = small(opened("grid"))
    base = replace(POCKET_GRID.base, train_samples=KINDS.index("long"))
    (cell,) = Grid("g", ("pocket-vgg",), (DataChoice("digits"),), ("full",), (0,), base).cells()
    store.keep(cell, Outcome(Ending("failed", "There was no room."), 1.0), group="grid:g")
    page.run()
    assert "1 failed, 1 not started" in progress(page)
    assert "failed" in shown(page)["Full"][0]
    assert "**pocket-vgg on digits, Full, seed 0**: There was no room." in texts(page)


def test_a_link_restores_the_grid(store: RunStore) -> None:
    page = opened("grid", grid_models="pocket-vit", grid_seeds="3", grid_epochs="2")
    assert not page.exception
    assert progress(page).startswith("60 runs")
    assert set(shown(page)["Model"]) == {"pocket-vit"}


def test_the_caption_names_the_settings_of_the_sidebar(store: RunStore) -> None:
    usual = "ρ = 0.10, normalisation “activation” and preset “recommended” are those of the sidebar"
    assert usual in texts(opened("grid"))
    settings = {"input_side": "64", "precision": "bfloat16", "device": "cpu", "memory": "2.5"}
    page = small(opened("grid", **settings))
    assert (
        "preset “recommended”, image side 64, precision bfloat16, device cpu and memory limit "
        "2.5 GB are those of the sidebar." in texts(page)
    )
    button(page, "Start 2 runs").click().run()
    (analysis, _) = (run.options.analysis for run in store.runs())
    assert (analysis.input_side, analysis.precision) == (64, "bfloat16")
    assert (analysis.device, analysis.memory) == ("cpu", 2_500_000_000)


def test_only_a_change_of_runs_redraws_the_page(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[list[Run]] = []
    monkeypatch.setattr("app.components.grid.live.watch_runs", watched.append)
    cell, *_ = POCKET_GRID.cells()
    keep_cell(store, cell)
    keep_cell(store, replace(cell, rho=0.7))  # of no cell on the page
    opened("grid")
    assert watched == [store.runs()]


def test_the_users_own_data_has_the_name_they_gave_it(store: RunStore, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shapes.zip", "w") as archive:
        for kind in ("round", "square"):
            for number in range(10):
                file = io.BytesIO()
                Image.new("RGB", (8, 8), (number, len(kind), 0)).save(file, "PNG")
                archive.writestr(f"{kind}/{number}.png", file.getvalue())
    own = import_archive(tmp_path / "shapes.zip", "shapes").dataset
    try:
        page = opened("grid", grid_models="pocket-vgg")
        page.multiselect(key="grid_datasets").set_value([own, f"{own}+noise"]).run()
        assert not page.exception
        short = f"shapes-{own.rpartition('-')[2][:6]} (yours)"
        assert set(shown(page)["Dataset"]) == {short, f"{short}+noise:3"}
        labels = page.multiselect(key="grid_datasets").options
        assert {short, f"{short}+noise", "digits"} <= set(labels)
        assert own not in texts(page)
    finally:
        remove_dataset(own)


def test_an_empty_choice_asks_for_one(store: RunStore) -> None:
    page = opened("grid")
    page.multiselect(key="grid_models").set_value([]).run()
    assert not page.exception
    assert "Choose models to see the table." in texts(page)
    assert not page.table


def test_shifts_take_the_severity_of_the_form(store: RunStore) -> None:
    page = opened("grid")
    page.number_input(key="grid_severity").set_value(5).run()
    assert set(shown(page)["Dataset"]) == {
        "digits",
        "fashion",
        "digits+rotation:5",
        "digits+noise:5",
    }


def test_fine_tune_leaves_the_cells_to_this_page(store: RunStore) -> None:
    keep_cell(store, POCKET_GRID.cells()[0])
    page = opened("finetune")
    assert not page.exception
    assert "No run yet." in texts(page)


PETS = Grid(
    "pets",
    ("resnet50", "pocket-vgg"),
    (DataChoice("pets"), DataChoice("pets", "blur")),
    ("adabet", "full"),
    (0, 1),
    RunOptions(train_samples=40),
)


def pets(store: RunStore, number: str, **outcome: Any) -> pd.DataFrame:
    cells = PETS.cells()
    for cell in cells:
        if cell.recipe.seed == 0 or cell.strategy == "full":
            keep_cell(store, cell, accuracy=0.5 + 0.1 * cell.recipe.seed, **outcome)
    run_of = runs_of(cells, store.runs())
    return matrix(PETS, rows_of(cells, run_of), cells, run_of, number)


def test_claims_are_shown_beside_measurements_where_they_exist(store: RunStore) -> None:
    table = pets(store, "peak memory")
    against = table[AGAINST_FULL].tolist()
    assert against == ["−0.0 % :gray-badge[claim −66.3 %]", "−0.0 %", "−0.0 %", "−0.0 %"]
    assert AGAINST_FULL not in pets(store, "accuracy")


def test_the_table_shows_how_many_seeds_are_done(store: RunStore) -> None:
    table = pets(store, "accuracy")
    assert table["AdaBet"][0] == f"50.0 :gray[1{NBSP}of{NBSP}2]"
    assert table["Full"][0] == f"55.0{NBSP}±{NBSP}7.1"  # which no narrow screen breaks
    assert pets(store, "time")["Full"][0] == "8.5"


def test_what_the_losses_of_cells_say_stands_in_one_box(store: RunStore) -> None:
    grid = replace(POCKET_GRID, models=("pocket-vgg",), datasets=(DataChoice("digits"),))
    note = "The loss has not changed since the first epoch."
    for cell in grid.cells():
        result = outcome(cell)
        assert result.selection is not None
        said = note if cell.strategy in ("adabet", "full") else ""
        said = "The loss grew a *hundredfold*." if cell.strategy == "head" else said
        selection = replace(result.selection, note=said)
        store.keep(cell, replace(result, selection=selection), group="grid:test")
    page = opened("grid")
    assert not page.exception
    (box,) = page.warning
    assert box.value == (
        f"**pocket-vgg on digits, AdaBet, seed 0**; **pocket-vgg on digits, Full, seed 0**: {note}"
        "\n\n**pocket-vgg on digits, Head only, seed 0**: The loss grew a \\*hundredfold\\*."
    )


def test_the_grid_is_saved_with_its_settings(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[dict[str, Any]] = []
    monkeypatch.setattr(st, "download_button", lambda _, **button: saved.append(button))
    assert not opened("grid").exception
    name, text = saved[-1]["file_name"], saved[-1]["data"]()
    table = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert set(table["weights"]) == {"pretrained"}
    assert dict(zip(table["strategy"], table["normalization"], strict=True)) == {
        name: "activation" if name == "adabet" else "" for name in POCKET_GRID.strategies
    }
    assert set(table["version"]) == {__version__}
    assert name.startswith(
        "bettiscope-grid-pretrained-160-images-seed0-recommended-activation-rho0.1"
    )
    assert name.endswith(f"-b1-train500-4-epochs-v{__version__}.csv")
