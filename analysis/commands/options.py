"""Options that several commands share, and how their result is written."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.datasets import DATASETS, SHIFTS, dataset_problem, dataset_spec
from analysis.datasets.folders import some_of
from analysis.errors import OptionError
from analysis.models.names import CHECKPOINT_ENDINGS, FILE
from analysis.options import DEVICES, PRECISIONS, PRESETS, WEIGHTS, AnalysisOptions, RunOptions
from analysis.progress import Progress
from analysis.training.names import name_problems


def add_data_options(add: Callable[..., Any]) -> None:
    """Add what says which model sees which images; `add` is a parser's `add_argument`."""
    default = AnalysisOptions()
    add(
        "--model",
        type=model_name,
        default=default.model,
        help="a name that `models` lists, timm/NAME, or FILE.py:FUNCTION (%(default)s)",
    )
    add(
        "--dataset",
        type=dataset_name,
        default=default.dataset,
        help="a name that `datasets` lists, or a folder of images (%(default)s)",
    )
    add(
        "--weights",
        type=weights_name,
        default=default.weights,
        help=f"{', '.join(WEIGHTS)}, a weight set's name, or a checkpoint (%(default)s)",
    )
    add("--shift", default=default.shift, help=f"{', '.join(SHIFTS)} (%(default)s)")
    add("--severity", type=int, default=default.severity,
        help="of the shift, 1 to 5 (%(default)s)")  # fmt: skip


def add_machine_options(add: Callable[..., Any]) -> None:
    """Add what says how the numbers are computed; `add` is a parser's `add_argument`."""
    default = AnalysisOptions()
    add("--input-side", type=int, default=0, help="pixels (what the model's weights ask for)")
    add(
        "--precision",
        default=default.precision,
        help=f"of the activations analysed: {', '.join(PRECISIONS)} (%(default)s)",
    )
    add("--device", default=default.device, help=f"{', '.join(DEVICES)} (%(default)s)")
    add("--memory", type=_gigabytes, default=0, metavar="GB",
        help="that an analysis may take (most of what is free)")  # fmt: skip


def add_choice_options(add: Callable[..., Any]) -> None:
    """Add what says how a ranking becomes a selection."""
    preset = PRESETS["recommended"]
    add("--normalization", help=f"what b1 is divided by (recommended: {preset.normalization})")
    add("--rho", type=float, default=0.1, help="share of the layers to train, in (0, 1] (0.1)")


def shared_problems(arguments: argparse.Namespace) -> list[str]:
    """What is wrong with names and with rho."""
    data = {name: getattr(arguments, name) for name in ("model", "dataset", "weights", "shift")}
    options = RunOptions(AnalysisOptions(**data))
    for name in ("strategy", "normalization", "summary"):
        value = getattr(arguments, name, None)
        if value is not None:
            options = replace(options, **{name: value})
    problems = name_problems(options, progress=print_progress)
    try:
        RunOptions(preset=arguments.preset, rho=arguments.rho)
    except OptionError as error:
        problems.append(str(error))
    return problems


def fill_from_preset(arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """Give options that were left out what the preset says."""
    preset = PRESETS.get(arguments.preset, PRESETS["recommended"])
    for name in names:
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(preset, name))


def check_writable(path: Path) -> None:
    """Fail now rather than after the work, and leave no empty file behind."""
    there = path.exists()
    path.open("a").close()
    if not there:
        path.unlink()


def fill_images(arguments: argparse.Namespace, split: str, defaults: dict[str, int]) -> None:
    """Give numbers of images that were left out the default, or all that the split has."""
    known = not dataset_problem(arguments.dataset)
    sizes: dict[Any, int] = dataset_spec(arguments.dataset).sizes if known else {}
    for name, default in defaults.items():
        if getattr(arguments, name) is None:
            number = min(default, sizes.get(split) or default)
            setattr(arguments, name, number)
            if number < default:
                option = "--" + name.replace("_", "-")
                print(f"note: {option} is {number}: there are no more", file=sys.stderr)


def tell_left_out(dataset: str) -> dict[str, str]:
    """Tell which files of a dataset of one's own cannot be used; each with the reason."""
    skipped = dataset_spec(dataset).skipped
    if skipped:
        print(f"note: {len(skipped):,} left out: {some_of(skipped)}", file=sys.stderr)
    return dict(skipped)


def write_json(result: dict[str, Any], path: Path | None) -> None:
    """Write to the file, or to stdout if there is none."""
    text = json.dumps(result, indent=2, allow_nan=False)
    if path is not None:
        path.write_text(text + "\n")
    else:
        print(text)


def model_name(text: str) -> str:
    """What `--model` names; the path of a file of the user's own made absolute."""
    file, python, function = text.partition(".py:")
    return f"{Path(file).resolve()}.py:{function}" if python else text


def dataset_name(text: str) -> str:
    """What `--dataset` names; a folder by its absolute path."""
    is_path = text not in DATASETS and ":" not in text and (os.sep in text or Path(text).is_dir())
    return f"folder:{Path(text).resolve()}" if is_path else text


def weights_name(text: str) -> str:
    """What `--weights` names; a checkpoint by its absolute path."""
    is_path = text.startswith(FILE) or Path(text).suffix.lower() in CHECKPOINT_ENDINGS
    return f"{FILE}{Path(text.removeprefix(FILE)).resolve()}" if is_path else text


def _gigabytes(text: str) -> int:
    try:
        size = float(text) * 1e9
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of GB, at least 0; got {text!r}")
    return round(size)


def print_progress(progress: Progress) -> None:
    """Tell on stderr how far an analysis is."""
    if not progress.layers:  # such as a download: on one line, as it comes often
        end = "\n" if progress.done == progress.total else "\r"
        told = f"{progress.stage}: {progress.layer} {progress.amount}"
        print(told.rstrip(), end=end, file=sys.stderr)
        return
    share = f"{progress.done + 1:4d}/{progress.total}"
    print(f"{share}  {progress.stage}  {progress.layer}", file=sys.stderr)
