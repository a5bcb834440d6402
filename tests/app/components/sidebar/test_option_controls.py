"""Each option has a flag on the command line and a control on a page, with one help text."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.options import (
    AnalysisOptions,
    ClusterOptions,
    NullOptions,
    Recipe,
    RunOptions,
    options_of,
)
from tests.app.pages import opened

OWNERS: tuple[type, ...] = (AnalysisOptions, RunOptions, Recipe)
# Of `RunOptions`: two whose own fields have flags and controls, and one for layer profiles alone.
NESTED = {"analysis", "recipe", "also_train"}
FLAGS = {
    ("analyze", AnalysisOptions): set(options_of(AnalysisOptions)),
    ("analyze", RunOptions): {
        "rho",
        "normalization",
        "preset",
        "summary",
        "min_persistence",
        "persistence_unit",
    },
    ("analyze", ClusterOptions): set(options_of(ClusterOptions)),
    ("analyze", NullOptions): set(options_of(NullOptions)),
    # The preset sets batch size and pooling, and the images come from the train split.
    ("finetune", AnalysisOptions): set(options_of(AnalysisOptions))
    - {"batch_size", "pooling", "subsets", "split", "seed"},  # the seed is the recipe's
    ("finetune", RunOptions): set(options_of(RunOptions)),
    ("finetune", Recipe): set(options_of(Recipe)),
}
NO_CONTROL = {
    (AnalysisOptions, "pooling"),  # the preset sets it
    (AnalysisOptions, "head"),  # pages offer networks whose heads are known
    (AnalysisOptions, "weights_key"),  # chosen after an upload, which then keeps one set only
    (AnalysisOptions, "split"),  # pages draw images from the train split
    (Recipe, "seed"),  # runs count up from the seed of the analysis
}
KEYS = {(Recipe, "batch_size"): "train_batch", (RunOptions, "strategy"): "strategies"}


def test_each_field_has_a_help_text() -> None:
    for owner in OWNERS:
        names = {field.name for field in dataclasses.fields(owner)}
        assert names - NESTED == set(options_of(owner))
        assert all(option.help.endswith(".") for option in options_of(owner).values())


@pytest.mark.parametrize(("command", "owner"), FLAGS)
def test_each_option_has_a_flag(
    command: str,
    owner: type,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # no word is split
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in FLAGS[command, owner]:
        flag, words = "--" + name.replace("_", "-"), options_of(owner)[name].help
        assert re.search(rf"{flag}(, --no{flag[1:]})? ?[A-Z_]* {re.escape(words)}", text), flag


def test_each_option_has_a_control(home: Path) -> None:
    page = opened("finetune", shift="noise")  # with a shift there is a severity
    assert not page.exception
    kinds = (
        page.selectbox, page.number_input, page.slider, page.button_group, page.text_input,
        page.toggle,
    )  # fmt: skip
    controls = {control.key: control for kind in kinds for control in kind}
    for owner in OWNERS:
        for name, option in options_of(owner).items():
            if (owner, name) not in NO_CONTROL:
                key = KEYS.get((owner, name), name)
                assert controls[key].help.startswith(option.help)


def test_each_control_of_the_grid_form_has_a_help_text(home: Path) -> None:
    page = opened("grid")
    assert not page.exception
    kinds = (page.selectbox, page.number_input, page.multiselect, page.button_group)
    controls = [control for kind in kinds for control in kind]
    controls = [control for control in controls if (control.key or "").startswith("grid_")]
    assert len(controls) >= 7
    assert all(control.help for control in controls)
