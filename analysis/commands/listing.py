"""The commands `models`, `datasets` and `strategies`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from analysis.datasets import DATASETS, SHIFTS, dataset_spec, own_datasets
from analysis.errors import OptionError
from analysis.models import MODELS
from analysis.selection.strategies import STRATEGIES


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the three commands to the command line."""
    for name, listing, what in (
        ("models", _list_models, "list the models"),
        ("datasets", _list_datasets, "list the datasets and their shifts"),
        ("strategies", _list_strategies, "list the ways to choose what trains"),
    ):
        listed = commands.add_parser(name, help=what, description=what)
        listed.add_argument("search", nargs="?", default="", help="Only names that contain this.")
        listed.set_defaults(command=listing)


def _list_models(arguments: argparse.Namespace) -> None:
    for name in _matching(arguments.search, MODELS):
        spec = MODELS[name]
        sets = ", ".join(weights.name for weights in spec.weight_sets)
        print(f"{name:19} {spec.description}" + (f" [{sets}]" if sets else ""))
    if not arguments.search:
        print(
            "\nThe names in brackets are weight sets (--weights); without one the default is "
            "used.\ntimm/NAME: a model of timm, if that is installed. FILE.py:FUNCTION: "
            "what your own function gives."
        )


def _list_datasets(arguments: argparse.Namespace) -> None:
    own = {name: dataset_spec(name) for name in own_datasets()}
    names = _matching(arguments.search, known := DATASETS | own)
    width = max(19, *map(len, names))
    for name in names:
        print(f"{name:{width}} {known[name].description}")
    if not arguments.search:
        print("\nShifts (--shift, with --severity 1 to 5)")
        for name, shift in SHIFTS.items():
            print(f"{name:19} {shift.help}")


def _list_strategies(arguments: argparse.Namespace) -> None:
    for name in _matching(arguments.search, STRATEGIES):
        strategy = STRATEGIES[name]
        print(f"{name:19} {strategy.description} [{strategy.source}]")


def _matching(search: str, names: Iterable[str]) -> list[str]:
    matches = [name for name in names if search.lower() in name.lower()]
    if not matches:
        raise OptionError(f"No name contains {search!r}. To list all names, leave it out.")
    return matches
