"""The command `finetune`."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

from analysis.commands.options import (
    add_choice_options,
    add_data_options,
    add_machine_options,
    add_option,
    add_reverse,
    check_writable,
    fill_from_preset,
    fill_images,
    follow_links,
    print_progress,
    report_left_out,
    report_network,
    shared_problems,
    write_json,
)
from analysis.errors import OptionError, raise_problems
from analysis.instruments.memory_use import MEMORY_KINDS, MemoryUse
from analysis.models import fetch_weights
from analysis.options import (
    PRESETS,
    AnalysisOptions,
    Recipe,
    RunOptions,
    option_problems,
    options_of,
)
from analysis.runs.records import TrainingLog
from analysis.selection.strategies import REVERSED, STRATEGIES, reversed_name
from analysis.system.imports import slow_imports
from analysis.system.output import output_to_stderr
from analysis.system.paths import pasted_path
from analysis.text import plural
from analysis.training.followed import MOST_SHARE, FollowedTopology
from analysis.training.metrics import EpochMetrics, FinetuneResult, Selection
from analysis.version import __version__


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    what = "fine-tune the layers that a strategy chooses"
    finetune = commands.add_parser("finetune", help=what, description=f"{what.capitalize()}.")
    finetune.set_defaults(command=_finetune)
    add, samples = finetune.add_argument, PRESETS["recommended"].samples
    add_data_options(add)
    add_machine_options(add)
    add_option(add, RunOptions, "strategy", choices=STRATEGIES)
    add_reverse(add)
    add_option(add, RunOptions, "preset")
    add_option(add, AnalysisOptions, "samples", default=f"the preset's ({samples})")
    add_choice_options(add)
    most = RunOptions.train_samples
    add_option(add, RunOptions, "train_samples", default=f"{most}, or the whole split if smaller")
    for name in options_of(Recipe):
        if name == "follow_topology":
            add_option(
                add, Recipe, name, action=argparse.BooleanOptionalAction,
                default=f"where it takes less than {MOST_SHARE:.0%} of the training's time",
            )  # fmt: skip
        else:
            add_option(add, Recipe, name)
    add(
        "--json",
        type=pasted_path,
        metavar="FILE",
        help="Write the result to this file, not to stdout.",
    )
    add(
        "--save-weights",
        type=pasted_path,
        metavar="FILE",
        help="Write the trained weights to this safetensors file.",
    )


def _finetune(arguments: argparse.Namespace) -> None:
    options = _options(arguments)
    for path in (arguments.json, arguments.save_weights):
        if path is not None:
            check_writable(path)
    report_network(options.analysis)
    left_out = report_left_out(options.analysis.dataset)

    # Before the slow imports.
    fetch_weights(options.analysis.model, options.analysis.weights, print_progress)

    with slow_imports():
        from analysis.topology.inputs import format_of
        from analysis.training.fine_tune import Training

    images = format_of(options.analysis)
    if images.remark:
        print(f"note: {images.remark}", file=sys.stderr)
    training = Training(options)
    log, printed, said = TrainingLog(), set[str](), ""
    with output_to_stderr():  # what the network prints
        for item in training:
            log.add(item)
            if isinstance(item, Selection):
                news = item.note.removeprefix(said).strip()
                frozen = item.frozen_part.text if item.frozen_part else ""
                for line in (selection_text(item), frozen, f"note: {news}" if news else ""):
                    if line and line not in printed:
                        printed.add(line)
                        print(line, file=sys.stderr)
                said = item.note
            elif isinstance(item, FollowedTopology):
                if item.note and item.note not in printed:
                    printed.add(item.note)
                    print(f"note: {item.note}", file=sys.stderr)
            elif isinstance(item, EpochMetrics):
                print(_epoch_text(item, options.recipe.epochs), file=sys.stderr)
    assert log.selection is not None, "a training begins with the selection"
    assert log.result is not None, "a training ends with the result"
    written = _result(options, log.selection, log.metrics.epochs, log.result)
    written |= {"topology": _topology(log.followed)}
    written |= {"input": dataclasses.asdict(images)}
    written |= {"learning_rate": log.metrics.steps[0].learning_rate, "left_out": left_out}
    write_json(written, arguments.json)
    if arguments.save_weights is not None:  # last, so that the result is written even if this fails
        training.save_weights(arguments.save_weights)


def _options(arguments: argparse.Namespace) -> RunOptions:
    arguments.dataset = follow_links(arguments, arguments.dataset)
    problems = shared_problems(arguments)
    preset = PRESETS.get(arguments.preset, PRESETS["recommended"])
    images = {"samples": preset.samples, "train_samples": RunOptions().train_samples}
    fill_images(arguments, "train", images)
    fill_from_preset(arguments, ("normalization",))
    recipe = analysis = None
    try:
        recipe = Recipe(**{f.name: getattr(arguments, f.name) for f in dataclasses.fields(Recipe)})
    except OptionError as error:
        problems.append(str(error))
    names = ("model", "dataset", "weights", "weights_key", "head", "shift", "severity", "samples",
             "input_side", "input_resize", "input_mean", "input_std", "precision", "device",
             "memory")  # fmt: skip
    try:
        analysis = AnalysisOptions(
            **{name: getattr(arguments, name) for name in names},
            seed=recipe.seed if recipe else 0,  # a wrong seed is reported above
            batch_size=preset.batch_size,
            pooling=preset.pooling,
            subsets=preset.subsets,
        )
    except OptionError as error:
        problems.append(str(error))
    problems += option_problems(RunOptions, {"train_samples": arguments.train_samples})
    strategy = arguments.strategy
    if arguments.reverse and not problems:
        strategy = reversed_name(strategy)
        if strategy == arguments.strategy:
            problems.append(f"`reverse` needs a strategy that ranks layers, got {strategy!r}")
    raise_problems(problems)
    assert recipe is not None
    assert analysis is not None
    return RunOptions(
        analysis=analysis,
        strategy=strategy,
        rho=arguments.rho,
        normalization=arguments.normalization,
        preset=arguments.preset,
        summary=arguments.summary,
        min_persistence=arguments.min_persistence,
        persistence_unit=arguments.persistence_unit,
        train_samples=arguments.train_samples,
        recipe=recipe,
    )


def selection_text(selection: Selection) -> str:
    """How much trains, in one line."""
    trained, total = selection.trainable_parameters, selection.total_parameters
    layers = plural(len(selection.layers), "layer")
    return f"training {layers}, {trained:,} of {plural(total, 'parameter')}"


def _epoch_text(metric: EpochMetrics, epochs: int) -> str:
    return (
        f"epoch {metric.epoch:3d}/{epochs}  loss {metric.train_loss:.4f}  "
        f"validation accuracy {metric.val_accuracy:.4f}  {metric.seconds:.1f} s"
    )


def _result(
    options: RunOptions,
    selection: Selection,
    epochs: Sequence[EpochMetrics],
    result: FinetuneResult,
) -> dict[str, Any]:
    analysis = options.analysis
    return {
        "model": analysis.model,
        "dataset": analysis.dataset,
        "weights": analysis.weights,
        "shift": analysis.shift,
        "severity": analysis.severity,
        "strategy": options.strategy,
        "reverse": options.strategy.endswith(REVERSED),
        "rho": options.rho,
        "normalization": options.normalization,
        "preset": options.preset,
        "summary": options.summary,
        "min_persistence": options.min_persistence,
        "persistence_unit": options.persistence_unit,
        "samples": analysis.samples,
        "train_samples": options.train_samples,
        **{k: v for k, v in dataclasses.asdict(options.recipe).items() if k != "epochs"},
        "layers": list(selection.layers),
        "without_gradient": list(selection.without_gradient),
        "notes": [selection.note] if selection.note else [],
        "frozen_part": selection.frozen_part
        and dataclasses.asdict(selection.frozen_part)
        | {"bytes": _kept(result.peak_memory), "predicted_bytes": _kept(selection.predicted)},
        "trainable_parameters": selection.trainable_parameters,
        "total_parameters": selection.total_parameters,
        "selection": {
            "seconds": selection.seconds,
            "peak_bytes": selection.peak_bytes,
            "used_labels": selection.used_labels,
            "used_gradients": selection.used_gradients,
        },
        "epochs": [dataclasses.asdict(epoch) for epoch in epochs],
        "best_val_accuracy": result.best_val_accuracy,
        "last_val_accuracy": result.last_val_accuracy,
        "test_accuracy": result.test_accuracy,
        "peak_memory": _bytes(result.peak_memory),
        "predicted_peak_memory": _bytes(selection.predicted),
        "seconds": result.seconds,
        "seed": options.recipe.seed,
        "version": __version__,
    }


def _topology(followed: FollowedTopology | None) -> dict[str, Any] | None:
    """b₁ of every layer by epoch; null where a layer is not finite."""
    if followed is None:
        return None
    b1 = {name: [None if math.isnan(n) else n for n in followed.loops(name)]
          for name in followed.layers}  # fmt: skip
    return {
        "images": followed.images,
        "epochs": list(followed.epochs),
        "b1": b1,
        "note": followed.note,
    }


def _bytes(use: MemoryUse | None) -> dict[str, int] | None:
    """By kind; their sum is the total."""
    if use is None:
        return None
    return {"total": use.total} | {kind: getattr(use, kind) for kind in MEMORY_KINDS}


def _kept(use: MemoryUse | None) -> int | None:
    """The results of the frozen part that are kept."""
    return None if use is None else use.cache
