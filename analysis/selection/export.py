"""An analysis and its selection as files: their settings, names, JSON and command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pandas as pd

from analysis.options import AnalysisOptions, ClusterOptions, RunOptions
from analysis.results import LayerTopology, TopologyReport
from analysis.selection.decision import Decision
from analysis.version import __version__

_LONGEST = 200  # characters of a file's name, which most systems limit to 255 bytes
_COLUMNS = (
    "layer", "kind", "b1", "score", "rank", "selected", "head", "activation_size", "parameters",
    "clusters",
)  # fmt: skip
_OF_SELECTION = ("rho", "normalization", "summary")
# Written in every command line, so that it says the same when a default changes.
_ALWAYS = ("model", "weights", "dataset", "samples", "seed", "batch_size", "pooling")


def settings(options: AnalysisOptions, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the numbers of a file, by the names of the options.

    Parameters
    ----------
    options : AnalysisOptions
    choice : mapping
        rho, normalization, preset, summary, min_persistence, persistence_unit and eps_quantile.
    """
    first = {"model": options.model, "dataset": options.dataset}
    unit = {"persistence_unit": RunOptions.persistence_unit}
    others = {**asdict(options), **asdict(ClusterOptions()), **unit, **choice}
    return {**first, **others, "version": __version__}


def of_a_layer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that decide only which layers are chosen."""
    return {name: value for name, value in settings.items() if name not in _OF_SELECTION}


def file_stem(what: str, settings: Mapping[str, Any]) -> str:
    """A file's name without its ending, which says what it holds and with which settings."""
    s = settings
    parts = ["bettiscope", what, s["model"], s["weights"], s["dataset"]]
    parts += [f"{s['shift']}{s['severity']}"] if s["shift"] != "none" else []
    parts += [f"{s['samples']}-images", f"seed{s['seed']}", s["preset"]]
    parts += [s["normalization"], f"rho{s['rho']:g}", s["summary"]] if "rho" in s else []
    unit = "-of-diameter" if s["persistence_unit"] == "diameter" else ""
    parts += [f"loops-over-{s['min_persistence']:g}{unit}"] if s["min_persistence"] else []
    parts += [f"eps-quantile{s['eps_quantile']:g}"] if s["eps_quantile"] is not None else []
    name = re.sub(r"[^\w.-]+", "_", "-".join(map(str, parts)))
    return f"{name[:_LONGEST]}-v{s['version']}"


def caption(settings: Mapping[str, Any]) -> str:
    """The settings as one line, to stand below a figure."""
    s = settings
    shift = f" with {s['shift']} {s['severity']}" if s["shift"] != "none" else ""
    parts = [
        f"{s['model']} ({s['weights']})",
        f"{s['samples']} images of {s['dataset']}{shift}",
        f"seed {s['seed']}",
        f"preset {s['preset']}",
    ]
    if "rho" in s:
        parts += [f"normalisation {s['normalization']}", f"ρ = {s['rho']:g}"]
        parts.append(f"score from {s['summary']}")
    unit = " of the diameter" if s["persistence_unit"] == "diameter" else ""
    parts += [f"loops over {s['min_persistence']:g}{unit}"] if s["min_persistence"] else []
    parts += [f"DBSCAN radius at quantile {s['eps_quantile']:g}"] if s["eps_quantile"] else []
    return ", ".join([*parts, f"BettiScope {s['version']}"])


def with_settings(table: pd.DataFrame, settings: Mapping[str, Any]) -> pd.DataFrame:
    """The table with a column for each setting, so that tables can be put together."""
    others = {name: value for name, value in settings.items() if name not in table}
    return table.assign(**{name: "" if v is None else v for name, v in others.items()})


def document(
    report: TopologyReport,
    frame: pd.DataFrame,
    settings: Mapping[str, Any],
    *,
    diagrams: bool = False,
) -> dict[str, Any]:
    """An analysis as JSON holds it.

    Parameters
    ----------
    report : TopologyReport
    frame : DataFrame
        Of `ranking.ranking`.
    settings : mapping
        Of `settings`.
    diagrams : bool, default=False
        Whether each layer has its persistence diagrams and the cluster of each image.
    """
    decision = Decision.of(frame, report.head)
    of = {name: settings[name] for name in ("normalization", "summary")}
    rows = frame[list(_COLUMNS)].astype(object)
    layers = [dict(row) for row in rows.where(rows.notna(), None).to_dict("records")]
    if diagrams:
        layers = [row | _shapes(layer) for row, layer in zip(layers, report.layers, strict=True)]
    return {
        **{name: value for name, value in settings.items() if name != "version"},
        "layers": layers,
        "input": report.input_format and asdict(report.input_format),
        "head": report.head,
        "not_finite": report.not_finite,
        "never_run": list(report.never_run),
        "notes": [*report.warnings(), *decision.notes(**of)],
        "degenerate": list(decision.degenerate),
        "seconds": report.seconds,
        "stored": report.stored,
        "made": _made(report),
        "version": settings["version"],
    }


def _made(report: TopologyReport) -> str | None:
    """When an analysis was made, with its time zone; None for one that an older version stored."""
    made = report.made if report.stored else datetime.now().astimezone()
    return made.isoformat(timespec="seconds") if made else None


def _shapes(layer: LayerTopology) -> dict[str, Any]:
    clustering = layer.clustering
    return {
        "diagrams": [diagram.tolist() for diagram in layer.diagrams],
        "cluster_of_image": clustering.labels.tolist() if clustering else None,
        "eps": clustering.eps if clustering else None,
    }


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
