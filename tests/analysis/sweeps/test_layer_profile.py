"""Layer profiles: read off runs, held against criteria, and kept as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.errors import StoreError, TrainingError
from analysis.options import AnalysisOptions, RunOptions
from analysis.progress import Progress
from analysis.runs.store import RunStore
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.judging import (
    BEST_SINGLES,
    answer,
    answer_about,
    chosen_sets,
    criteria_for,
    judge,
    set_grids,
    smallest_gain,
)
from analysis.sweeps.layer_profile import (
    LayerProfile,
    profile_grid,
    profile_of,
    profile_options,
    with_seed,
)
from analysis.sweeps.profile_files import (
    SHIPPED,
    document,
    find_profile,
    from_document,
    save_profile,
    shipped_path,
)
from analysis.sweeps.profiling import ProfileRequest, answer_profile
from analysis.sweeps.progress import runs_of
from assets.make_profiles import tables
from tests.analysis.run_faults import ROOT
from tests.factories import layer
from tests.grid_factories import keep_cell, outcome

OPTIONS = profile_options(AnalysisOptions(model="pocket-vgg"))
LAYERS = [layer(name, parameters=10 * place) for place, name in enumerate("abcd", start=1)]
NAMES = [each.name for each in LAYERS]
WORTH = {"a": 0.0, "b": 0.1, "c": 0.3, "d": 0.2}
SEEDS = (0, 1)


def accuracy(options: RunOptions) -> float:
    """A layer adds its worth, and half as much again under seed 1; several do not add up."""
    gain = max([0.0, *map(WORTH.__getitem__, options.also_train)])
    return 0.5 + 0.01 * options.recipe.seed + gain * (1 + options.recipe.seed / 2)


@pytest.fixture
def none_shipped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setattr("analysis.sweeps.profile_files.SHIPPED", home / "shipped")


@pytest.fixture
def store(none_shipped: None) -> RunStore:
    store = RunStore()
    for cell in profile_grid(OPTIONS, NAMES, SEEDS).cells():
        size = 1_000_000 * (1 + NAMES.index(cell.also_train[0]) if cell.also_train else 1)
        keep_cell(store, cell, accuracy=accuracy(cell), peak=size)
    return store


def profile(store: RunStore) -> LayerProfile:
    runs = runs_of(profile_grid(OPTIONS, NAMES, SEEDS).cells(), store.runs())
    return profile_of(OPTIONS, LAYERS, [8, 4, 2, 1], SEEDS, runs, test_images=360)


def test_the_runs_are_the_head_alone_and_with_each_layer() -> None:
    cells = profile_grid(OPTIONS, NAMES, SEEDS).cells()
    assert [cell.also_train for cell in cells] == 2 * [(), ("a",), ("b",), ("c",), ("d",)]
    assert {cell.strategy for cell in cells} == {"head"}
    assert cells[5] == with_seed(OPTIONS, 1)


def test_runs_are_found_again_whatever_images_are_analysed() -> None:
    other = AnalysisOptions(model="pocket-vgg", samples=8, batch_size=4, seed=7, memory=10**9)
    assert profile_options(other) == OPTIONS


def test_a_gain_is_over_the_head_alone_with_the_same_seed(store: RunStore) -> None:
    found = profile(store)
    np.testing.assert_allclose(found.gains, [[0, 0.1, 0.3, 0.2], [0, 0.15, 0.45, 0.3]], atol=1e-12)
    assert found.head_accuracies == (0.5, 0.51)
    third = found.layers[2]
    assert (third.gain, third.sd) == (pytest.approx(0.375), pytest.approx(0.15 / math.sqrt(2)))
    assert (third.bytes, third.parameters, third.activations) == (3_000_000, 30, 2)
    assert third.seconds == 8.5  # with the choice


def test_a_missing_run_is_named(store: RunStore) -> None:
    runs = runs_of(profile_grid(OPTIONS, NAMES, SEEDS).cells(), store.runs())
    gone = replace(with_seed(OPTIONS, 1), also_train=("c",))
    failed = replace(runs.pop(gone), result=None, error="Memory ran out.")
    text = "The run with seed 1 that trains c has not finished"
    with pytest.raises(TrainingError, match=rf"{text}\. Run the same command again"):
        profile_of(OPTIONS, LAYERS, [1] * 4, SEEDS, runs)
    with pytest.raises(TrainingError, match=rf"{text}: Memory ran out\. Run the same"):
        profile_of(OPTIONS, LAYERS, [1] * 4, SEEDS, runs | {gone: failed})


def scores() -> dict[int, pd.DataFrame]:
    """Parameters choose d; "size" another layer under each seed; "random" cannot score c."""
    table = {"parameters": [1.0, 2, 3, 4], "size": [4.0, 3, 2, 1], "random": [1, 2, np.nan, 0]}
    table["input-shift"] = [np.nan] * 4
    first = pd.DataFrame(table, index=NAMES)
    return {0: first, 1: first.assign(size=[1.0, 3, 2, 0])}


def test_sets_are_trained_once_and_compared_with_the_best_singles(store: RunStore) -> None:
    found = profile(store)
    sets = chosen_sets(found, scores(), 0.5)
    assert sets[0] == {
        "parameters": ("c", "d"), "size": ("a", "b"), "random": ("a", "b"), BEST_SINGLES: ("c", "d")
    }  # fmt: skip
    assert sets[1]["size"] == ("b", "c")
    grids = set_grids(found, sets)
    assert [grid.also_train for grid in grids] == [
        (("c", "d"), ("a", "b")),
        (("c", "d"), ("b", "c"), ("a", "b")),
    ]
    cells = [cell for grid in grids for cell in grid.cells()]
    for cell in cells:
        keep_cell(store, cell, accuracy=accuracy(cell))
    judged = judge(found, scores(), sets, runs_of(cells, store.runs()), 0.5)
    assert judged.sets["parameters"].regret == 0
    assert judged.sets["size"].accuracies == pytest.approx((0.6, 0.96))
    assert judged.sets["size"].regret == pytest.approx((0.8 + 0.96 - 0.6 - 0.96) / 2)
    assert judged.sets[BEST_SINGLES].regret == 0
    assert judged.set_size == 2
    assert judged.sets["input-shift"].accuracies == (), "it can score no layer"
    assert math.isnan(judged.sets["input-shift"].regret)
    np.testing.assert_array_equal(judged.scores["random"], [1, 2, np.nan, 0])

    # With four layers nothing is clear; with gains below the noise of the images, nothing counts.
    assert smallest_gain(found) == pytest.approx(2 * math.sqrt(2 * 0.505 * 0.495 / 360))
    assert answer(found, judged).startswith("None is shown to find the layers worth training")
    few = replace(found, test_images=5)
    text = "None: no layer gains more than the test images can show (at most +37.5 points)."
    assert answer(few, judged) == text
    assert answer_about(judged, "head") == ""

    # As JSON, and back.
    made = json.loads(json.dumps(document(found, judged), allow_nan=False))
    issue = {"criterion", "needs", "spearman", "low", "high", "hits", "regret"}
    assert {"model", "dataset", "seeds", "layers", "criteria"} <= set(made)
    assert all({"layer", "gain", "sd", "seconds"} <= set(each) for each in made["layers"])
    assert all(issue <= set(each) for each in made["criteria"])
    read = from_document(made)
    assert read.profile.options == OPTIONS
    assert document(read.profile, read.judgement) == made


def test_a_profile_is_found_for_its_network_and_images_only(store: RunStore) -> None:
    assert find_profile(replace(OPTIONS.analysis, shift="blur")) is None
    save_profile(profile(store), None)
    shown = AnalysisOptions(model="pocket-vgg", samples=40, seed=3, device="cpu")
    found = find_profile(shown)
    assert found is not None
    assert (found.shipped, found.judgement, len(found.profile.layers)) == (False, None, 4)
    assert find_profile(replace(shown, shift="blur")) is None
    other = find_profile(replace(shown, weights="random"))
    assert other is None


def test_a_worker_trains_run_by_run_and_saves_the_profile(
    none_shipped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.sweeps.profiling.run_cell", outcome)
    request, told = ProfileRequest(OPTIONS, (0, 1), criteria=False), list[Progress]()
    assert answer_profile(request, told.append)
    found = find_profile(OPTIONS.analysis)
    assert found is not None
    assert [each.layer for each in found.profile.layers][::8] == ["features.0", "classifier.0"]
    assert found.profile.head_accuracies == (0.9, 0.9)
    runs = [each for each in told if each.total]
    assert [each.done for each in runs] == list(range(20))
    assert (runs[0].layer, runs[-1].layer) == ("the head alone, seed 0", "classifier.0, seed 1")
    assert answer_profile(request, told.append)
    assert [each for each in told if each.total] == runs, "what is done does not train again"


def test_a_damaged_profile_is_reported(store: RunStore) -> None:
    path = save_profile(profile(store), None)
    path.write_text("{}")
    with pytest.raises(StoreError, match=r"is damaged\. Delete it, and run it again"):
        find_profile(OPTIONS.analysis)


def test_the_criteria_are_all_strategies_that_score_layers() -> None:
    names = criteria_for(OPTIONS)
    assert {"adabet", "size", "parameters", "fisher", "stable-rank"} <= set(names)
    assert {"head", "full", "bn-bias", "stale"}.isdisjoint(names)
    shifted = replace(OPTIONS, analysis=replace(OPTIONS.analysis, shift="noise"))
    assert [name for name in criteria_for(shifted) if name not in names] == ["stale"]
    assert all(STRATEGIES[name].scores for name in names)


def test_the_shipped_profiles_are_those_of_the_bundled_models(home: Path) -> None:
    paths = sorted(SHIPPED.glob("*.json"))
    for path in paths:
        made = json.loads(path.read_text())
        analysis = AnalysisOptions(
            model=made["model"], dataset=made["dataset"], shift=made["shift"],
            severity=made["severity"] or AnalysisOptions.severity,
        )  # fmt: skip
        assert shipped_path(analysis) == path
        found = find_profile(analysis)
        assert found is not None, path
        assert found.shipped
        assert found.judgement is not None
        assert {s.criterion for s in found.judgement.board.standings} <= set(STRATEGIES)
        assert len(found.profile.layers) == len({each.layer for each in found.profile.layers})


def test_the_documents_have_the_tables_of_the_shipped_profiles() -> None:
    ranks, sets = tables().split("\n\n")
    assert ranks in (ROOT / "README.md").read_text(encoding="utf-8")
    findings = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert ranks in findings
    assert sets in findings
