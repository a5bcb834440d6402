"""The command line: `python -m analysis models | datasets | analyze`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from analysis import __version__
from analysis.datasets import DATASETS, SHIFTS
from analysis.errors import AnalysisError, OptionError, choice_problem, raise_problems
from analysis.models import MODELS
from analysis.options import POOLINGS, PRESETS, SPLITS, WEIGHTS, AnalysisOptions, check_rho

if TYPE_CHECKING:
    import pandas as pd

    from analysis.results import Progress, TopologyReport


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
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m analysis", description="Topology of a network's layers.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, listing, what in (
        ("models", _list_models, "list the models"),
        ("datasets", _list_datasets, "list the datasets and their shifts"),
    ):
        commands.add_parser(name, help=what, description=what).set_defaults(command=listing)
    analyze = commands.add_parser(
        "analyze", help="analyse a model's layers", description="Analyse a model's layers."
    )
    analyze.set_defaults(command=_analyze)
    add, default = analyze.add_argument, AnalysisOptions()
    preset = PRESETS["recommended"]
    add("--model", default=default.model, help="a name that `models` lists (%(default)s)")
    add("--dataset", default=default.dataset, help="a name that `datasets` lists (%(default)s)")
    add("--weights", default=default.weights, help=f"{' or '.join(WEIGHTS)} (%(default)s)")
    add("--shift", default=default.shift, help=f"{', '.join(SHIFTS)} (%(default)s)")
    add("--severity", type=int, default=default.severity, help="of the shift, 1 to 5 (%(default)s)")
    add("--split", default=default.split, help=f"{', '.join(SPLITS)} (%(default)s)")
    add("--seed", type=int, default=0, help="of the images drawn and of random weights (0)")
    add("--preset", default="recommended", help=f"{', '.join(PRESETS)}: defaults of what follows")
    add("--samples", type=int, help=f"images (recommended: {preset.samples})")
    add("--batch-size", type=int, help=f"images a batch (recommended: {preset.batch_size})")
    add("--pooling", help=f"{' or '.join(POOLINGS)} (recommended: {preset.pooling})")
    add("--normalization", help=f"what b1 is divided by (recommended: {preset.normalization})")
    add("--rho", type=float, default=0.1, help="share of the layers to train, in (0, 1] (0.1)")
    output = analyze.add_mutually_exclusive_group()
    output.add_argument("--json", type=Path, metavar="FILE", help="write JSON there, not to stdout")
    output.add_argument("--csv", type=Path, metavar="FILE", help="write a table, one row a layer")
    return parser


def _list_models(_: argparse.Namespace) -> None:
    for name, spec in MODELS.items():
        print(f"{name:20}{spec.description}")


def _list_datasets(_: argparse.Namespace) -> None:
    for name, spec in DATASETS.items():
        print(f"{name:20}{spec.description}")
    print("\nShifts (--shift, with --severity 1 to 5)")
    for name, shift in SHIFTS.items():
        print(f"{name:20}{shift.help}")


def _analyze(arguments: argparse.Namespace) -> None:
    problems = _problems(arguments)
    preset = PRESETS.get(arguments.preset, PRESETS["recommended"])
    for name in ("samples", "batch_size", "pooling", "normalization"):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(preset, name))
    fields = {f.name: getattr(arguments, f.name) for f in dataclasses.fields(AnalysisOptions)}
    try:
        options = AnalysisOptions(**fields)
    except OptionError as error:
        problems.append(str(error))
    raise_problems(problems)
    if (path := arguments.json or arguments.csv) is not None:
        _check_writable(path)

    from analysis.pipeline import run
    from analysis.selection import ranking

    report = run(options, progress=_print_progress)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    choice = {k: getattr(arguments, k) for k in ("normalization", "rho", "preset")}
    frame = ranking(report, **choice)
    if frame["selected"].sum() == 0:
        print("note: rho selects no layer here: raise it", file=sys.stderr)
    if arguments.csv is not None:
        frame.to_csv(arguments.csv, index=False)
        return
    text = json.dumps(_result(options, report, frame, choice), indent=2, allow_nan=False)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    else:
        print(text)


def _check_writable(path: Path) -> None:
    """Fail now rather than after the work, and leave no empty file behind."""
    there = path.exists()
    path.open("a").close()
    if not there:
        path.unlink()


def _problems(arguments: argparse.Namespace) -> list[str]:
    from analysis.scores import NORMALIZATIONS

    registries = {
        "model": MODELS,
        "dataset": DATASETS,
        "shift": SHIFTS,
        "preset": PRESETS,
        "normalization": NORMALIZATIONS,
    }
    problems = []
    for name, known in registries.items():
        value = getattr(arguments, name)
        if value is not None:
            problems += choice_problem(name, value, known)
    try:
        check_rho(arguments.rho)
    except OptionError as error:
        problems.append(str(error))
    return problems


def _result(
    options: AnalysisOptions, report: TopologyReport, frame: pd.DataFrame, choice: dict[str, Any]
) -> dict[str, Any]:
    columns = ["layer", "kind", "b1", "score", "rank", "selected", "head", "activation_size"]
    rows = frame[[*columns, "parameters", "clusters"]].astype(object)
    return {
        "model": options.model,
        "dataset": options.dataset,
        **{k: v for k, v in dataclasses.asdict(options).items() if k not in ("model", "dataset")},
        **choice,
        "layers": rows.where(rows.notna(), None).to_dict("records"),
        "not_finite": report.not_finite,
        "never_run": list(report.never_run),
        "seconds": report.seconds,
        "version": __version__,
    }


def _print_progress(progress: Progress) -> None:
    share = f"{progress.done + 1:4d}/{progress.total}"
    print(f"{share}  {progress.stage}  {progress.layer}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
