"""The command line: `python -m analysis models | datasets | strategies | analyze | …`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from analysis import __version__, command_analyze, command_finetune, command_sweep
from analysis.datasets import DATASETS, SHIFTS, dataset_spec, own_datasets
from analysis.errors import NOT_ENOUGH_MEMORY, AnalysisError, OptionError, is_out_of_memory
from analysis.models import MODELS
from analysis.strategies import STRATEGIES


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, 2 if the input was bad."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
        sys.stdout.flush()
    except AnalysisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"error: {NOT_ENOUGH_MEMORY}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m analysis",
        description="Topology of a network's layers, and fine-tuning of the chosen ones.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, listing, what in (
        ("models", _list_models, "list the models"),
        ("datasets", _list_datasets, "list the datasets and their shifts"),
        ("strategies", _list_strategies, "list the ways to choose what trains"),
    ):
        listed = commands.add_parser(name, help=what, description=what)
        listed.add_argument("search", nargs="?", default="", help="only names with this in it")
        listed.set_defaults(command=listing)
    command_analyze.add_to(commands)
    command_finetune.add_to(commands)
    command_sweep.add_to(commands)
    return parser


def _list_models(arguments: argparse.Namespace) -> None:
    for name in _matching(arguments.search, MODELS):
        spec = MODELS[name]
        sets = ", ".join(each.name for each in spec.weight_sets)
        print(f"{name:20}{spec.description}" + (f" [{sets}]" if sets else ""))
    if not arguments.search:
        print(
            "\nThe names in brackets are weight sets (--weights); without one the default is "
            "taken.\ntimm/NAME: a model of timm, if that is installed. FILE.py:FUNCTION: "
            "what your own function gives."
        )


def _list_datasets(arguments: argparse.Namespace) -> None:
    own = {name: dataset_spec(name) for name in own_datasets()}
    for name in _matching(arguments.search, known := DATASETS | own):
        print(f"{name:20}{known[name].description}")
    if not arguments.search:
        print("\nShifts (--shift, with --severity 1 to 5)")
        for name, shift in SHIFTS.items():
            print(f"{name:20}{shift.help}")


def _list_strategies(arguments: argparse.Namespace) -> None:
    for name in _matching(arguments.search, STRATEGIES):
        strategy = STRATEGIES[name]
        print(f"{name:12}{strategy.help} [{strategy.source}]")


def _matching(search: str, names: Iterable[str]) -> list[str]:
    found = [name for name in names if search.lower() in name]
    if not found:
        raise OptionError(f"No name has {search!r} in it; without it all are listed.")
    return found


if __name__ == "__main__":
    sys.exit(main())
