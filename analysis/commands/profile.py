"""The command `profile`: what each layer is worth, and which criteria find the best."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from analysis.commands.options import (
    add_data_options,
    add_option,
    check_writable,
    fill_images,
    follow_links,
    print_progress,
    report_left_out,
    report_network,
    write_json,
)
from analysis.commands.sweep import add_places, chosen_cluster
from analysis.errors import ModelError, OptionError, raise_problems
from analysis.models import fetch_weights, learn_code
from analysis.options import AnalysisOptions, Recipe, RunOptions, check_rho
from analysis.runs.records import Run
from analysis.runs.store import RunStore
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.dask_cluster import Cluster
from analysis.sweeps.grid import Grid
from analysis.sweeps.judging import (
    BEST_SINGLES,
    Judgement,
)
from analysis.sweeps.layer_profile import (
    EPOCHS,
    SEEDS,
    TRAIN_SAMPLES,
    LayerProfile,
    profile_grid,
    profile_options,
)
from analysis.sweeps.profile_files import document
from analysis.sweeps.profiling import ProfileRequest, make_profile
from analysis.sweeps.progress import runs_of
from analysis.sweeps.sweep import sweep
from analysis.system.devices import device_problem
from analysis.system.output import output_to_stderr
from analysis.system.paths import pasted_path
from analysis.text import duration_text, plural, signed, size_text
from analysis.training.names import name_problems

_MOST_SEEDS = 100
_INPUT = ("input_side", "input_resize", "input_mean", "input_std", "device")
_DATA = ("model", "dataset", "weights", "weights_key", "head", "shift", "severity", *_INPUT)


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    what = "train every layer alone, to see what each is worth"
    parser = commands.add_parser(
        "profile",
        help=what,
        description=f"{what.capitalize()}. The classifier trains too; the gain is over it alone. "
        "Finished runs do not run again, so the same command resumes where it stopped.",
    )
    parser.set_defaults(command=_profile)
    add = parser.add_argument
    add_data_options(add)
    for name in _INPUT:
        add_option(add, AnalysisOptions, name)
    add_option(add, RunOptions, "train_samples", default=f"{TRAIN_SAMPLES}, or the whole split")
    add_option(add, Recipe, "epochs", default=str(EPOCHS))
    add(
        "--seeds",
        type=int,
        default=SEEDS,
        help="How often every layer trains, each time with other images in another order and "
        "another new classifier. Default: %(default)s.",
    )
    add(
        "--criteria",
        action="store_true",
        help="Also train the layers that each criterion selects, and say how well each finds the "
        "layers worth training.",
    )
    add_option(add, RunOptions, "rho")
    add_places(add, workers=os.cpu_count() or 1)
    add("--json", type=pasted_path, metavar="FILE", help="Write the profile to this file.")


def _profile(arguments: argparse.Namespace) -> None:
    options, seeds = _options(arguments), tuple(range(arguments.seeds))
    if arguments.json is not None:
        check_writable(arguments.json)
    with suppress(ModelError):  # the layers say it
        learn_code(options.analysis.model, 0)
    report_network(options.analysis)
    report_left_out(options.analysis.dataset)
    fetch_weights(options.analysis.model, options.analysis.weights, print_progress)

    request = ProfileRequest(options, seeds, arguments.rho, arguments.criteria)
    with chosen_cluster(arguments.dask) as cluster, output_to_stderr():
        places = _Places(cluster, arguments.workers)
        profile, judgement = make_profile(request, places.train, _print_stage)
    if arguments.json is not None:
        write_json(document(profile, judgement), arguments.json)
    print("\n".join([*profile_lines(profile), *judgement_lines(profile, judgement)]))


def _options(arguments: argparse.Namespace) -> RunOptions:
    """The run that trains the head alone; all problems are reported together."""
    arguments.dataset = follow_links(arguments, arguments.dataset)
    fill_images(arguments, "train", {"train_samples": TRAIN_SAMPLES})
    problems = []
    if not 1 <= arguments.seeds <= _MOST_SEEDS:
        problems.append(f"`seeds` must be from 1 to {_MOST_SEEDS}, got {arguments.seeds}")
    if arguments.workers < 1:
        problems.append(f"`workers` must be at least 1, got {arguments.workers}")
    options = RunOptions()
    try:
        check_rho(arguments.rho)
        options = profile_options(
            AnalysisOptions(**{name: getattr(arguments, name) for name in _DATA}),
            train_samples=arguments.train_samples,
            epochs=EPOCHS if arguments.epochs is None else arguments.epochs,
        )
    except OptionError as error:
        problems.append(str(error))
    problems += name_problems(options)
    if arguments.dask is None:
        problems += device_problem(options.analysis.device)
    raise_problems(problems or profile_grid(options, [], (0,)).problems())
    return options


class _Places:
    """Where runs are trained."""

    def __init__(self, cluster: Cluster | None, workers: int) -> None:
        self._cluster, self._workers = cluster, workers

    def train(self, grids: Sequence[Grid], what: str) -> dict[Any, Run]:
        """Train what is missing, with a line on stderr for each, and return all runs."""
        store = RunStore()
        cells = list(dict.fromkeys(cell for grid in grids for cell in grid.cells()))
        done = sum(run.state == "done" for run in runs_of(cells, store.runs()).values())
        begun, already = time.monotonic(), done
        print(f"{what}: {plural(len(cells), 'run')}, {done} done.", file=sys.stderr)
        executor = self._cluster.executor if self._cluster else None
        for grid in grids:
            for run in sweep(grid, executor, workers=self._workers):
                done += 1
                seconds = (time.monotonic() - begun) / (done - already)
                left = duration_text(seconds * (len(cells) - done))
                more = f" · about {left} left" if done < len(cells) else ""
                print(f"{done:4d}/{len(cells)}  {_ending(run)}{more}", file=sys.stderr, flush=True)
        return runs_of(cells, store.runs())


def _ending(run: Run) -> str:
    names = " + ".join(run.options.also_train) or "the head alone"
    text = f"{names}, seed {run.options.recipe.seed}"
    if run.result is None:
        return f"{text}: {run.state}. {run.error}"
    return f"{text}: {100 * run.result.test_accuracy:.1f} %, {run.result.seconds:.1f} s"


def _print_stage(what: str) -> None:
    print(f"{what}.", file=sys.stderr, flush=True)


def profile_lines(profile: LayerProfile) -> list[str]:
    """The gain of each layer, the largest first, as lines of text."""
    head = sum(profile.head_accuracies) / len(profile.seeds)
    lines = [
        f"The head alone: {100 * head:.1f} % of {plural(profile.test_images, 'test image')} "
        f"correct, {plural(len(profile.seeds), 'seed')}. Gain in points, ± standard deviation:",
    ]
    for layer in sorted(profile.layers, key=lambda layer: -layer.gain):
        spread = "" if layer.sd is None else f" ± {100 * layer.sd:.1f}"
        lines.append(
            f"{signed(100 * layer.gain):>6}{spread:8}  {layer.layer or '(model)'}  "
            f"{layer.seconds:.1f} s, {size_text(layer.bytes)}"
        )
    return lines


def judgement_lines(profile: LayerProfile, judgement: Judgement | None) -> list[str]:
    """How well each criterion finds the layers worth training, as lines of text."""
    if judgement is None:
        return []
    board = judgement.board
    lines = ["", *([board.note] if board.note else [])]
    lines += [
        f"Rank correlation with the gain (95 % interval over seeds and layers); share of the "
        f"{board.places} best found ({100 * board.by_chance:.0f} % by chance); points that its "
        f"{judgement.set_size} layers together lose against the best set:",
    ]
    for standing in board.standings:
        estimate = standing.spearman
        value, low, high = map(_number, (estimate.value, estimate.low, estimate.high))
        title = STRATEGIES[standing.criterion].title
        lost = 100 * judgement.sets[standing.criterion].regret
        lines.append(
            f"{value:>5} ({low:>5} to {high:>5})  "
            f"{_number(100 * standing.hits, 0):>4} %  {_number(lost, 1):>5}  {title}"
        )
    lost = 100 * judgement.sets[BEST_SINGLES].regret
    lines.append(f"{'':31}{lost:5.1f}  the layers that gained most alone, together")
    return lines


def _number(value: float, digits: int | None = None) -> str:
    """With a sign and two decimals, or without one and so many."""
    if math.isnan(value):
        return "–"
    return signed(value, 2) if digits is None else f"{value:.{digits}f}"
