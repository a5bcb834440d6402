"""Which run counts for a cell, and how long the rest may take."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.options import Recipe, RunOptions
from analysis.runs.records import Ending, Outcome
from analysis.runs.store import RunStore
from analysis.sweeps.grid import DataChoice, Grid
from analysis.sweeps.progress import runs_of, states, time_left
from tests.grid_factories import keep_cell, outcome

BASE = RunOptions(train_samples=40, recipe=Recipe(epochs=1))
GRID = Grid("g", ("pocket-vgg",), (DataChoice("digits"),), ("full", "head"), (0,), BASE)
FULL, HEAD = GRID.cells()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs.sqlite")


def keep_failed(store: RunStore, options: RunOptions) -> str:
    return store.keep(options, Outcome(Ending("failed", "No."), time.time()), group="g")


def test_a_run_that_is_done_counts_before_newer_ones_that_are_not(store: RunStore) -> None:
    done = keep_cell(store, FULL)
    keep_failed(store, FULL)
    store.add([FULL])
    assert runs_of([FULL, HEAD], store.runs()) == {FULL: done}


def test_among_runs_that_are_not_done_an_active_one_counts(store: RunStore) -> None:
    (queued,) = store.add([FULL])
    last = keep_failed(store, FULL)
    first = keep_failed(store, HEAD)
    second = keep_failed(store, HEAD)
    ids = {cell.strategy: run.id for cell, run in runs_of([FULL, HEAD], store.runs()).items()}
    assert ids == {"full": queued, "head": second}
    assert first != second != last


def test_other_weights_or_data_are_another_cell(store: RunStore) -> None:
    result = outcome(FULL)
    for name in ("model", "data"):
        other = replace(result, fingerprints={**result.fingerprints, name: "another"})
        store.keep(FULL, other, group="g")
    assert runs_of([FULL], store.runs()) == {}


@pytest.mark.parametrize("others", [{"rho": 0.2}, {"train_samples": 41}, {"preset": "paper"}])
def test_other_options_are_another_cell(store: RunStore, others: dict[str, object]) -> None:
    keep_cell(store, replace(FULL, **others))  # type: ignore[arg-type]
    assert runs_of([FULL], store.runs()) == {}


def test_options_that_change_no_number_give_the_same_cell(store: RunStore) -> None:
    run = keep_cell(store, replace(FULL, analysis=replace(FULL.analysis, memory=10**9, severity=1)))
    assert runs_of([FULL], store.runs()) == {FULL: run}
    shifted = replace(FULL, analysis=replace(FULL.analysis, shift="blur", severity=1))
    keep_cell(store, shifted)
    stronger = replace(shifted, analysis=replace(shifted.analysis, severity=2))
    assert list(runs_of([shifted, stronger], store.runs())) == [shifted]


def test_random_weights_of_another_seed_are_another_cell(store: RunStore) -> None:
    random = replace(FULL, analysis=replace(FULL.analysis, weights="random", seed=3))
    run = keep_cell(store, random)
    assert run.fingerprints["model"] == "random:3"
    assert runs_of([random], store.runs()) == {random: run}


def test_an_own_network_is_the_same_cell_for_any_seed(store: RunStore, tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text("def build(classes):\n    raise NotImplementedError\n")
    own = replace(FULL, analysis=replace(FULL.analysis, model=f"{code}:build", seed=1))
    run = keep_cell(store, own)
    assert runs_of([own], store.runs()) == {own: run}


def test_states_are_counted(store: RunStore) -> None:
    keep_cell(store, FULL)
    runs = runs_of([FULL, HEAD], store.runs())
    assert states([FULL, HEAD], runs) == {"done": 1, "missing": 1}


def test_time_grows_with_the_work_and_is_estimated_from_similar_runs(store: RunStore) -> None:
    keep_cell(store, FULL, seconds=8.0)  # 40 images once; 2 s before training
    longer = replace(FULL, train_samples=80, recipe=replace(FULL.recipe, epochs=3))
    elsewhere = replace(FULL, analysis=replace(FULL.analysis, dataset="fashion"))
    runs = store.runs()
    assert time_left([FULL], runs).seconds == pytest.approx(10.0)
    assert time_left([longer], runs).seconds == pytest.approx(2 + 6 * 8)
    assert time_left([elsewhere], runs).seconds == pytest.approx(10.0)
    keep_cell(store, elsewhere, seconds=18.0)
    assert time_left([elsewhere, FULL], store.runs()).seconds == pytest.approx(20.0 + 10.0)


def test_a_cell_is_estimated_from_its_own_strategy_if_that_is_done(store: RunStore) -> None:
    keep_cell(store, FULL, seconds=18.0)
    keep_cell(store, HEAD, seconds=3.0)
    elsewhere = replace(HEAD, analysis=replace(HEAD.analysis, dataset="fashion"))
    assert time_left([elsewhere], store.runs()).seconds == pytest.approx(2 + 3)


def test_there_is_no_estimate_without_a_similar_run(store: RunStore) -> None:
    keep_cell(store, FULL)
    other = replace(FULL, analysis=replace(FULL.analysis, model="pocket-vit"))
    left = time_left([other, FULL, HEAD], store.runs())  # another strategy will do
    assert (left.seconds, left.unknown) == (pytest.approx(20.0), 1)
    assert time_left([HEAD], []).unknown == 1
