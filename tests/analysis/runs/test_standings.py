"""Which runs can be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.runs.standings import comparison_key, standings
from analysis.runs.store import RunStore
from tests.run_factories import finished_run, run_options


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({"memory": 10**9}, True),
        ({"device": "cpu"}, True),  # both ran on the CPU
        ({"severity": 5}, True),  # there is no shift
        ({"samples": 80, "precision": "bfloat16"}, True),  # how AdaBet scores
        ({"shift": "noise"}, False),
        ({"model": "pocket-vgg"}, False),
        ({"input_side": 64}, False),
    ],
)
def test_which_options_keep_runs_apart(
    tmp_path: Path, change: dict[str, object], equal: bool
) -> None:
    options = run_options("adabet")
    other = replace(options, analysis=replace(options.analysis, **change))  # type: ignore[arg-type]
    store = RunStore(tmp_path / "runs.sqlite")
    one, two = (finished_run(store, run) for run in (options, other))
    assert (comparison_key(one) == comparison_key(two)) == equal


def test_a_choice_from_before_the_shift_stands_apart_by_its_score(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs.sqlite")
    runs = [
        finished_run(store, replace(run_options("stale"), normalization=name), accuracy=accuracy)
        for name, accuracy in (("activation", 0.5), ("none", 0.75))
    ]
    table, left_out = standings(runs)
    assert [(row.strategy, row.variant) for row in table] == [
        ("stale", "b1 by none"),
        ("stale", "b1 by activation"),
    ]
    assert not left_out
