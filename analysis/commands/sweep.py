"""The command `sweep`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from analysis.commands.options import (
    add_follow_links,
    add_option,
    add_reverse,
    check_writable,
    dataset_name,
    follow_links,
    model_name,
    report_left_out,
    report_network,
    weights_name,
    write_json,
)
from analysis.errors import ModelError, OptionError, raise_problems
from analysis.models import learn_code
from analysis.options import AnalysisOptions, Recipe, RunOptions
from analysis.runs.records import Run
from analysis.runs.store import RunStore
from analysis.selection.strategies import ALL_STRATEGIES, reversed_name
from analysis.sweeps.dask_cluster import Cluster, dask_cluster
from analysis.sweeps.duels import duels, verdict
from analysis.sweeps.grid import GRIDS, DataChoice, Grid
from analysis.sweeps.progress import runs_of
from analysis.sweeps.sweep import sweep
from analysis.sweeps.table import as_csv, markdown, records, rows_of
from analysis.system.devices import device_problem
from analysis.system.paths import pasted_path
from analysis.text import duration_text, plural
from analysis.version import __version__

_OptionsT = TypeVar("_OptionsT", AnalysisOptions, Recipe, RunOptions)


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    what = "fine-tune every model on every dataset with every strategy and seed"
    parser = commands.add_parser(
        "sweep",
        help=what,
        description=f"{what.capitalize()}. Finished cells do not run again, so the same "
        "command resumes where it stopped. The pages show its runs. Commas separate names, so a "
        "path must not contain one.",
    )
    parser.set_defaults(command=_sweep)
    add = parser.add_argument
    add(
        "--grid",
        default="pocket",
        help=f"The grid to start from, {' or '.join(GRIDS)}. Default: %(default)s.",
    )
    add(
        "--models",
        type=_models,
        metavar="A,B",
        help="Names as for `finetune`. Default: the grid's.",
    )
    add("--datasets", type=_datasets, metavar="A,B+SHIFT:SEVERITY",
        help="Names or folders of images. Default: the grid's.")  # fmt: skip
    add_follow_links(add)
    add("--strategies", type=_names, metavar="A,B", help="Default: the grid's.")
    add_reverse(add, "Those that rank no layers stay as they are.")
    add("--seeds", type=_names, metavar="0,1", help="Default: the grid's.")
    add_option(
        add, AnalysisOptions, "weights", type=weights_name, default="the grid's",
        more="For every model, as for `finetune`.",
    )  # fmt: skip
    for owner, name in (
        (AnalysisOptions, "weights_key"),
        (AnalysisOptions, "head"),
        (Recipe, "epochs"),
        (RunOptions, "train_samples"),
        (RunOptions, "rho"),
        (Recipe, "batch_size"),
        (Recipe, "learning_rate"),
        (Recipe, "reuse_frozen"),
        (AnalysisOptions, "device"),
    ):
        add_option(add, owner, name, default="the grid's")
    add("--name", help="Name stored with the runs. Default: the grid's.")
    add_places(add)
    add("--list", action="store_true", help="List the cells and their state; run nothing.")
    for form in ("json", "csv"):
        add(
            f"--{form}",
            type=pasted_path,
            metavar="FILE",
            help=f"Write one {form.upper()} record per cell.",
        )
    add(
        "--markdown",
        type=pasted_path,
        metavar="FILE",
        help="Write the table to this file, not to stdout.",
    )


def add_places(add: Callable[..., Any], *, workers: int = 1) -> None:
    """Add the flags for where runs are trained; `add` is a parser's `add_argument`."""
    add(
        "--workers",
        type=int,
        default=workers,
        help="Processes on this machine. Default: %(default)s.",
    )
    add("--dask", metavar="ADDRESS", help="Train on the workers of this Dask scheduler.")


def _sweep(arguments: argparse.Namespace) -> int:
    grid = _grid(arguments)
    cells, store = grid.cells(), RunStore()
    for path in (arguments.json, arguments.csv, arguments.markdown):
        if path is not None:
            check_writable(path)
    for model, seed in {(cell.analysis.model, cell.analysis.seed): None for cell in cells}:
        with suppress(ModelError):  # its runs will say why it fails, and the others go on
            learn_code(model, seed)
    runs = runs_of(cells, store.runs())
    if arguments.list:
        _list(cells, runs)
        return 0
    if arguments.dask is None:
        raise_problems(device_problem(grid.base.analysis.device))
    for network in {cell.analysis.model: cell.analysis for cell in cells}.values():
        with suppress(ModelError):
            report_network(network)
    for note in grid.notes():
        print(note, file=sys.stderr)
    for dataset in dict.fromkeys(cell.analysis.dataset for cell in cells):
        report_left_out(dataset)
    with chosen_cluster(arguments.dask) as cluster:
        _run(arguments, grid, cells, runs, cluster)
    runs = runs_of(cells, store.runs())
    _write(arguments, grid, cells, runs)
    failed = sum(cell not in runs or runs[cell].state != "done" for cell in cells)
    if failed:
        print(f"{failed} of {len(cells)} cells have not finished.", file=sys.stderr)
    return 1 if failed else 0


def _run(
    arguments: argparse.Namespace,
    grid: Grid,
    cells: Sequence[RunOptions],
    runs: Mapping[RunOptions, Run],
    cluster: Cluster | None,
) -> None:
    """Run the missing cells, and print a line on stderr as each one ends."""
    done = sum(run.state == "done" for run in runs.values())
    begun, already = time.monotonic(), done
    if already:
        print(f"{already} of {len(cells)} cells have already finished.", file=sys.stderr)
    executor = cluster.executor if cluster else None
    for run in sweep(grid, executor, workers=arguments.workers):
        done += 1
        seconds = (time.monotonic() - begun) / (done - already)
        to_come = duration_text(seconds * (len(cells) - done))
        left = f" · about {to_come} left" if done < len(cells) else ""
        print(f"{done:4d}/{len(cells)}  {_ending_text(run)}{left}", file=sys.stderr, flush=True)


@contextmanager
def chosen_cluster(address: str | None) -> Iterator[Cluster | None]:
    """The Dask cluster at an address, if one is given."""
    if address is None:
        yield None
        return
    with dask_cluster(address) as cluster:
        print(_workers_text(cluster), file=sys.stderr)
        yield cluster


def _workers_text(cluster: Cluster) -> str:
    if not cluster.workers:
        return "The scheduler has no workers yet. The cells wait until one connects."
    return f"The cluster has {plural(cluster.workers, 'worker')}."


def _grid(arguments: argparse.Namespace) -> Grid:
    """The grid that the arguments describe; all problems are reported together."""
    problems: list[str] = []
    if arguments.grid not in GRIDS:
        problems.append(f"`grid` must be one of {', '.join(GRIDS)}; got {arguments.grid!r}")
    if arguments.workers < 1:
        problems.append(f"`workers` must be at least 1, got {arguments.workers}")
    grid = GRIDS.get(arguments.grid, next(iter(GRIDS.values())))
    base = grid.base
    own = _values_of(arguments, "epochs", "batch_size", "learning_rate", "reuse_frozen")
    recipe = _replace_valid(base.recipe, own, problems)
    own = _values_of(arguments, "weights", "weights_key", "head", "device")
    analysis = _replace_valid(base.analysis, own, problems)
    own = _values_of(arguments, "rho", "train_samples") | {"recipe": recipe, "analysis": analysis}
    base = _replace_valid(base, own, problems)
    changes: dict[str, Any] = _values_of(arguments, "models", "datasets", "strategies", "name")
    changes["base"] = base
    if arguments.datasets is not None:
        changes["datasets"] = tuple(
            replace(data, dataset=follow_links(arguments, data.dataset))
            for data in arguments.datasets
        )
    if arguments.seeds is not None:
        if all(text.isdecimal() for text in arguments.seeds):
            changes["seeds"] = tuple(int(text) for text in arguments.seeds)
        else:
            problems.append(f"`seeds` must be whole numbers, got {', '.join(arguments.seeds)}")
    grid = replace(grid, **changes)
    if arguments.reverse:
        grid = replace(grid, strategies=tuple(map(reversed_name, grid.strategies)))
    raise_problems(problems + grid.problems())
    return grid


def _replace_valid(options: _OptionsT, changes: dict[str, Any], problems: list[str]) -> _OptionsT:
    """The options with these changes, or as they were where one is invalid: see `problems`."""
    try:
        return replace(options, **changes)
    except OptionError as error:
        problems.append(str(error))
        return options


def _values_of(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The values of these options, except those that were left out."""
    values = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _list(cells: Sequence[RunOptions], runs: Mapping[RunOptions, Run]) -> None:
    for cell in cells:
        state = runs[cell].state if cell in runs else "missing"
        print(f"{state:12}{_cell_text(cell)}")
    done = sum(run.state == "done" for run in runs.values())
    print(f"{done} of {len(cells)} cells have finished.")


def _write(
    arguments: argparse.Namespace,
    grid: Grid,
    cells: Sequence[RunOptions],
    runs: Mapping[RunOptions, Run],
) -> None:
    rows = rows_of(cells, runs)
    text = markdown(rows, grid.strategies, len(grid.seeds))
    sentence = verdict(duels(rows))
    if sentence:
        text = f"{sentence}\n\n{text}"
    if arguments.json is not None:
        about = {"name": grid.name, "version": __version__, "cells": records(cells, runs)}
        write_json(about, arguments.json)
    if arguments.csv is not None:
        arguments.csv.write_text(as_csv(cells, runs), encoding="utf-8")
    if arguments.markdown is not None:
        arguments.markdown.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def _cell_text(options: RunOptions) -> str:
    analysis = options.analysis
    data, title = DataChoice.of_options(analysis), ALL_STRATEGIES[options.strategy].title
    return f"{analysis.model} on {data}: {title}, seed {options.recipe.seed}"


def _ending_text(run: Run) -> str:
    """How one cell ended."""
    if run.result is None:
        return f"{_cell_text(run.options)}: {run.state}. {run.error}"
    peak = run.result.peak_memory
    memory = f", {peak.total / 1e6:.1f} MB" if peak else ""
    return (
        f"{_cell_text(run.options)}: {100 * run.result.test_accuracy:.1f} %{memory}, "
        f"{run.result.seconds:.1f} s"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _models(text: str) -> tuple[str, ...]:
    return tuple(map(model_name, _names(text)))


def _datasets(text: str) -> tuple[DataChoice, ...]:
    chosen = map(DataChoice.of, _names(text))
    return tuple(replace(data, dataset=dataset_name(data.dataset)) for data in chosen)
