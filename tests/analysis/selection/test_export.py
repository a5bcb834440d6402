"""Exported files: their settings, names and command line."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
from typing import Any

import pandas as pd
import pytest

import analysis.commands.analyze
from analysis.__main__ import main
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.selection.export import (
    caption,
    command_line,
    document,
    file_stem,
    of_a_layer,
    run_settings,
    settings,
    shared_settings,
    with_settings,
)
from analysis.selection.ranking import ranking
from tests.factories import blobs, circle, layer, report
from tests.run_factories import run_options

CHOICE: dict[str, Any] = {
    "rho": 0.25,
    "normalization": "sqrt-activation",
    "preset": "paper",
    "summary": "entropy",
    "min_persistence": 0.5,
    "persistence_unit": "diameter",
    "eps_quantile": 0.2,
}
OPTIONS = AnalysisOptions(
    model="pocket-vgg",
    dataset="own:shapes of mine-0123abcd",
    shift="noise",
    severity=2,
    samples=12,
    seed=7,
    memory=1_500_000_000,
)


@pytest.mark.parametrize("options", [OPTIONS, AnalysisOptions()])
@pytest.mark.parametrize("choice", [CHOICE, CHOICE | {"eps_quantile": None}])
def test_the_command_line_asks_for_the_same_numbers(
    options: AnalysisOptions, choice: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[dict[str, Any]] = []
    monkeypatch.setattr(
        analysis.commands.analyze, "_analyze", lambda arguments: parsed.append(vars(arguments))
    )
    words = shlex.split(command_line(options, choice))
    assert words[:3] == ["python", "-m", "analysis"]
    assert main(words[3:]) == 0
    fields = {field.name for field in dataclasses.fields(AnalysisOptions)}
    assert AnalysisOptions(**{name: parsed[0][name] for name in fields}) == options
    assert {name: parsed[0][name] for name in choice} == choice


def test_a_name_says_what_decides_the_numbers() -> None:
    names = {
        file_stem("layers", settings(options, choice))
        for options in (OPTIONS, dataclasses.replace(OPTIONS, seed=8), AnalysisOptions())
        for choice in (CHOICE, *(CHOICE | {name: other} for name, other in OTHERS.items()))
    }
    assert len(names) == 3 * (1 + len(OTHERS))
    assert all(name.replace(".", "").replace("-", "").isidentifier() for name in names)


OTHERS = {
    "rho": 0.1,
    "normalization": "none",
    "preset": "released",
    "summary": "b1",
    "min_persistence": 0.0,
    "persistence_unit": "distance",
    "eps_quantile": None,
}


def test_a_name_of_a_layer_does_not_depend_on_the_selection() -> None:
    other = CHOICE | {"rho": 0.1, "normalization": "none", "summary": "b1"}
    one, two = (of_a_layer(settings(OPTIONS, choice)) for choice in (CHOICE, other))
    assert file_stem("map", one) == file_stem("map", two)
    assert caption(one) == caption(two)
    changed = of_a_layer(settings(OPTIONS, CHOICE | {"eps_quantile": None}))
    assert file_stem("map", one) != file_stem("map", changed)


def test_a_name_and_a_caption_of_runs_have_what_they_share_and_the_caption_what_differs() -> None:
    one, two = run_options("adabet", rho=0.3, normalization="flops"), run_options("random", 1)
    common, differing = shared_settings([run_settings(one), run_settings(two)])
    assert differing == {"strategy": ["adabet", "random"], "rho": [0.3, 0.1], "seed": [0, 1]}
    name = file_stem("loss", common)
    assert name.startswith("bettiscope-loss-pocket-resnet20-pretrained-digits-160-images-")
    assert "-recommended-flops-b1-train500-8-epochs-v" in name
    assert not any(word in name for word in ("seed", "rho", "adabet"))
    text = caption(common, differing)
    assert text.startswith("pocket-resnet20 (pretrained), 160 images of digits, preset recommended")
    assert "normalisation flops" in text  # of the only run that it plays a part in
    ending = ". What differs: strategy (adabet, random), ρ (0.3, 0.1), seed (0, 1)"
    assert text.endswith(f"BettiScope {common['version']}{ending}")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"weights": "random", "samples": 8}, "weights random, 8 images"),
        ({"model": "m", "dataset": "d"}, "m, images of d"),
        ({"shift": "noise"}, "images with noise"),
        ({"shift": "none"}, ""),
        ({}, ""),
    ],
)
def test_a_caption_of_runs_that_share_little_is_short(settings: dict[str, Any], text: str) -> None:
    assert caption(settings) == text


def test_a_caption_lists_only_the_first_of_many_values() -> None:
    text = caption({}, {"seed": list(range(9)), "learning_rate": [None, 0.05]})
    assert text == (
        "What differs: seed (0, 1, 2, 3, 4, 5 and 3 more), learning rate (default, 0.05)"
    )


@pytest.mark.parametrize(
    ("strategy", "absent"),
    [
        ("adabet", set()),
        ("size", {"normalization", "summary", "min_persistence", "persistence_unit"}),
        ("raw-b1", {"normalization", "summary"}),
        ("full", {"rho", "normalization", "summary", "min_persistence", "persistence_unit"}),
    ],
)
def test_settings_of_a_run_leave_out_what_plays_no_part(strategy: str, absent: set[str]) -> None:
    whole = set(run_settings(run_options("adabet")))
    assert whole - set(run_settings(run_options(strategy))) == absent
    fields = {field.name for field in dataclasses.fields(RunOptions)} - {"analysis", "recipe"}
    fields |= {field.name for field in dataclasses.fields(Recipe)}
    fields |= {field.name for field in dataclasses.fields(AnalysisOptions)} - {"memory"}
    assert fields | {"analysis_batch_size", "version"} == whole | {"also_train"}
    assert "also_train" not in whole, "none train beside the strategy's"
    more = run_settings(run_options("head", also_train=("conv1",)))
    assert more["also_train"] == ("conv1",)


def test_a_seed_of_the_analysis_is_named_where_it_is_another() -> None:
    options = dataclasses.replace(run_options("adabet", 3), analysis=AnalysisOptions(seed=5))
    known = run_settings(options)
    assert (known["seed"], known["analysis_seed"]) == (3, 5)


def test_a_long_name_keeps_its_version() -> None:
    options = dataclasses.replace(OPTIONS, model="x" * 300)
    name = file_stem("layers", settings(options, CHOICE))
    assert len(name.encode()) < 250
    assert name.endswith(f"-v{settings(options, CHOICE)['version']}")


def test_a_caption_names_the_settings() -> None:
    text = caption(settings(OPTIONS, CHOICE))
    for part in ("pocket-vgg", "12 images", "noise 2", "seed 7", "paper", "ρ = 0.25", "entropy"):
        assert part in text


def test_each_row_of_a_table_has_the_settings() -> None:
    known = settings(OPTIONS, CHOICE)
    table = with_settings(pd.DataFrame({"layer": ["a", "b"], "seed": [1, 2]}), known)
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert again["model"].tolist() == ["pocket-vgg"] * 2
    assert again["seed"].tolist() == [1, 2]  # the table's own column stays
    assert set(known) <= set(again.columns)


def test_the_document_holds_diagrams_and_clusters_on_request() -> None:
    measured = report(layer("a", circle(12)), layer("b", blobs(6)))
    frame = ranking(measured, rho=0.25)
    known = settings(OPTIONS, CHOICE)
    brief = document(measured, frame, known)
    assert "diagrams" not in brief["layers"][0]
    whole = json.loads(json.dumps(document(measured, frame, known, diagrams=True), allow_nan=False))
    assert {name: whole[name] for name in CHOICE} == CHOICE
    for row, of in zip(whole["layers"], measured.layers, strict=True):
        assert row["layer"] == of.name
        assert [len(d) for d in row["diagrams"]] == [len(d) for d in of.diagrams]
        if of.clustering is not None:
            assert row["cluster_of_image"] == of.clustering.labels.tolist()
            assert row["eps"] == of.clustering.eps
