"""The numbers of earlier versions, and the folders they left, stay as they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import analysis.topology.pipeline
from analysis.__main__ import main
from analysis.options import AnalysisOptions, ClusterOptions
from analysis.runs.store import RunStore
from analysis.topology.pipeline import analyze_named
from analysis.topology.resummarize import resummarize
from analysis.topology.store import fingerprint
from tests.factories import POCKET

PINNED = Path(__file__).resolve().parents[1] / "pinned"
ANALYSES: dict[str, Any] = json.loads((PINNED / "analyze.json").read_text())
HOME: dict[str, Any] = json.loads((PINNED / "home-2026-11.json").read_text())


@pytest.fixture
def old_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, since opening a run store may write to it."""
    home = shutil.copytree(PINNED / "home-2026-11", tmp_path / "home")
    monkeypatch.setenv("BETTISCOPE_HOME", str(home))
    return home


@pytest.mark.parametrize("model", POCKET)
def test_the_json_of_analyze_stays(model: str, home: Path, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    then = ["--eps-rule", "knee", "--min-samples", "4"]  # the default of the clusters
    then += ["--samples", "40", "--pooling", "pooled", "--batch-size", "8"]  # and of the images
    assert main(["analyze", "--model", model, *then, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result.pop("seconds") > 0
    assert result.pop("version")
    pinned = ANALYSES[model]
    known = set(pinned["layers"][0])
    result["layers"] = [{k: v for k, v in e.items() if k in known} for e in result["layers"]]
    assert {key: result[key] for key in pinned} == pinned


@pytest.mark.parametrize(
    "pinned", HOME["analyses"], ids=lambda analysis: analysis["fingerprint"][:6]
)
def test_an_analysis_of_an_earlier_version_opens(
    pinned: dict[str, Any], old_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the analysis was computed again")

    monkeypatch.setattr(analysis.topology.pipeline, "analyze", never)
    options = AnalysisOptions(**pinned["options"])
    assert fingerprint(options) == pinned["fingerprint"]
    report = analyze_named(options)
    assert [layer.b1 for layer in report.layers] == pinned["b1"]
    before = ClusterOptions(eps_rule="knee", min_samples=4)  # the default of that time
    clusterings = [layer.clustering for layer in resummarize(report, clusters=before).layers]
    assert [c.count if c else None for c in clusterings] == pinned["clusters"]


def test_the_runs_of_an_earlier_version_open(old_home: Path) -> None:
    store = RunStore()
    assert store.unreadable() == []
    runs = {run.id: run for run in store.runs()}
    for pinned in HOME["runs"]:
        run = runs.pop(pinned["id"])
        assert run.result is not None
        assert run.result.peak_memory is not None
        assert run.selection is not None
        assert run.result.test_accuracy == pinned["accuracy"]
        assert run.result.peak_memory.total == pinned["peak"]
        assert list(run.selection.layers) == pinned["layers"]
        assert len(store.metrics(run.id).epochs) == run.options.recipe.epochs
        assert store.predictions(run.id) is None  # that version kept none
    stopped = runs.pop(HOME["stopped"])
    assert stopped.state == "stopped"
    assert (stopped.options.rho, stopped.options.summary) == (0.5, "entropy")
    assert runs == {}
