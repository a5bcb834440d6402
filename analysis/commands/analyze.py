"""The command `analyze`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analysis.commands.options import (
    add_choice_options,
    add_data_options,
    add_machine_options,
    add_option,
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
from analysis.costs.analysis_cost import CostRequest, Probe, analysis_cost, is_quick
from analysis.datasets import dataset_spec, is_fetched, load_dataset
from analysis.errors import OptionError, StoreError, raise_problems
from analysis.jobs.jobs import Jobs
from analysis.models import fetch_weights, learn_code, model_spec
from analysis.models.names import TIMM
from analysis.options import (
    CLOUD_IMAGES,
    PRESETS,
    AnalysisOptions,
    ClusterOptions,
    NullOptions,
    RunOptions,
    options_of,
)
from analysis.system.imports import slow_imports
from analysis.system.output import output_to_stderr
from analysis.system.paths import pasted_path
from analysis.text import duration_text, gigabytes
from analysis.topology.store import fingerprint, is_saved, load_analysis

if TYPE_CHECKING:
    from analysis.results import TopologyReport
    from analysis.selection.drift import Drift
    from analysis.topology.layer_tests import LayerTests
    from analysis.topology.permuted import PermutedLoops


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    what = "analyse a model's layers"
    analyze = commands.add_parser("analyze", help=what, description=f"{what.capitalize()}.")
    analyze.set_defaults(command=_analyze)
    add, preset = analyze.add_argument, PRESETS["recommended"]
    add_data_options(add)
    add_machine_options(add)
    add_option(add, AnalysisOptions, "split")
    add_option(add, AnalysisOptions, "seed")
    add_option(add, RunOptions, "preset")
    for name in ("samples", "batch_size", "pooling", "subsets"):
        add_option(add, AnalysisOptions, name, default=f"the preset's ({getattr(preset, name)})")
    add_choice_options(add)
    add_option(add, ClusterOptions, "eps_rule")
    add_option(add, ClusterOptions, "eps_quantile", default="by --eps-rule")
    add_option(add, ClusterOptions, "eps", default="by --eps-rule")
    add_option(add, ClusterOptions, "min_samples")
    add_option(add, NullOptions, "null")
    add_option(add, NullOptions, "permuted")
    add(
        "--diagrams",
        action="store_true",
        help="Add each layer's persistence diagrams and the cluster of each image to the JSON.",
    )
    add(
        "--severities",
        action="store_true",
        help="Analyse every severity of the shift and other draws without it, and add to the JSON "
        "how far the selection stays the same.",
    )
    output = analyze.add_mutually_exclusive_group()
    output.add_argument(
        "--json", type=pasted_path, metavar="FILE", help="Write JSON to this file, not to stdout."
    )
    output.add_argument(
        "--csv",
        type=pasted_path,
        metavar="FILE",
        help="Write a table to this file, one row per layer.",
    )


def _analyze(arguments: argparse.Namespace) -> None:
    arguments.dataset = follow_links(arguments, arguments.dataset)
    problems = shared_problems(arguments)
    preset = PRESETS.get(arguments.preset, PRESETS["recommended"])
    fill_images(arguments, arguments.split, {"samples": preset.samples})
    if arguments.batch_size is None and arguments.pooling not in (None, preset.pooling):
        arguments.batch_size = CLOUD_IMAGES.get(arguments.pooling)
    fill_from_preset(arguments, ("batch_size", "pooling", "subsets", "normalization"))
    fields = {f.name: getattr(arguments, f.name) for f in dataclasses.fields(AnalysisOptions)}
    try:
        options = AnalysisOptions(**fields)
    except OptionError as error:
        problems.append(str(error))
    clusters = ClusterOptions()
    try:
        clusters = ClusterOptions(
            **{name: getattr(arguments, name) for name in options_of(ClusterOptions)}
        )
    except OptionError as error:
        problems.append(str(error))
    try:
        NullOptions(arguments.null, arguments.permuted)
    except OptionError as error:
        problems.append(str(error))
    if arguments.severities and arguments.shift == "none":
        problems.append("`severities` needs a `shift`, got 'none'")
    raise_problems(problems)
    if (path := arguments.json or arguments.csv) is not None:
        check_writable(path)
    report_network(options)
    left_out = report_left_out(options.dataset)

    learn_code(options.model, options.seed)
    key = fingerprint(options)
    if not is_saved(key):
        available = dataset_spec(options.dataset).sizes[options.split]
        hub = options.weights == "pretrained" and model_spec(options.model).source == "timm"
        # Too many images are refused at once, and a hub that does not answer is reported first.
        skip_cost = is_quick(options) or options.samples > available or hub
        fetch_weights(options.model, options.weights, print_progress)  # before slow imports
        if not is_fetched(options.dataset):
            load_dataset(options.dataset, progress=print_progress)
        if not skip_cost:
            from analysis.topology.inputs import format_of

            format_of(options)  # a mean that does not fit is refused first
            _print_cost(options)

    from analysis.selection.certainty import certainty, selection_table, with_probability
    from analysis.selection.decision import Decision
    from analysis.selection.export import (
        document,
        sentences_of,
        settings,
        with_permuted,
        with_settings,
        with_tests,
    )
    from analysis.selection.ranking import ranking
    from analysis.topology.resummarize import resummarize

    report = _report(options, key)
    for note in filter(None, (report.stored_text, *report.notes)):
        print(f"note: {note}", file=sys.stderr)
    names = ("normalization", "rho", "preset", "summary")
    choice = {name: getattr(arguments, name) for name in names}
    loops = {name: getattr(arguments, name) for name in ("min_persistence", "persistence_unit")}
    report = resummarize(report, **loops, clusters=clusters)
    frame = ranking(report, **choice)
    of = {name: choice[name] for name in ("normalization", "summary")}
    decision = Decision.of(frame, report.head)
    sure = certainty(report, frame, **of)
    frame = with_probability(frame, sure)
    for note in [*report.warnings(), *decision.notes(**of), *sentences_of(sure)]:
        print(f"note: {note}", file=sys.stderr)
    print("\n".join(selection_table(frame)), file=sys.stderr)
    tests = _test(key, report, options.seed, arguments.null) if arguments.null else None
    permuted = _permute(options, key, report, arguments.permuted) if arguments.permuted else None
    drift = _drift(options, choice, loops) if arguments.severities else None
    choice |= loops | dataclasses.asdict(clusters)
    choice |= {name: draws for name in ("null", "permuted") if (draws := getattr(arguments, name))}
    known = settings(options, choice)
    if arguments.csv is not None:
        if tests is not None:
            frame = with_tests(frame, tests)
        if permuted is not None:
            frame = with_permuted(frame, permuted)
        with_settings(frame, known).to_csv(arguments.csv, index=False)
        return
    result = document(
        report,
        frame,
        known,
        certainty=sure,
        diagrams=arguments.diagrams,
        tests=tests,
        permuted=permuted,
    )
    if drift is not None:
        result["drift"] = drift.document()
    write_json(result | {"left_out": left_out}, arguments.json)


def _report(options: AnalysisOptions, key: str) -> TopologyReport:
    """The saved analysis, or a new one. Only a new one needs torch, which is slow to import."""
    try:
        saved = load_analysis(key)
        if saved is not None and saved.input_format and not options.model.startswith(TIMM):
            return saved
    except StoreError as error:
        print(f"note: {error}", file=sys.stderr)

    with slow_imports():
        from analysis.topology.pipeline import analyze_named

    with output_to_stderr():  # what the network prints
        return analyze_named(options, key=key, progress=print_progress)


def _test(key: str, report: TopologyReport, seed: int, draws: int) -> LayerTests:
    """Test the loops of the report, or load the tests, and print what they are worth."""
    from analysis.topology.layer_test_store import RotationRequest, saved_tests

    tests = saved_tests(RotationRequest(key, draws, seed), report, progress=print_progress)
    for note in filter(None, (*tests.notes, tests.sentence())):
        print(f"note: {note}", file=sys.stderr)
    return tests


def _permute(
    options: AnalysisOptions, key: str, report: TopologyReport, draws: int
) -> PermutedLoops:
    """Count the loops of permuted clouds, or load them, and print what they say."""
    from analysis.costs.permuted_cost import permuted_seconds
    from analysis.topology.permuted_store import PermutedRequest, permuted_saved_at, saved_permuted

    request = PermutedRequest(options, key, draws)
    if permuted_saved_at(request) is None:
        seconds = duration_text(permuted_seconds(report, draws))
        print(f"predicted for permuted features: about {seconds}", file=sys.stderr)
    with output_to_stderr():
        loops = saved_permuted(request, report, progress=print_progress)
    for note in (*loops.notes, loops.sentence().replace("**", "")):
        print(f"note: {note}", file=sys.stderr)
    return loops


def _drift(options: AnalysisOptions, choice: Mapping[str, Any], loops: Mapping[str, Any]) -> Drift:
    """Analyse every severity of the shift, and print what it does to the selection."""
    from analysis.selection.drift import drift, resummarize_series
    from analysis.topology.shift_series import ShiftRequest, make_series

    with output_to_stderr():
        series = make_series(ShiftRequest(options, options.shift), progress=print_progress)
    made = drift(resummarize_series(series, **loops), **choice)
    sentences = [made.sentence(severity) for severity in range(1, len(series.reports))]
    for note in dict.fromkeys([*series.notes, *sentences]):
        print(f"note: {note}", file=sys.stderr)
    return made


def _print_cost(options: AnalysisOptions) -> None:
    """Print the predicted time and memory on this machine."""
    jobs = Jobs()  # a process of its own: memory that a probe leaves behind would count as used
    try:
        job = jobs.start(CostRequest(options))
        while job.state == "running":
            time.sleep(0.05)
    finally:
        jobs.close()
    if not isinstance(job.result, Probe):  # the analysis reports why
        return
    cost = analysis_cost(job.result, options)
    if not cost.fits:  # the analysis reports this as well
        return
    passes = f" in {cost.passes} passes" if cost.passes > 1 else ""
    size = gigabytes(cost.peak_bytes)
    print(f"predicted: {duration_text(cost.seconds)}, {size} of memory{passes}", file=sys.stderr)
    if cost.suggestion:
        print(f"note: {cost.suggestion}", file=sys.stderr)
