"""The command line: the JSON of the design, and one clear line for bad input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.datasets import list_datasets
from analysis.models import list_models
from analysis.options import AnalysisOptions
from analysis.pipeline import run
from analysis.scores import score


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path / "home"))


def analyze(*arguments: str) -> int:
    return main(["analyze", *arguments])


def test_the_json_is_that_of_the_design(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    asked = ["--model", "pocket-vgg", "--dataset", "fashion", "--samples", "12", "--rho", "0.3"]
    assert analyze(*asked, "--json", str(path)) == 0
    found = json.loads(path.read_text())
    told = {"model", "dataset", "samples", "seed", "normalization", "rho", "layers"}
    assert told | {"seconds", "version"} <= set(found)
    assert (found["model"], found["dataset"], found["samples"]) == ("pocket-vgg", "fashion", 12)
    keys = {"layer", "kind", "b1", "score", "rank", "selected", "activation_size", "parameters"}
    assert all(keys | {"clusters"} <= set(layer) for layer in found["layers"])

    report = run(AnalysisOptions(model="pocket-vgg", dataset="fashion", samples=12))
    scores = score(report)
    for layer in found["layers"]:
        assert layer["score"] == pytest.approx(layer["b1"] / layer["activation_size"])
        assert layer["score"] == scores[layer["layer"]]
    ranked = sorted((x for x in found["layers"] if x["rank"]), key=lambda x: x["rank"])
    assert [x["rank"] for x in ranked] == list(range(1, 10))
    assert [x["selected"] for x in ranked] == [True] * 3 + [False] * 6  # round(0.3 · 9)
    assert [x["layer"] for x in found["layers"] if x["head"]] == ["classifier.3"]


def test_without_a_file_the_json_goes_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert analyze("--model", "pocket-vgg", "--samples", "8", "--normalization", "none") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert all(x["score"] == x["b1"] for x in found["layers"])
    assert "Forward pass  features.0" in captured.err


def test_csv_has_one_row_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert analyze("--model", "pocket-vgg", "--samples", "8", "--csv", str(path)) == 0
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["layer"] == "features.0"
    assert len(rows) == 10


def test_a_preset_decides_what_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", "pocket-vgg", "--preset", "released", "--rho", "0.09"]
    assert analyze(*asked) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["samples"] == 128
    assert not any(x["selected"] for x in found["layers"])  # floor(0.09 · 10)
    assert "selects no layer" in captured.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "alexnet"], "`model` must be one of pocket-resnet20, .*; got 'alexnet'"),
        (["--dataset", "cats"], "`dataset` must be one of digits, fashion; got 'cats'"),
        (["--rho", "0"], r"`rho` must be in \(0, 1\], got 0"),
        (["--rho", "1.01"], r"`rho` must be in \(0, 1\], got 1.01"),
        (["--rho", "nan"], r"`rho` must be in \(0, 1\], got nan"),
        (["--samples", "3"], "`samples` must be at least 4, got 3"),
        (["--samples", "1079"], "the train split of digits has 1078 images"),
        (["--weights", "mine"], "`weights` must be one of pretrained, random; got 'mine'"),
        (["--seed", "-1"], "`seed` must be from 0"),
        (["--normalization", "size"], "`normalization` must be one of activation, none"),
        (["--shift", "fog"], "`shift` must be one of none, blur"),
        (["--severity", "6", "--shift", "blur"], "`severity` must be from 1 to 5, got 6"),
        (["--preset", "mine"], "`preset` must be one of recommended, paper, released"),
        (["--model", "x", "--rho", "2"], "`model` must.*; `rho` must"),
        (["--model", "x", "--samples", "2"], "`model` must.*; `samples` must"),
        (["--json", "/nowhere/out.json"], "/nowhere/out.json: No such file"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()

    assert re.search(told, line)


def test_bad_input_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert analyze("--samples", "5000", "--json", str(path)) == 2
    assert not path.exists()


def test_a_full_disk_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze("--model", "pocket-vgg", "--samples", "8", "--json", "/dev/full") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: No space left on device"


def test_the_json_says_what_was_analysed(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", "pocket-vgg", "--samples", "8", "--shift", "blur", "--severity", "5"]
    assert analyze(*asked, "--split", "test") == 0
    found = json.loads(capsys.readouterr().out)
    told = {"shift": "blur", "severity": 5, "split": "test", "pooling": "pooled"}
    assert told.items() <= found.items()
    assert (found["weights"], found["preset"]) == ("pretrained", "recommended")


@pytest.mark.parametrize("arguments", [["analyze", "--samples", "many"], ["fly"], []])
def test_what_argparse_refuses_is_one_line_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    models = capsys.readouterr().out
    assert [line.split()[0] for line in models.splitlines()] == list_models()
    assert main(["datasets"]) == 0
    datasets = capsys.readouterr().out
    assert [line.split()[0] for line in datasets.splitlines()[:2]] == list_datasets()
    assert "rotation" in datasets
