"""The command `sweep`: what it runs, tells and writes.

The training in the workers is `stand_in/training.py`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from analysis.__main__ import main
from analysis.commands.sweep import _grid, add_to
from analysis.runs.store import RunStore
from analysis.sweeps.grid import DataChoice
from analysis.sweeps.progress import _Fingerprints
from tests.analysis.run_faults import KINDS, ROOT, STAND_IN

QUICK, WRONG = (str(KINDS.index(kind)) for kind in ("quick", "training error"))
TINY = ["sweep", "--models", "pocket-vgg", "--datasets", "digits,digits+noise:5"]
TINY += ["--strategies", "full,head", "--epochs", "2", "--train-samples"]


@pytest.fixture(autouse=True)
def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    fingerprints = {"model": "m", "data": "d"}  # those of the stand-in
    monkeypatch.setattr(_Fingerprints, "of", lambda self, cell: fingerprints)


def test_a_sweep_reports_each_cell_and_writes_its_tables(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = [home / name for name in ("grid.json", "grid.csv", "grid.md")]
    files = ["--json", str(written[0]), "--csv", str(written[1]), "--markdown", str(written[2])]
    assert main([*TINY, QUICK, "--name", "mine", *files]) == 0
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 4
    assert lines[0].startswith("   1/4  pocket-vgg on digits: Full, seed 0: 62.5 %, 0.0 MB, 1.5 s")
    assert re.search(r"about \d+ s left", lines[0])
    assert lines[3].startswith("   4/4  pocket-vgg on digits+noise:5: Head only, seed 0: 62.5 %")
    assert "left" not in lines[3]
    profile = json.loads(written[0].read_text())
    assert profile["name"] == "mine"
    assert [(c["strategy"], c["shift"], c["test_accuracy"]) for c in profile["cells"]] == [
        ("full", "none", 0.625), ("head", "none", 0.625),
        ("full", "noise", 0.625), ("head", "noise", 0.625),
    ]  # fmt: skip
    with written[1].open() as file:
        assert [line["measured_peak_bytes"] for line in csv.DictReader(file)] == ["15"] * 4
    assert "| pocket-vgg | digits+noise:5 | 62.5 | 62.5 |" in written[2].read_text()
    assert {run.group for run in RunStore().runs()} == {"grid:mine"}

    # The same again runs nothing, and tells the same; one more seed runs only that.
    assert main([*TINY, QUICK]) == 0
    out, err = capsys.readouterr()
    assert err == "4 of 4 cells have already finished.\n"
    assert out == written[2].read_text()
    assert main([*TINY, QUICK, "--list", "--seeds", "0,1"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines()[0] == "done        pocket-vgg on digits: Full, seed 0"
    assert out.splitlines()[4] == "missing     pocket-vgg on digits: Full, seed 1"
    assert out.splitlines()[-1] == "4 of 8 cells have finished."
    assert len(RunStore().runs()) == 4


def test_failed_cells_are_reported_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*TINY, WRONG]) == 1
    out, err = capsys.readouterr()
    assert "Full, seed 0: failed. `train_samples` must be at most 7." in err
    assert err.splitlines()[-1] == "4 of 4 cells have not finished."
    assert "| pocket-vgg | digits | – | – |" in out


def test_the_pocket_grid_is_the_default_and_listing_runs_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 81
    assert lines[0] == "missing     pocket-resnet20 on digits: AdaBet, seed 0"
    assert main(["sweep", "--list", "--grid", "paper"]) == 0
    assert "vit_b_16 on dogs: Full, seed 0" in capsys.readouterr().out
    assert main(["sweep", "--list", "--reverse", "--strategies", "adabet,full"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "missing     pocket-resnet20 on digits: AdaBet, reversed, seed 0"
    assert lines[1] == "missing     pocket-resnet20 on digits: Full, seed 0"
    assert RunStore().runs() == []


def test_all_problems_are_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["sweep", "--grid", "huge", "--models", "resnet5000", "--datasets", "digits+tilt:3"]
    wrong += ["--strategies", "best", "--seeds", "0,x", "--epochs", "0", "--rho", "2"]
    wrong += ["--workers", "0", "--train-samples", "0", "--device", "tpu"]
    assert main(wrong) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for part in ("huge", "resnet5000", "tilt", "best", "got 0, x", "`epochs`", "`rho`", "tpu"):
        assert part in err, part
    for part in ("`workers` must be at least 1", "`train_samples` must be at least 1"):
        assert part in err, part


def test_a_missing_device_is_reported_before_any_cell_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = [*TINY, QUICK, "--device", "cuda"]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "`device` must be auto or cpu on this machine, got 'cuda'" in err
    assert main([*arguments, "--list"]) == 0
    # What a cluster's workers have is not known here.
    assert main([*arguments, "--dask", "nonsense"]) == 2
    assert "a scheduler's address" in capsys.readouterr().err
    assert RunStore().runs() == []


def test_tables_are_written_whatever_the_locale(home: Path) -> None:
    program = (
        "import argparse, sys\n"
        "from pathlib import Path\n"
        "from analysis.commands.sweep import _write\n"
        "from analysis.sweeps.grid import POCKET_GRID\n"
        "to = dict.fromkeys(('json', 'csv'), None) | {'markdown': Path(sys.argv[1])}\n"
        "_write(argparse.Namespace(**to), POCKET_GRID, POCKET_GRID.cells(), {})\n"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run(
        [sys.executable, "-c", program, str(home / "grid.md")], cwd=ROOT, check=True,
        env=os.environ | plain,
    )  # fmt: skip
    assert "| – |" in (home / "grid.md").read_text(encoding="utf-8")


def test_a_smaller_split_is_said_before_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "100000", "--datasets", "digits", "--strategies", "head"]) == 1
    assert "The train split of digits has 1,078 images" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_reported_before_the_work(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, QUICK, "--csv", str(home / "nowhere" / "grid.csv")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert RunStore().runs() == []


def test_a_scheduler_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, QUICK, "--dask", "nonsense"]) == 2
    assert capsys.readouterr().err == (
        "error: `dask` must be a scheduler's address like tcp://10.0.0.1:8786, got 'nonsense'\n"
    )


def test_paths_may_be_given_as_elsewhere_and_become_absolute(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = argparse.ArgumentParser()
    add_to(parser.add_subparsers())
    monkeypatch.chdir(home)
    (home / "pictures").mkdir()
    (home / "a+b").mkdir()
    options = ["--models", "net.py:build, pocket-vgg", "--weights", "tuned.pt"]
    folders = f"digits+rotation:4,./pictures,pictures+noise:2,folder:{home}/a+b,a+b/c+blur"
    arguments = parser.parse_args(["sweep", *options, "--datasets", folders])
    assert arguments.models == (f"{home}/net.py:build", "pocket-vgg")
    assert arguments.weights == f"file:{home}/tuned.pt"
    assert arguments.datasets == (
        DataChoice("digits", "rotation", 4),
        DataChoice(f"folder:{home}/pictures"),
        DataChoice(f"folder:{home}/pictures", "noise", 2),
        DataChoice(f"folder:{home}/a+b"),
        DataChoice(f"folder:{home}/a+b/c", "blur"),
    )
    assert parser.parse_args(["sweep", "--weights", "file:net"]).weights == f"file:{home}/net"


def test_the_head_and_the_links_of_folders_are_those_of_every_cell(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    (home / "net.py").write_text("")
    for kind in ("cat", "dog"):
        (home / "elsewhere" / kind).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(
                home / "elsewhere" / kind / f"{number}.png"
            )
        (home / "pictures").mkdir(exist_ok=True)
        (home / "pictures" / kind).symlink_to(home / "elsewhere" / kind)
    parser = argparse.ArgumentParser()
    add_to(parser.add_subparsers())
    given = ["sweep", "--models", "net.py:build", "--datasets", "digits,pictures+noise:2"]
    given += ["--head", "gate.fc", "--follow-links"]
    grid = _grid(parser.parse_args(given))
    assert {cell.analysis.head for cell in grid.cells()} == {"gate.fc"}
    assert grid.datasets == (
        DataChoice("digits"),
        DataChoice(f"linked:{home}/pictures", "noise", 2),
    )
    plain = _grid(parser.parse_args(["sweep", "--models", "net.py:build"]))
    assert {cell.analysis.head for cell in plain.cells()} == {""}


def test_a_head_that_one_of_the_models_does_not_have_is_refused_before_any_cell_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*TINY, QUICK, "--head", "gate.fc"]) == 2
    assert capsys.readouterr().err == (
        "error: `head` must be classifier.3 for pocket-vgg, or left out, got 'gate.fc'\n"
    )
    assert RunStore().runs() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head", "relu"], "`head` must be a linear or convolution layer of the network, such as"
         " linear, or “none”; got 'relu'"),
        (["--weights", "broken.pt"], "broken.pt"),
        (["--csv", "nowhere/out.csv"], "nowhere/out.csv: No such file"),
    ],
)  # fmt: skip
def test_heads_and_files_are_checked_before_any_cell_runs(
    arguments: list[str],
    message: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    (home / "net.py").write_text(
        "from collections import OrderedDict\nfrom torch import nn\n\ndef build():\n"
        "    layers = dict(flat=nn.Flatten(), linear=nn.Linear(3072, 5), relu=nn.ReLU())\n"
        "    return nn.Sequential(OrderedDict(layers))\n"
    )
    (home / "broken.pt").write_bytes(b"no weights")
    assert main([*TINY, QUICK, "--models", "net.py:build", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert RunStore().runs() == []


def test_a_sweep_takes_the_users_folder_and_network(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    for kind in ("cat", "dog"):
        (home / "pictures" / kind).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(
                home / "pictures" / kind / f"{number}.png"
            )
    (home / "net.py").write_text("def build(classes):\n    raise NotImplementedError\n")
    arguments = ["sweep", "--models", "net.py:build", "--datasets", "pictures+noise:2"]
    assert main([*arguments, "--strategies", "head", "--train-samples", QUICK]) == 0
    capsys.readouterr()
    (run,) = RunStore().runs()
    analysis = run.options.analysis
    assert (analysis.model, analysis.dataset) == (
        f"{home}/net.py:build",
        f"folder:{home}/pictures",
    )
    assert (analysis.shift, analysis.severity, run.state) == ("noise", 2, "done")


@pytest.mark.parametrize(("flags", "reused"), [([], True), (["--no-reuse-frozen"], False)])
def test_the_frozen_part_runs_once_unless_the_sweep_says_otherwise(
    flags: list[str], reused: bool
) -> None:
    parser = argparse.ArgumentParser()
    add_to(parser.add_subparsers())
    grid = _grid(parser.parse_args(["sweep", *flags]))
    assert {cell.recipe.reuse_frozen for cell in grid.cells()} == {reused}
