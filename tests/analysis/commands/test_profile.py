"""The command `profile`, with the training of `stand_in/training.py` in the workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.options import AnalysisOptions
from analysis.runs.store import RunStore
from analysis.sweeps.profile_files import find_profile
from analysis.sweeps.progress import _Fingerprints
from tests.analysis.run_faults import KINDS, STAND_IN

QUICK = str(KINDS.index("quick"))
TINY = ["profile", "--model", "pocket-vgg", "--workers", "1"]
TINY += ["--seeds", "1", "--epochs", "1", "--train-samples"]


@pytest.fixture(autouse=True)
def stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    fingerprints = {"model": "m", "data": "d"}  # those of the stand-in
    monkeypatch.setattr(_Fingerprints, "of", lambda self, cell: fingerprints)
    monkeypatch.setattr("analysis.sweeps.profile_files._fingerprints", lambda *_: fingerprints)


def test_every_layer_trains_alone_and_each_criterions_layers_together(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap = ["parameters", "random", "stable-rank"]  # that need no analysis
    monkeypatch.setattr("analysis.sweeps.profiling.criteria_for", lambda _: cheap)
    file = home / "profile.json"
    assert main([*TINY, QUICK, "--criteria", "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "Training each layer alone: 10 runs, 0 done." in err
    assert "  10/10  " in err
    assert out.startswith("The head alone: 62.5 % of 360 test images correct, 1 seed.")
    made = json.loads(file.read_text())
    assert made["layers"][0]["layer"] == "features.0"
    assert {layer["gain"] for layer in made["layers"]} == {0.0}
    assert {layer["sd"] for layer in made["layers"]} == {None}
    # Equal gains are said, and give no number.
    assert "Every layer gained the same, so no criterion can be judged." in out
    assert {each["spearman"] for each in made["criteria"]} == {None}
    assert {each["regret"] for each in made["criteria"]} == {0.0}
    assert {each["criterion"] for each in made["criteria"]} == set(cheap)

    # What is done does not run again, and a profile without criteria replaces none that has them.
    assert main([*TINY, QUICK, "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "Training each layer alone: 10 runs, 10 done." in err
    assert len(out.splitlines()) == 1 + 9
    assert "criteria" not in json.loads(file.read_text())
    found = find_profile(AnalysisOptions(model="pocket-vgg"))
    assert found is not None
    assert found.judgement is not None
    assert {run.group for run in RunStore().runs()} == {"grid:profile"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([QUICK, "--seeds", "0"], "error: `seeds` must be from 1 to 100, got 0\n"),
        ([QUICK, "--rho", "2"], "error: `rho` must be in (0, 1], got 2\n"),
        (["0"], "error: `train_samples` must be at least 1, got 0\n"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, *arguments]) == 2
    assert capsys.readouterr().err == message
