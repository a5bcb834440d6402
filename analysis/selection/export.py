"""Analyses, selections and runs as files: their settings, names, JSON and command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.options import AnalysisOptions, ClusterOptions, RunOptions
from analysis.results import LayerTopology, TopologyReport
from analysis.selection.certainty import Certainty
from analysis.selection.decision import Decision
from analysis.selection.strategies import idle_settings
from analysis.version import __version__

if TYPE_CHECKING:
    from analysis.topology.layer_tests import LayerTests
    from analysis.topology.permuted import PermutedLoops

_IN_NAMES = {
    "model": "{}",
    "weights": "{}",
    "dataset": "{}",
    "shift": "{}",
    "samples": "{}-images",
    "seed": "seed{}",
    "preset": "{}",
    "strategy": "{}",
    "normalization": "{}",
    "rho": "rho{:g}",
    "summary": "{}",
    "train_samples": "train{}",
    "epochs": "{}-epochs",
}
_IN_CAPTION = {
    "seed": "seed {}",
    "preset": "preset {}",
    "strategy": "strategy {}",
    "normalization": "normalisation {}",
    "rho": "ρ = {:g}",
    "summary": "score from {}",
    "train_samples": "{} training images",
    "epochs": "epochs: {}",
}
_WORDS = {"normalization": "normalisation", "rho": "ρ", "summary": "score from",
          "samples": "images", "train_samples": "training images",
          "optimizer": "optimiser"}  # fmt: skip
_MOST_LISTED = 6  # values of a setting that differs, in a caption
_LONGEST = 200  # characters of a file's name, which most systems limit to 255 bytes
_COLUMNS = (
    "layer", "kind", "b1", "b1_se", "score", "rank", "selected", "probability", "head",
    "activation_size", "parameters", "clusters",
)  # fmt: skip
_OF_SELECTION = ("rho", "normalization", "summary")
# Written in every command line, so that it says the same when a default changes.
_ALWAYS = ("model", "weights", "dataset", "samples", "seed", "batch_size", "pooling", "subsets")


def settings(options: AnalysisOptions, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the numbers of a file, by the names of the options.

    Parameters
    ----------
    options : AnalysisOptions
    choice : mapping
        rho, normalization, preset, summary, min_persistence, persistence_unit and those of
        `ClusterOptions`.
    """
    first = {"model": options.model, "dataset": options.dataset}
    unit = {"persistence_unit": RunOptions.persistence_unit}
    others = {**asdict(options), **asdict(ClusterOptions()), **unit, **choice}
    return {**first, **others, "version": __version__}


def of_a_layer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that decide only which layers are chosen."""
    return {name: value for name, value in settings.items() if name not in _OF_SELECTION}


def run_settings(options: RunOptions, version: str = __version__) -> dict[str, Any]:
    """Everything that decides the numbers of a run, by the names of the options.

    Batch size and seed are those of the training; those of the analysis that chooses the layers
    are `analysis_batch_size` and, if it differs, `analysis_seed`. Settings that play no part are
    left out.
    """
    return {**_run_settings(options), "version": version}


@lru_cache(maxsize=4096)  # pages ask for it with every figure
def _run_settings(options: RunOptions) -> Mapping[str, Any]:
    options, idle = options.deciding(), idle_settings(options) | {"memory"}
    if not options.also_train:
        idle |= {"also_train"}
    analysis = asdict(options.analysis)
    of_run = asdict(options)
    recipe = of_run.pop("recipe")
    del of_run["analysis"]
    known = {"model": analysis.pop("model"), "dataset": analysis.pop("dataset")}
    known |= {f"analysis_{name}" if name in recipe else name: v for name, v in analysis.items()}
    known |= of_run | recipe
    if known["analysis_seed"] == known["seed"]:
        del known["analysis_seed"]
    return {name: value for name, value in known.items() if name not in idle}


def shared_settings(
    several: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What these settings have in common, and the different values of the others.

    What only some of them have is common if those agree.
    """
    values: dict[str, dict[Any, None]] = {}
    for known in several:
        for name, value in known.items():
            values.setdefault(name, {})[value] = None
    common = {name: next(iter(found)) for name, found in values.items() if len(found) == 1}
    return common, {name: list(found) for name, found in values.items() if len(found) > 1}


def file_stem(what: str, settings: Mapping[str, Any]) -> str:
    """A file's name without its ending, which says what it holds and with which settings."""
    s = settings
    shift = {"shift": f"{s['shift']}{s.get('severity', '')}"} if _is_shifted(s) else {}
    shown = {name: value for name, value in s.items() if name != "shift"} | shift
    parts = [text.format(shown[name]) for name, text in _IN_NAMES.items() if name in shown]
    unit = "-of-diameter" if s.get("persistence_unit") == "diameter" else ""
    if s.get("min_persistence"):
        parts.append(f"loops-over-{s['min_persistence']:g}{unit}")
    parts += [words.replace("DBSCAN radius", "radius")] if (words := _cluster_words(s)) else []
    name = re.sub(r"[^\w.-]+", "_", "-".join(["bettiscope", what, *parts]))
    return name[:_LONGEST] + (f"-v{s['version']}" if "version" in s else "")


def _is_shifted(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("shift", "none") != "none")


def caption(
    settings: Mapping[str, Any], differing: Mapping[str, Sequence[Any]] | None = None
) -> str:
    """The settings as one line, to stand below a figure.

    Parameters
    ----------
    settings, differing : mapping
        As `shared_settings` returns them.
    """
    s = settings
    parts = [_subject(s)] if {"model", "weights"} & set(s) else []
    parts += [_images(s)] if _images(s) else []
    parts += [text.format(s[name]) for name, text in _IN_CAPTION.items() if name in s]
    unit = " of the diameter" if s.get("persistence_unit") == "diameter" else ""
    parts += [f"loops over {s['min_persistence']:g}{unit}"] if s.get("min_persistence") else []
    parts += [words] if (words := _cluster_words(s)) else []
    parts += [f"BettiScope {s['version']}"] if "version" in s else []
    differences = [f"{_WORDS.get(name, name.replace('_', ' '))} ({_listed(values)})"
                   for name, values in (differing or {}).items()]  # fmt: skip
    sentences = [", ".join(parts)] if parts else []
    sentences += [f"What differs: {', '.join(differences)}"] if differences else []
    return ". ".join(sentences)


def _cluster_words(settings: Mapping[str, Any]) -> str:
    """How the radius of DBSCAN was chosen; empty by default, and for a run, which has none."""
    known = {f.name: settings[f.name] for f in fields(ClusterOptions) if f.name in settings}
    return ClusterOptions(**known).words


def _subject(s: Mapping[str, Any]) -> str:
    if "model" not in s:
        return f"weights {s['weights']}"
    return f"{s['model']} ({s['weights']})" if "weights" in s else str(s["model"])


def _images(s: Mapping[str, Any]) -> str:
    number = f"{s['samples']} images" if "samples" in s else "images"
    data = f" of {s['dataset']}" if "dataset" in s else ""
    shift = f" with {s['shift']} {s.get('severity', '')}".rstrip() if _is_shifted(s) else ""
    return "" if number + data + shift == "images" else number + data + shift


def _listed(values: Sequence[Any]) -> str:
    texts = ["default" if value is None else f"{value:g}" if isinstance(value, float)
             else str(value) for value in values[:_MOST_LISTED]]  # fmt: skip
    more = len(values) - _MOST_LISTED
    return ", ".join(texts) + (f" and {more} more" if more > 0 else "")


def with_settings(table: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The table with a column for each setting, so that tables can be put together."""
    others = {name: value for name, value in settings.items() if name not in table}
    return table.assign(**{name: "" if v is None else v for name, v in others.items()})


def document(
    report: TopologyReport,
    frame: pd.DataFrame,
    settings: Mapping[str, Any],
    *,
    certainty: Certainty | None = None,
    diagrams: bool = False,
    tests: LayerTests | None = None,
    permuted: PermutedLoops | None = None,
) -> dict[str, Any]:
    """An analysis as JSON holds it.

    Parameters
    ----------
    report : TopologyReport
    frame : DataFrame
        Of `ranking.ranking`, perhaps with the column `probability`.
    settings : mapping
        Of `settings`.
    certainty : Certainty, optional
        How sure the selection is.
    diagrams : bool, default=False
        Whether each layer has its persistence diagrams and the cluster of each image.
    tests : LayerTests, optional
        Of the report; each layer then has its own under "null".
    permuted : PermutedLoops, optional
        Of the report; each layer then has what they give under "permuted".
    """
    decision = Decision.of(frame, report.head)
    of = {name: settings[name] for name in ("normalization", "summary")}
    rows = frame[[name for name in _COLUMNS if name in frame]].astype(object)
    layers = [dict(row) for row in rows.where(rows.notna(), None).to_dict("records")]
    if diagrams:
        layers = [row | _shapes(layer) for row, layer in zip(layers, report.layers, strict=True)]
    if tests is not None:
        of_layers = _tests_by_layer(tests)
        layers = [row | {"null": of_layers.get(row["layer"])} for row in layers]
    if permuted is not None:
        counted: dict[Any, Any] = permuted.by_layer().to_dict("index")
        layers = [row | {"permuted": counted.get(row["layer"])} for row in layers]
    return {
        **{name: value for name, value in settings.items() if name != "version"},
        "layers": layers,
        "input": report.input_format and asdict(report.input_format),
        "head": report.head,
        "not_finite": report.not_finite,
        "never_run": list(report.never_run),
        "notes": [*report.warnings(), *decision.notes(**of), *sentences_of(certainty)],
        "certainty": _certainty(certainty),
        "degenerate": list(decision.degenerate),
        "seconds": report.seconds,
        "stored": report.stored,
        "made": _made(report),
        "version": settings["version"],
    }


def sentences_of(certainty: Certainty | None) -> list[str]:
    """What to say of how sure a selection is, if that is known."""
    return [] if certainty is None else [certainty.sentence()]


def _certainty(certainty: Certainty | None) -> dict[str, Any] | None:
    if certainty is None:
        return None
    return {
        "mostly_luck": certainty.mostly_luck,
        "now": asdict(certainty.now),
        "doubled": asdict(certainty.doubled),
    }


def _made(report: TopologyReport) -> str | None:
    """When an analysis was made, with its time zone; None for one that an older version stored."""
    made = report.made or (None if report.stored else datetime.now().astimezone())
    return made.isoformat(timespec="seconds") if made else None


def _shapes(layer: LayerTopology) -> dict[str, Any]:
    clustering = layer.clustering
    return {
        "diagrams": [diagram.tolist() for diagram in layer.diagrams],
        "cluster_of_image": clustering.labels.tolist() if clustering else None,
        "eps": clustering.eps if clustering else None,
    }


def _tests_by_layer(tests: LayerTests) -> dict[str, dict[str, Any]]:
    """Of each layer: its statistics, and the p of each interval of its diagrams in their order."""
    found: dict[str, dict[str, Any]] = {}
    numbers = ["value", "null_mean", "null_sd", "p", "p_holm"]
    for name, rows in tests.to_frame().groupby("layer", sort=False):
        test = tests.tests[str(name)]
        of_statistics = rows.set_index("statistic")[numbers].to_dict("index")
        found[str(name)] = {
            **{str(statistic): row for statistic, row in of_statistics.items()},
            "bars": test.bars.tolist(),
            "asymptotic_bars": test.asymptotic_bars.tolist(),
            "asymptotic_errors": test.asymptotic_errors,
            "draws": test.draws,
        }
    return found


def with_tests(frame: pd.DataFrame, tests: LayerTests) -> pd.DataFrame:
    """The frame with null_mean and null_sd of b1, and p and p_holm of each statistic."""
    from analysis.topology.rotation import STATISTICS  # slow to import

    by_name = {name: tests.of_statistic(name).reindex(frame["layer"]) for name in STATISTICS}
    b1 = by_name["b1-more"]
    columns = {"b1_null_mean": b1["null_mean"], "b1_null_sd": b1["null_sd"]}
    for name, rows in by_name.items():
        short = name.replace("-", "_")
        columns |= {f"p_{short}": rows["p"], f"p_holm_{short}": rows["p_holm"]}
    return frame.assign(**{name: values.to_numpy() for name, values in columns.items()})


def with_permuted(frame: pd.DataFrame, permuted: PermutedLoops) -> pd.DataFrame:
    """The frame with what permuted features give, and its p-values."""
    table = permuted.by_layer().reindex(frame["layer"])
    columns = {f"b1_permuted_{part}": f"permuted_{part}" for part in ("mean", "low", "high")}
    columns |= {f"p_permuted_{side}": f"p_{side}" for side in ("more", "fewer")}
    return frame.assign(**{new: table[old].to_numpy() for new, old in columns.items()})


def command_line(options: AnalysisOptions, choice: Mapping[str, Any]) -> str:
    """The command that repeats an analysis and its selection."""
    values = asdict(options)
    values = {
        name: value
        for name, value in values.items()
        if name in _ALWAYS or value != getattr(AnalysisOptions, name)
    }
    if "memory" in values:
        values["memory"] /= 1e9
    values |= {name: value for name, value in choice.items() if value is not None}
    words = ["python", "-m", "analysis", "analyze"]
    for name, value in values.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def profile_command(options: AnalysisOptions) -> str:
    """The command that makes the layer profile of an analysis' network and images."""
    names = ("model", "weights", "weights_key", "head", "dataset", "shift", "severity",
             "input_side", "input_resize", "input_mean", "input_std")  # fmt: skip
    values = {name: getattr(options, name) for name in names}
    if options.shift == "none":
        del values["severity"]
    words = ["python", "-m", "analysis", "profile"]
    for name, value in values.items():
        if name in ("model", "dataset") or value != getattr(AnalysisOptions, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "--criteria"])
