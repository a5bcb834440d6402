"""Options that several commands share, and the files they write."""

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
from analysis.datasets.folders import count_left_out
from analysis.datasets.own import FOLDER, LINKED, OWN
from analysis.models import check_head, checkpoint_notes
from analysis.models.names import CHECKPOINT_ENDINGS, FILE
from analysis.options import (
    MIN_SAMPLES,
    PRESETS,
    WEIGHTS,
    AnalysisOptions,
    RunOptions,
    loop_problems,
    option_of,
    option_problems,
)
from analysis.progress import Progress
from analysis.selection.scores import NORMALIZATIONS, plain_normalization
from analysis.selection.sizes import EXAMPLE, SIZES
from analysis.system.paths import plain_path
from analysis.topology.summaries import SUMMARIES
from analysis.training.names import name_problems

_LINE = 70  # characters of a line of progress, so that it covers the one before


def add_option(
    add: Callable[..., Any],
    owner: type,
    name: str,
    *,
    default: str | None = None,
    choices: Iterable[str] = (),
    more: str = "",
    **settings: Any,
) -> None:
    """Add the flag of a dataclass field, with the help that the pages show.

    Parameters
    ----------
    add : callable
        A parser's `add_argument`.
    owner : type
        `AnalysisOptions`, `RunOptions` or `Recipe`.
    name : str
        Of the field.
    default : str, optional
        In words; then a flag left out gives None. By default that of the field.
    choices : iterable of str
        By default those of the field.
    more : str
        Sentences after the help.
    **settings
        For `add`.
    """
    known, value = option_of(owner, name), getattr(owner, name)
    names = ", ".join(choices or known.choices)
    ending = default or (f"{value:g}" if isinstance(value, float) else value)
    if isinstance(value, bool):
        ending = default or ("yes" if value else "no")
        settings = {"action": argparse.BooleanOptionalAction} | settings
    elif "action" not in settings:
        settings = {"type": float if value is None else type(value)} | settings
    sentences = [known.help, more, f"One of {names}." if names else ""]
    # Without a default, the help says what happens.
    sentences += [f"Default: {ending}."] if ending not in (None, "") else []
    add(
        f"--{name.replace('_', '-')}",
        default=value if default is None else None,
        help=" ".join(filter(None, sentences)).replace("%", "%%"),
        **settings,
    )


def add_data_options(add: Callable[..., Any]) -> None:
    """Add the flags for the model and the data; `add` is a parser's `add_argument`."""
    add_option(
        add, AnalysisOptions, "model", type=model_name,
        more="A name from the command `models`, timm/NAME, or FILE.py:FUNCTION.",
    )  # fmt: skip
    add_option(
        add, AnalysisOptions, "dataset", type=dataset_name,
        more="A name from the command `datasets`, or a folder of images.",
    )  # fmt: skip
    add_follow_links(add)
    add_option(
        add, AnalysisOptions, "weights", type=weights_name,
        more=f"One of {', '.join(WEIGHTS)}, the name of a weight set, or a checkpoint file.",
    )  # fmt: skip
    add_option(add, AnalysisOptions, "weights_key")
    add_option(add, AnalysisOptions, "head")
    add_option(add, AnalysisOptions, "shift", choices=SHIFTS)
    add_option(add, AnalysisOptions, "severity")


def add_follow_links(add: Callable[..., Any]) -> None:
    """Add the flag that `follow_links` reads; `add` is a parser's `add_argument`."""
    add(
        "--follow-links",
        action="store_true",
        help="Also read what links out of the folder of images lead to, as DVC and DataLad make "
        "them.",
    )


def add_machine_options(add: Callable[..., Any]) -> None:
    """Add the flags for how the numbers are computed; `add` is a parser's `add_argument`."""
    for name in ("input_side", "input_resize", "input_mean", "input_std"):
        add_option(add, AnalysisOptions, name)
    add_option(add, AnalysisOptions, "precision")
    add_option(add, AnalysisOptions, "device")
    add_option(add, AnalysisOptions, "memory", type=_gigabytes, metavar="GB")


def add_choice_options(add: Callable[..., Any]) -> None:
    """Add the flags that turn an analysis into a selection of layers."""
    add_option(
        add, RunOptions, "normalization", choices=NORMALIZATIONS, type=plain_normalization,
        more=f"Also what the loops are divided by as powers of {', '.join(SIZES)}, "
        f"such as '{EXAMPLE}'.",
        default=f"the preset's ({PRESETS['recommended'].normalization})",
    )  # fmt: skip
    for name in ("rho", "min_persistence", "persistence_unit"):
        add_option(add, RunOptions, name)
    add_option(add, RunOptions, "summary", choices=SUMMARIES)


def add_reverse(add: Callable[..., Any], more: str = "") -> None:
    """Add the flag that ranks layers the other way; `add` is a parser's `add_argument`."""
    what = "Rank the other way: train the layers that a strategy would choose last."
    add("--reverse", action="store_true", help=f"{what} {more}".strip())


def follow_links(arguments: argparse.Namespace, dataset: str) -> str:
    """The dataset's name, of a folder with its links if `--follow-links` was given."""
    if arguments.follow_links and dataset.startswith(FOLDER):
        return LINKED + dataset.removeprefix(FOLDER)
    return dataset


def shared_problems(arguments: argparse.Namespace) -> list[str]:
    """What is wrong with the names, the preset, `rho` and `min_persistence`."""
    data = ("model", "dataset", "weights", "head", "shift")
    options = RunOptions(AnalysisOptions(**{name: getattr(arguments, name) for name in data}))
    for name in ("strategy", "normalization", "summary"):
        value = getattr(arguments, name, None)
        if value is not None:
            options = replace(options, **{name: value})
    problems = name_problems(options, progress=print_progress)
    names = ("preset", "rho", "min_persistence", "persistence_unit")
    values = {name: getattr(arguments, name) for name in names}
    problems += option_problems(RunOptions, values)
    return problems + loop_problems(arguments.min_persistence, arguments.persistence_unit)


def fill_from_preset(arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """Set options that were left out to the values of the preset."""
    preset = PRESETS.get(arguments.preset, PRESETS["recommended"])
    for name in names:
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(preset, name))


def check_writable(path: Path) -> None:
    """Raise `OSError` if the file cannot be written; leave no empty file behind."""
    existed = path.exists()
    path.open("a").close()
    if not existed:
        path.unlink()


def fill_images(arguments: argparse.Namespace, split: str, defaults: dict[str, int]) -> None:
    """Set numbers of images that were left out to the default, or to the size of the split."""
    known = not dataset_problem(arguments.dataset)
    sizes: dict[Any, int] = dataset_spec(arguments.dataset).sizes if known else {}
    for name, default in defaults.items():
        if getattr(arguments, name) is None:
            # Fewer than an analysis needs are refused with the size of the split.
            most = sizes.get(split) or default
            number = min(default, max(most, MIN_SAMPLES))
            setattr(arguments, name, number)
            if number == most < default:
                option = "--" + name.replace("_", "-")
                print(
                    f"note: {option} is {number}, because the split has no more images",
                    file=sys.stderr,
                )


def report_left_out(dataset: str) -> dict[str, str]:
    """Print how the user's images were read and which cannot be used; return those with reasons."""
    spec = dataset_spec(dataset)
    skipped = spec.skipped
    for note in spec.notes:
        print(f"note: {note}", file=sys.stderr)
    for phrase in count_left_out((*skipped, *spec.others), example=True):
        print(f"note: left out {phrase}", file=sys.stderr)
    return dict(skipped)


def report_network(options: AnalysisOptions) -> None:
    """Check a checkpoint and a head's name before anything slow; print the checkpoint's notes."""
    check_head(options.model, options.head)
    key, head = options.weights_key, options.head
    for note in checkpoint_notes(options.model, options.weights, weights_key=key, head=head):
        print(f"note: {note}", file=sys.stderr)


def write_json(result: dict[str, Any], path: Path | None) -> None:
    """Write to the file, or to stdout if there is none."""
    text = json.dumps(result, indent=2, allow_nan=False)
    if path is not None:
        path.write_text(text + "\n")
    else:
        print(text)


def model_name(text: str) -> str:
    """What `--model` names; the path of the user's file made absolute."""
    head, _, function = plain_path(text).rpartition(":")
    file = plain_path(head)
    return f"{Path(file).resolve()}:{function.strip()}" if file.endswith(".py") else text


def dataset_name(text: str) -> str:
    """What `--dataset` names; a folder by its absolute path."""
    if text in DATASETS:
        return text
    kind = LINKED if text.startswith(LINKED) else FOLDER
    path, named = plain_path(text.removeprefix(kind)), text.startswith(kind)
    is_path = Path(path).exists() or (os.sep in path and not text.startswith(OWN))
    return f"{kind}{Path(path).resolve()}" if path and (named or is_path) else text


def weights_name(text: str) -> str:
    """What `--weights` names; a checkpoint by its absolute path."""
    prefixed = text.startswith(FILE) and not text.lower().startswith("file://")
    path = plain_path(text.removeprefix(FILE) if prefixed else text)
    named = prefixed or os.sep in path or Path(path).suffix.lower() in CHECKPOINT_ENDINGS
    is_path = named or (path not in WEIGHTS and Path(path).is_file())
    return f"{FILE}{Path(path).resolve()}" if is_path else text


def _gigabytes(text: str) -> int:
    try:
        size = float(text) * 1e9
    except ValueError:
        size = math.nan
    if not 0 <= size < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of GB, at least 0; got {text!r}")
    return round(size)


def print_progress(progress: Progress) -> None:
    """Print on stderr how far an analysis is."""
    if not progress.layers:  # a download, for example: one line, updated often
        end = "\n" if progress.done == progress.total else "\r"
        line = f"{progress.stage}: {progress.layer} {progress.amount}"
        print(line.rstrip().ljust(_LINE), end=end, file=sys.stderr)  # over a longer one
        return
    share = f"{progress.done + 1:4d}/{progress.total}"
    print(f"{share}  {progress.stage}  {progress.layer}", file=sys.stderr)
