"""Options out of range are all told at once, each with its rule and what was found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from analysis.errors import OptionError
from analysis.options import AnalysisOptions, Recipe, RunOptions


def problems(make: type, **fields: object) -> list[str]:
    with pytest.raises(OptionError) as error:
        make(**fields)
    return str(error.value).split("; `")


def test_every_bad_field_of_a_recipe_is_reported() -> None:
    sentences = problems(
        Recipe, epochs=0, batch_size=-1, learning_rate=float("nan"), optimizer="rmsprop",
        momentum=1.0, weight_decay=-0.5, augmentation="cutout", seed=-1,
    )  # fmt: skip
    assert [sentence.strip("`").partition("`")[0] for sentence in sentences] == [
        "optimizer", "augmentation", "epochs", "batch_size", "learning_rate", "momentum",
        "weight_decay", "seed",
    ]  # fmt: skip
    assert "epochs` must be at least 1, got 0" in sentences[2]
    assert "learning_rate` must be above 0, got nan" in sentences[4]
    assert "momentum` must be in [0, 1), got 1" in sentences[5]
    assert "auto, sgd, adamw; got 'rmsprop'" in sentences[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("learning_rate", float("inf")),
        ("momentum", -0.1),
        ("momentum", float("nan")),
        ("weight_decay", float("inf")),
        ("weight_decay", float("nan")),
        ("seed", 2**32),
        ("epochs", -3),
        ("batch_size", 0),
    ],
)
def test_a_recipe_refuses(field: str, value: float) -> None:
    (sentence,) = problems(Recipe, **{field: value})
    assert sentence.startswith(f"`{field}` must be ")
    assert sentence.endswith(f"got {value:g}" if isinstance(value, float) else f"got {value}")


def test_a_recipe_takes_its_limits() -> None:
    Recipe(epochs=1, batch_size=1, momentum=0.0, weight_decay=0.0, seed=0, learning_rate=1e-30)
    Recipe(seed=2**32 - 1, momentum=0.999)


def test_every_bad_field_of_a_run_is_reported() -> None:
    sentences = problems(RunOptions, preset="mine", train_samples=0, rho=1.5)
    assert [sentence.strip("`").partition("`")[0] for sentence in sentences] == [
        "preset",
        "rho",
        "train_samples",
    ]
    assert sentences[1] == "rho` must be in (0, 1], got 1.5"
    assert sentences[2] == "train_samples` must be at least 1, got 0"
    for rho in (0.0, -0.1, float("nan"), float("inf")):
        (only,) = problems(RunOptions, rho=rho)
        assert only == f"`rho` must be in (0, 1], got {rho:g}"
    RunOptions(rho=1.0, train_samples=1)


def test_every_bad_field_of_an_analysis_is_reported() -> None:
    sentences = problems(
        AnalysisOptions, precision="half", device="tpu", memory=-1, input_side=-1, pooling="all",
        split="dev", samples=3, batch_size=0, severity=6, seed=-1,
    )  # fmt: skip
    assert len(sentences) == 10


@pytest.mark.parametrize(
    ("options", "change", "same"),
    [
        ({}, {"memory": 10**9}, True),
        ({}, {"severity": 5}, True),
        ({"shift": "noise"}, {"severity": 5}, False),
        ({"pooling": "pooled"}, {"batch_size": 16}, True),
        ({"pooling": "pooled"}, {"subsets": 7}, True),
        ({}, {"batch_size": 16}, False),
        ({}, {"subsets": 7}, False),
        ({"samples": 40}, {"subsets": 7}, True),  # one subset has all images
        ({"pooling": "per-batch"}, {"batch_size": 16}, False),
        ({}, {"device": "cuda"}, True),
        ({"precision": "float16"}, {"device": "cuda"}, False),
        ({}, {"precision": "float16"}, False),
        ({}, {"samples": 41}, False),
        ({}, {"seed": 1}, False),
        ({}, {"input_side": 64}, False),
    ],
)
def test_options_with_the_same_numbers_have_the_same_deciding_value(
    options: dict[str, Any], change: dict[str, Any], same: bool
) -> None:
    one, other = AnalysisOptions(**options), AnalysisOptions(**options | change)
    assert one != other
    assert (one.deciding() == other.deciding()) == same
    assert one.deciding().deciding() == one.deciding()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"memory": 10**9}, True),
        ({"severity": 5}, True),
        ({"device": "cuda"}, False),  # training is not the same on another device
        ({"batch_size": 16}, False),  # of the backward passes that choose layers
        ({"samples": 41}, False),
    ],
)
def test_the_options_that_decide_a_run(change: dict[str, Any], same: bool) -> None:
    one, other = RunOptions(), RunOptions(analysis=AnalysisOptions(**change))
    assert (one.deciding() == other.deciding()) == same


def test_the_recipe_and_the_strategy_decide_a_run() -> None:
    for change in ({"rho": 0.2}, {"strategy": "head"}, {"recipe": Recipe(epochs=9)}):
        assert RunOptions(**change).deciding() != RunOptions().deciding()  # type: ignore[arg-type]


def test_the_unit_of_the_shortest_loop_decides_only_with_one() -> None:
    every = RunOptions(persistence_unit="diameter")
    assert every.deciding() == RunOptions().deciding()
    some = RunOptions(min_persistence=0.1)
    assert replace(some, persistence_unit="diameter").deciding() != some.deciding()
    with pytest.raises(OptionError, match="must be below 1 when `persistence_unit` is 'diameter'"):
        RunOptions(min_persistence=1.0, persistence_unit="diameter")
