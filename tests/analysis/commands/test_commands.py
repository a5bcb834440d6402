"""The command line: the JSON of the design, and one clear line for bad input."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from analysis.__main__ import main
from analysis.commands.finetune import selection_text
from analysis.commands.options import fill_images, weights_name
from analysis.datasets import list_datasets, load_dataset
from analysis.errors import NOT_ENOUGH_MEMORY, AssetError
from analysis.models import list_models, load_model, prepare_images
from analysis.options import AnalysisOptions
from analysis.selection.scores import score
from analysis.selection.strategies import STRATEGIES
from analysis.topology.clustering import dbscan
from analysis.topology.layer_tests import rotation_tests
from analysis.topology.pipeline import analyze_named
from analysis.topology.resummarize import resummarize
from analysis.training.metrics import Selection
from tests.analysis.datasets.picture_files import class_folders
from tests.serving import restore_ctrl_c

pytestmark = pytest.mark.usefixtures("home")


def analyze(*arguments: str) -> int:
    return main(["analyze", *arguments])


def test_the_json_is_that_of_the_design(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    arguments = ["--model", "pocket-vgg", "--dataset", "fashion", "--samples", "12", "--rho", "0.3"]
    assert analyze(*arguments, "--json", str(path)) == 0
    output = json.loads(path.read_text())
    settings = {"model", "dataset", "samples", "seed", "normalization", "rho", "layers"}
    assert settings | {"seconds", "version"} <= set(output)
    assert (output["model"], output["dataset"], output["samples"]) == ("pocket-vgg", "fashion", 12)
    keys = {"layer", "kind", "b1", "score", "rank", "selected", "activation_size", "parameters"}
    assert all(keys | {"clusters"} <= set(layer) for layer in output["layers"])

    report = analyze_named(AnalysisOptions(model="pocket-vgg", dataset="fashion", samples=12))
    scores = score(report)
    for layer in output["layers"]:
        assert layer["score"] == pytest.approx(layer["b1"] / layer["activation_size"])
        assert layer["score"] == scores[layer["layer"]]
    ranked = sorted((x for x in output["layers"] if x["rank"]), key=lambda x: x["rank"])
    assert [x["rank"] for x in ranked] == [
        1 + sum(other["score"] > x["score"] for other in ranked) for x in ranked
    ]
    assert [x["selected"] for x in ranked] == [True] * 3 + [False] * 6  # round(0.3 · 9)
    assert [x["layer"] for x in output["layers"] if x["head"]] == ["classifier.3"]


def test_a_stored_answer_says_so_and_from_when(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "pocket-vgg", "--samples", "9", "--seed", "11"]
    results, notes = [], []
    for _ in range(2):
        assert analyze(*arguments) == 0
        captured = capsys.readouterr()
        results.append(json.loads(captured.out))
        notes.append([n for n in captured.err.splitlines() if "Stored analysis, made on" in n])
    assert [result["stored"] for result in results] == [False, True]
    assert [len(lines) for lines in notes] == [0, 1]
    first, second = (datetime.fromisoformat(result["made"]) for result in results)
    assert first.tzinfo is not None
    assert abs((first - second).total_seconds()) < 60
    assert f"{second:%Y-%m-%d at %H:%M}" in notes[1][0]


def test_without_a_file_the_json_goes_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert analyze("--model", "pocket-vgg", "--samples", "8", "--normalization", "none") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert all(x["score"] == x["b1"] for x in report["layers"])
    assert "Forward pass  features.0" in captured.err


def test_powers_of_sizes_may_normalise(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("--model", "pocket-vgg", "--samples", "8", "--normalization")
    assert analyze(*command, "parameters^-1 activation^.25") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["normalization"] == "activation^0.25 parameters^-1"
    scores = [
        x["b1"] / (x["activation_size"] ** 0.25 * x["parameters"] ** -1) for x in report["layers"]
    ]
    assert [x["score"] for x in report["layers"]] == pytest.approx(scores)


def test_a_stored_analysis_needs_neither_torch_nor_ripser(
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = ["analyze", "--model", "pocket-vgg", "--samples", "8", "--diagrams"]
    assert main(few) == 0
    fresh = json.loads(capsys.readouterr().out)
    program = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'ripser', 'sklearn']);"
        "from analysis.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    stored = subprocess.run([sys.executable, "-c", program, *few], capture_output=True, text=True)
    assert json.loads(stored.stdout) == fresh | {"stored": True}


def test_the_command_line_clusters_as_asked_and_gives_diagrams(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--model", "pocket-vgg", "--samples", "8"]
    clusters: dict[str, Any] = {"eps_quantile": 0.3, "min_samples": 2}
    flags = ["--eps-quantile", "0.3", "--min-samples", "2", "--diagrams"]
    assert analyze(*arguments, *flags) == 0
    output = json.loads(capsys.readouterr().out)
    assert {name: output[name] for name in clusters} == clusters
    report = analyze_named(AnalysisOptions(model="pocket-vgg", samples=8))
    for row, layer in zip(output["layers"], report.layers, strict=True):
        expected = dbscan(layer.distances, **clusters)
        assert row["cluster_of_image"] == expected.labels.tolist()
        assert row["clusters"] == expected.count
        assert row["diagrams"] == [diagram.tolist() for diagram in layer.diagrams]
    assert any(row["diagrams"][0] for row in output["layers"])


def test_the_loops_are_tested_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    few = ["--model", "pocket-vgg", "--samples", "8", "--null", "9", "--permuted", "3"]
    assert analyze(*few, "--json", str(path)) == 0
    printed = capsys.readouterr().err
    assert "With 9 draws, no single one of" in printed
    assert "predicted for permuted features: about" in printed
    output = json.loads(path.read_text())
    assert (output["null"], output["permuted"]) == (9, 3)
    report = analyze_named(AnalysisOptions(model="pocket-vgg", samples=8))
    tests = rotation_tests(report, draws=9)
    for row in output["layers"]:
        test = tests.tests[row["layer"]]
        assert row["null"]["bars"] == list(test.bars)
        assert row["null"]["draws"] == test.draws
        for name, numbers in test.to_frame().iterrows():
            saved = row["null"][name]
            assert {key: saved[key] for key in numbers.index} == pytest.approx(dict(numbers))
            assert saved["p_holm"] >= saved["p"]
    table = tmp_path / "out.csv"
    assert analyze(*few, "--csv", str(table)) == 0
    assert "predicted" not in capsys.readouterr().err  # both are saved
    row = next(csv.DictReader(table.open(encoding="utf-8")))
    first = output["layers"][0]
    longest, permuted = first["null"]["longest-loop"], first["permuted"]
    assert float(row["p_holm_longest_loop"]) == pytest.approx(longest["p_holm"])
    assert permuted["b1"] == first["b1"]
    assert float(row["b1_permuted_mean"]) == pytest.approx(permuted["permuted_mean"])
    assert float(row["p_permuted_fewer"]) == pytest.approx(permuted["p_fewer"])


def test_csv_has_one_row_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    assert analyze("--model", "pocket-vgg", "--samples", "8", "--csv", str(path)) == 0
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["layer"] == "features.0"
    assert len(rows) == 10
    assert {(row["model"], row["seed"], row["rho"]) for row in rows} == {("pocket-vgg", "0", "0.1")}


def test_a_preset_decides_the_options_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "pocket-vgg", "--preset", "released", "--rho", "0.09"]
    assert analyze(*arguments) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["samples"] == 128
    assert not any(x["selected"] for x in report["layers"])  # floor(0.09 · 10)
    assert "selects no layer" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "alexnat"], "`model` must be one of the .*such as alexnet.*; got 'alexnat'"),
        (["--dataset", "cats"], "got 'cats'"),
        (["--rho", "0"], r"`rho` must be in \(0, 1\], got 0"),
        (["--rho", "1.01"], r"`rho` must be in \(0, 1\], got 1.01"),
        (["--rho", "nan"], r"`rho` must be in \(0, 1\], got nan"),
        (["--samples", "3"], "`samples` must be at least 4, got 3"),
        (["--samples", "1079"], "the train split of digits has 1078 images"),
        (["--weights", "mine"], "`weights` must be one of pretrained, random, .*; got 'mine'"),
        (["--seed", "-1"], "`seed` must be from 0"),
        (["--normalization", "size"], "`normalization` must be one of activation, none"),
        (["--normalization", "flops^5"], "the power of flops is not between -4 and 4"),
        (["--summary", "b2"], "`summary` must be one of b1, betti-maximum"),
        (["--min-persistence", "-1"], "`min_persistence` must be at least 0, got -1"),
        (["--persistence-unit", "birth"], "`persistence_unit` must be one of distance, diameter"),
        (
            ["--min-persistence", "1", "--persistence-unit", "diameter"],
            "`min_persistence` must be below 1 when `persistence_unit` is 'diameter', got 1",
        ),
        (["--shift", "fog"], "`shift` must be one of none, blur"),
        (["--severity", "6", "--shift", "blur"], "`severity` must be from 1 to 5, got 6"),
        (["--eps-quantile", "0"], r"`eps_quantile` must be in \(0, 1\], got 0"),
        (["--min-samples", "0"], "`min_samples` must be at least 1, got 0"),
        (["--preset", "mine"], "`preset` must be one of recommended, paper, released"),
        (["--model", "x", "--rho", "2"], "`model` must.*; `rho` must"),
        (["--model", "x", "--samples", "2"], "`model` must.*; `samples` must"),
        (["--json", "/nowhere/out.json"], "/nowhere/out.json: No such file"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert analyze(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()

    assert re.search(message, line)


@pytest.mark.parametrize("alike", [False, True])
def test_images_without_a_loop_are_said(
    alike: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = class_folders(tmp_path / "greys", {"a": 5, "b": 5})  # a grey for each image
    if alike:
        for file in folder.glob("*/*.png"):
            file.write_bytes((folder / "a" / "0.png").read_bytes())
    arguments = ["--dataset", str(folder), "--samples", "6", "--rho", "0.3", "--split", "train"]
    assert analyze("--model", "pocket-vgg", *arguments) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert {x["b1"] for x in result["layers"]} == {0}
    assert {x["rank"] for x in result["layers"] if not x["head"]} == {1}
    assert result["degenerate"] == ["no-loops", "execution-order"]
    assert all(f"note: {note}" in captured.err for note in result["notes"])
    said = " ".join(result["notes"])
    assert "All 6 images are of a single colour" in said
    assert ("All 6 images are the same to this network" in said) is alike
    assert "No layer has a loop that counts" in said
    assert "This is not AdaBet's selection" in said


def test_the_shortest_loop_may_be_a_share_of_each_layers_diameter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unit = ["--min-persistence", "0.02", "--persistence-unit", "diameter"]
    assert analyze("--model", "pocket-vgg", "--samples", "12", *unit) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["min_persistence"], result["persistence_unit"]) == (0.02, "diameter")
    report = analyze_named(AnalysisOptions(model="pocket-vgg", samples=12))
    for layer, row in zip(report.layers, result["layers"], strict=True):
        births, deaths = layer.diagram.T
        long = deaths - births > 0.02 * layer.distances.max()
        assert row["b1"] == long.sum()
        assert row["score"] == long.sum() / layer.activation_size
    assert 0 < sum(row["b1"] for row in result["layers"]) < sum(x.b1 for x in report.layers)


def test_the_summary_and_the_shortest_loop_change_the_scores(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--model", "pocket-vgg", "--samples", "12", "--min-persistence", "0.5"]
    assert analyze(*options, "--summary", "entropy") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["summary"], result["min_persistence"]) == ("entropy", 0.5)
    report = analyze_named(AnalysisOptions(model="pocket-vgg", samples=12))
    report = resummarize(report, min_persistence=0.5)
    scores, loops = score(report, summary="entropy"), report.to_frame().set_index("layer")["b1"]
    for layer in result["layers"]:
        assert layer["score"] == scores[layer["layer"]]
        assert layer["b1"] == loops[layer["layer"]]
    assert scores.to_dict() != score(report).to_dict()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB."), MemoryError()]
)
def test_want_of_memory_is_one_clear_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("analysis.topology.pipeline.load_model", fail)
    assert analyze("--model", "pocket-vgg", "--samples", "8") == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {NOT_ENOUGH_MEMORY}"


def test_bad_input_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert analyze("--samples", "5000", "--json", str(path)) == 2
    assert not path.exists()


def test_a_full_disk_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert analyze("--model", "pocket-vgg", "--samples", "8", "--json", "/dev/full") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: No space left on device"


def test_the_json_has_the_options_of_the_analysis(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "pocket-vgg", "--samples", "8", "--shift", "blur", "--severity", "5"]
    assert analyze(*arguments, "--split", "test") == 0
    report = json.loads(capsys.readouterr().out)
    settings = {"shift": "blur", "severity": 5, "split": "test", "pooling": "subsets"}
    assert settings.items() <= report.items()
    assert (report["weights"], report["preset"]) == ("pretrained", "recommended")


@pytest.mark.parametrize("arguments", [["analyze", "--samples", "many"], ["fly"], []])
def test_a_refusal_of_argparse_is_one_line_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("size", ["inf", "nan", "1e400", "-1", "much"])
def test_a_budget_that_is_not_a_number_is_one_clear_line(
    size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["analyze", f"--memory={size}"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument --memory: must be a number of GB, at least 0; got '{size}'" in line


@pytest.mark.parametrize("name", ["mine.pt", "MINE.PT", "Mine.SafeTensors", "a/b.pth"])
def test_a_checkpoint_is_known_by_its_ending(name: str) -> None:
    assert weights_name(name) == f"file:{Path(name).resolve()}"


def test_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BETTISCOPE_HOME", str(tmp_path))  # without uploads

    def listed(*arguments: str) -> tuple[list[str], str]:
        """The names of the first paragraph, and the rest."""
        assert main(arguments) == 0
        names, _, rest = capsys.readouterr().out.partition("\n\n")
        return [line.split()[0] for line in names.splitlines()], rest

    models, rest = listed("models")
    assert models == list_models()
    assert "FILE.py:FUNCTION" in rest
    datasets, rest = listed("datasets")
    assert datasets == list_datasets()
    assert "rotation" in rest
    assert main(["models", "zzz"]) == 2
    assert "No name contains 'zzz'" in capsys.readouterr().err
    assert listed("models", "ResNet1") == (
        [name for name in list_models() if "resnet1" in name], ""
    )  # fmt: skip


def finetune(*arguments: str) -> int:
    return main(["finetune", *arguments])


SHORT = [
    "--model", "pocket-vgg", "--train-samples", "40", "--samples", "8", "--epochs", "2", "--seed",
    "3", "--batch-size", "16",
]  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The JSON of a short fine-tune, and the weights that it saved."""
    folder = tmp_path_factory.mktemp("tuned")
    path, weights = folder / "out.json", folder / "weights.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BETTISCOPE_HOME", str(folder / "home"))
        files = "--json", str(path), "--save-weights", str(weights)
        assert finetune(*SHORT, "--follow-topology", *files) == 0
    return json.loads(path.read_text()), weights


def test_the_json_of_a_fine_tune_is_that_of_the_design(tuned: tuple[dict[str, Any], Path]) -> None:
    outcome, _ = tuned
    whole = {
        "trainable_parameters": int, "total_parameters": int, "seed": int, "version": str,
        "best_val_accuracy": float, "last_val_accuracy": float, "test_accuracy": float,
        "seconds": float, "strategy": str, "layers": list, "epochs": list, "peak_memory": dict,
    }  # fmt: skip
    assert all(type(outcome[key]) is kind for key, kind in whole.items())
    types = {"epoch": int, "train_loss": float, "val_accuracy": float, "seconds": float}
    assert len(outcome["epochs"]) == 2
    for epoch in outcome["epochs"]:
        assert all(type(epoch[key]) is kind for key, kind in types.items())
    kinds = {"parameters", "gradients", "optimizer", "activations", "other"}
    assert set(outcome["peak_memory"]) == {"total", *kinds}
    assert all(type(size) is int for size in outcome["peak_memory"].values())


def test_the_numbers_of_a_fine_tune_agree(tuned: tuple[dict[str, Any], Path]) -> None:
    outcome, _ = tuned
    accuracies = [epoch["val_accuracy"] for epoch in outcome["epochs"]]
    assert [epoch["epoch"] for epoch in outcome["epochs"]] == [1, 2]
    assert outcome["best_val_accuracy"] == max(accuracies)
    assert outcome["last_val_accuracy"] == accuracies[-1]
    assert all(0 <= a <= 1 for a in (*accuracies, outcome["test_accuracy"]))
    assert outcome["test_accuracy"] * 360 == pytest.approx(round(outcome["test_accuracy"] * 360))
    model = load_model("pocket-vgg")
    trained = [model.get_submodule(layer) for layer in outcome["layers"]]
    counted = sum(p.numel() for module in trained for p in module.parameters())
    assert outcome["trainable_parameters"] == counted
    assert outcome["total_parameters"] == sum(p.numel() for p in model.parameters())
    assert outcome["layers"][-1] == "classifier.3"
    memory = outcome["peak_memory"]
    assert memory["total"] == sum(size for kind, size in memory.items() if kind != "total")
    frozen = outcome["frozen_part"]
    assert frozen["once"]
    assert frozen["bytes"] == frozen["predicted_bytes"] > 0
    assert memory["parameters"] == 4 * outcome["total_parameters"]
    assert memory["optimizer"] == 4 * outcome["trainable_parameters"]
    assert outcome["predicted_peak_memory"] == memory
    assert sum(epoch["seconds"] for epoch in outcome["epochs"]) <= outcome["seconds"]
    settings = {"strategy": "adabet", "model": "pocket-vgg", "dataset": "digits", "seed": 3}
    settings |= {"train_samples": 40, "samples": 8, "rho": 0.1, "batch_size": 16}
    assert settings.items() <= outcome.items()
    assert outcome["learning_rate"] == 0.05
    assert outcome["selection"]["used_labels"] is False
    assert outcome["selection"]["seconds"] > 0
    topology = outcome["topology"]
    assert (topology["images"], topology["epochs"], topology["note"]) == (32, [0, 1, 2], "")
    trained = outcome["layers"][-1]
    assert len(topology["b1"][trained]) == 3
    assert len(set(topology["b1"]["features.0"])) == 1  # frozen


def test_saved_weights_reach_the_reported_accuracy(tuned: tuple[dict[str, Any], Path]) -> None:
    outcome, weights = tuned
    model = load_model("pocket-vgg", weights="random", seed=9)
    model.load_state_dict(safetensors.torch.load_file(weights))
    data = load_dataset("digits", split="test")
    with torch.no_grad():
        guesses = model(prepare_images("pocket-vgg", data.images)).argmax(1)
    assert (guesses == torch.from_numpy(data.labels)).float().mean().item() == pytest.approx(
        outcome["test_accuracy"]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "head", "--reverse"], "`reverse` needs a strategy that .*, got 'head'"),
        (["--strategy", "mine"], "`strategy` must be one of adabet, .*; got 'mine'"),
        (["--train-samples", "1079"], "`train_samples` must be at most 1078, got 1079"),
        (["--train-samples", "0"], "`train_samples` must be at least 1, got 0"),
        (["--json", "/nowhere/out.json"], "/nowhere/out.json: No such file"),
        (["--save-weights", "/nowhere/w"], "/nowhere/w: No such file"),
        (["--weights", "x", "--optimizer", "x"], "`weights` .* got 'x'; `optimizer` .* got 'x'$"),
        (["--preset", "released", "--samples", "32", "--rho", "0.01"], "Nothing .* ρ = 0.01"),
        (["--learning-rate", "1e38"], "no longer finite"),
        (
            ["--model", "x", "--dataset", "x", "--weights", "x", "--shift", "x", "--severity", "9",
             "--strategy", "x", "--rho", "0", "--preset", "x", "--normalization", "x", "--samples",
             "1", "--train-samples", "0", "--epochs", "0", "--batch-size", "0", "--learning-rate",
             "0", "--optimizer", "x", "--momentum", "1", "--weight-decay", "-1",
             "--augmentation", "x", "--seed", "-1", "--summary", "x", "--min-persistence", "nan"],
            "model dataset shift severity strategy rho preset normalization samples "
            "train_samples epochs batch_size learning_rate optimizer momentum weight_decay "
            "augmentation seed summary min_persistence",
        ),
    ],
)  # fmt: skip
def test_a_bad_fine_tune_is_one_clear_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(*SHORT, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    if "no longer" not in message:  # that one is found while training
        assert captured.err.count("\n") == 1
    if len(arguments) < 9:
        assert re.search(message, line)
    else:
        assert sorted(re.findall(r"`(\w+)` must be", line)) == sorted(message.split())


def test_a_result_outlives_weights_that_cannot_be_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save", fail)
    path = tmp_path / "out.json"
    weights = str(tmp_path / "w")
    arguments = [*SHORT, "--strategy", "head", "--json", str(path), "--save-weights", weights]
    assert finetune(*arguments) == 2
    assert "could not be saved" in capsys.readouterr().err.splitlines()[-1]
    assert json.loads(path.read_text())["strategy"] == "head"


def test_ctrl_c_prints_no_traceback(tmp_path: Path) -> None:
    arguments = [
        *SHORT,
        "--epochs",
        "1000",
        "--strategy",
        "head",
        "--json",
        str(tmp_path / "out.json"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "analysis", "finetune", *arguments],
        stderr=subprocess.PIPE, text=True, preexec_fn=restore_ctrl_c,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:  # until it trains
            lines.append(line)
            if line.startswith("epoch   2"):
                process.send_signal(signal.SIGINT)
                break
        lines += process.stderr.readlines()
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.stderr.close()
    assert lines[-1] == "stopped\n"
    assert "Traceback" not in "".join(lines)
    assert list(tmp_path.glob("out.json")) == []


def test_strategies_are_listed_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(STRATEGIES)
    assert "Surgical fine-tuning" in lines[list(STRATEGIES).index("first")]


@pytest.mark.usefixtures("predicted_cost")
def test_a_long_analysis_is_predicted_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    arguments = ["--model", "pocket-vgg", "--samples", "12", "--json", str(path)]
    assert analyze(*arguments) == 0
    assert "predicted" not in capsys.readouterr().err
    assert analyze(*arguments, "--seed", "1", "--memory", "8") == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert re.fullmatch(r"predicted: \d+ s, \d+ MB of memory", first)


def test_without_a_network_nothing_is_measured_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise AssetError("Nobody answers.")

    monkeypatch.setattr("analysis.commands.analyze.load_dataset", unreachable)
    monkeypatch.setattr("analysis.commands.analyze._print_cost", pytest.fail)
    assert analyze("--dataset", "pets", "--model", "pocket-vgg") == 2
    assert capsys.readouterr().err == "error: Nobody answers.\n"


@pytest.mark.parametrize("command", ["analyze", "finetune"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head", "0.nothing"], "such as 3, 0, or “none”; got '0.nothing'"),
        (["--head", "1"], "such as 3, 0, or “none”; got '1'"),  # not of a kind that classifies
        (["--model", "missing.py:build"], "`model` must name an existing file"),
        (["--weights", "broken.pt"], "broken.pt"),
        (["--json", "nowhere/out.json"], "nowhere/out.json: No such file"),
    ],
)
def test_names_files_and_heads_are_checked_before_anything_slow(
    command: str,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef build():\n    return nn.Sequential("
        "nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 5))\n"
    )
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    # The next step: a download, then the prediction of the cost, or the images.
    monkeypatch.setattr(f"analysis.commands.{command}.fetch_weights", pytest.fail)
    named = ["--model", "net.py:build", "--weights", "random", *arguments]
    assert main([command, *named]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder of two classes, and a file that is no image."""
    root = class_folders(tmp_path / "pets", {"cat": 5, "dog": 5})
    (root / "dog" / "no.png").write_bytes(b"no image")
    return root


def test_left_out_files_are_reported(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    arguments = ["--model", "pocket-vgg", "--dataset", str(broken)]
    assert analyze(*arguments, "--json", str(path)) == 0
    assert "note: left out 1 file, dog/no.png: it is damaged" in capsys.readouterr().err
    assert list(json.loads(path.read_text())["left_out"]) == ["dog/no.png"]
    arguments += ["--strategy", "head", "--epochs", "1"]
    assert finetune(*arguments, "--json", str(path)) == 0
    assert "note: left out 1 file, dog/no.png: it is damaged" in capsys.readouterr().err


def test_weights_that_are_not_finite_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = load_model("pocket-vgg").state_dict()
    state["features.0.weight"].fill_(float("nan"))
    torch.save(state, tmp_path / "nan.pt")
    arguments = ["--model", "pocket-vgg", "--samples", "8", "--weights", str(tmp_path / "nan.pt")]
    path = tmp_path / "out.json"
    assert analyze(*arguments, "--json", str(path)) == 0
    notes = capsys.readouterr().err
    assert "note: The activations of 10 of 10 layers are not finite" in notes
    assert "note: No layer can be chosen" in notes
    assert "use a larger value" not in notes
    arguments += ["--train-samples", "40", "--json", str(path)]
    assert finetune(*arguments) == 2
    assert "“AdaBet” cannot choose" in capsys.readouterr().err
    assert finetune(*arguments, "--strategy", "full") == 2
    assert "The loss is not finite before the first step" in capsys.readouterr().err


def test_a_small_folder_is_analysed_whole_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, pictures = np.random.default_rng(0), tmp_path / "pictures"
    pictures.mkdir()
    for number in range(7):
        pixels = rng.integers(0, 255, (28, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    assert main(["analyze", "--dataset", str(pictures)]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["samples"] == 7
    assert "note: --samples is 7" in captured.err
    assert main(["analyze", "--dataset", str(pictures), "--samples", "8"]) == 2


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "cp932"])
@pytest.mark.parametrize("arguments", [["models"], ["datasets"], ["strategies"], ["models", "ÿ"]])
def test_a_console_of_any_encoding_gets_substitutes(
    encoding: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    assert main(arguments) == 2 * (len(arguments) - 1)
    streams[1].flush()
    assert any(stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]


def test_a_long_name_does_not_run_into_the_next_column(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a-name-of-an-upload-That-is-long-0123456789ab"
    class_folders(home / "datasets" / name, {"a": 4})
    assert main(["datasets", "upload-That-is-long"]) == 0
    assert "-0123456789ab 4 images" in capsys.readouterr().out
    assert main(["datasets"]) == 0
    table = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    width = max(len(line.split()[0]) for line in table)
    assert width > len(name)
    assert all(line[width] == " " != line[width + 1] for line in table)


@pytest.mark.parametrize(("per_class", "said"), [(1, False), (3, True)])
def test_the_number_of_images_is_explained_only_by_a_split_that_has_it(
    per_class: int, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class_folders(tmp_path / "few", {"a": per_class, "b": per_class})
    name = f"folder:{tmp_path / 'few'}"
    given = argparse.Namespace(dataset=name, samples=None)
    fill_images(given, "train", {"samples": 40})
    assert given.samples == (6 if said else 4)
    assert ("because the split has no more images" in capsys.readouterr().err) == said


def test_one_layer_is_not_several() -> None:
    selection = Selection(("fc",), 10, 100, 0.5, 1000, False, False, "sgd", None)
    assert selection_text(selection).startswith("training 1 layer, ")
