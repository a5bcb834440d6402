"""Which names in a run's options are known."""

from __future__ import annotations

import subprocess
import sys

import pytest

from analysis.options import AnalysisOptions, RunOptions
from analysis.training.names import name_problems


def test_the_names_of_the_default_run_are_known() -> None:
    assert name_problems(RunOptions()) == name_problems(RunOptions(), stored=True) == []


@pytest.mark.parametrize("name", ["model", "weights", "dataset", "shift"])
def test_an_unknown_name_in_the_analysis_is_a_problem(name: str) -> None:
    options = RunOptions(AnalysisOptions(**{name: "no such"}))  # type: ignore[arg-type]
    (problem,) = name_problems(options)
    assert problem.startswith(f"`{name}` must be one of")
    assert problem.endswith("got 'no such'")


@pytest.mark.parametrize("name", ["strategy", "normalization", "summary"])
def test_an_unknown_name_in_the_run_is_a_problem(name: str) -> None:
    options = RunOptions(**{name: "no such"})  # type: ignore[arg-type]
    for stored in (False, True):
        (problem,) = name_problems(options, stored=stored)
        assert problem.startswith(f"`{name}` must be one of")


def test_every_problem_is_reported_but_the_weights_of_an_unknown_model() -> None:
    analysis = AnalysisOptions(model="mine", weights="mine", dataset="cats", shift="fog")
    options = RunOptions(analysis, strategy="best", normalization="size", summary="b7")
    names = [problem.split("`")[1] for problem in name_problems(options)]
    assert names == ["model", "dataset", "shift", "strategy", "normalization", "summary"]


@pytest.mark.parametrize(
    "change",
    [{"model": "/gone.py:build"}, {"weights": "file:/gone.pt"}, {"dataset": "folder:/gone"}],
)
def test_a_stored_run_may_name_files_that_are_gone(change: dict[str, str]) -> None:
    options = RunOptions(AnalysisOptions(**change))  # type: ignore[arg-type]
    assert len(name_problems(options)) == 1
    assert name_problems(options, stored=True) == []


@pytest.mark.parametrize("name", ["model", "dataset", "shift"])
def test_a_stored_run_with_an_unknown_name_is_refused(name: str) -> None:
    options = RunOptions(AnalysisOptions(**{name: "no such"}))  # type: ignore[arg-type]
    assert len(name_problems(options, stored=True)) == 1


def test_names_are_checked_without_torch() -> None:
    code = "import sys, analysis.training.names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
