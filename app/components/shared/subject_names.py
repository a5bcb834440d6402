"""The names that the page shows for datasets and weights, also for the user's own."""

from __future__ import annotations

from pathlib import PurePath

from analysis.options import AnalysisOptions
from app.literal import visible


def dataset_name(name: str) -> str:
    """The name of a dataset as the page shows it."""
    kind, _, rest = name.partition(":")
    if kind == "own":
        return f"{visible(_short(rest))} (yours)"
    if kind in ("folder", "linked"):
        links = ", links followed" if kind == "linked" else ""
        return visible(f"{PurePath(rest).name} (folder {rest}{links})")
    return name


def shift_text(options: AnalysisOptions) -> str:
    """How the images are altered; empty if they are not."""
    return "" if options.shift == "none" else f"{options.shift} {options.severity}"


def data_text(options: AnalysisOptions) -> str:
    """The dataset and, if there is one, its shift."""
    shift = shift_text(options)
    return dataset_name(options.dataset) + (f" with {shift}" if shift else "")


def computed_text(options: AnalysisOptions) -> str:
    """The settings that change the numbers, where they are not the default."""
    side = f", {options.input_side} pixels a side" if options.input_side else ""
    side += f", resized to {options.input_resize}" if options.input_resize else ""
    side += f", mean {options.input_mean}" if options.input_mean else ""
    side += f", deviation {options.input_std}" if options.input_std else ""
    return side + (f", in {options.precision}" if options.precision != "float32" else "")


def weights_name(weights: str) -> str:
    """The name of weights as the page shows it."""
    kind, _, path = weights.partition(":")
    return f"{visible(_short(PurePath(path).stem))} (yours)" if kind == "file" else weights


def _short(identity: str) -> str:
    """A name with enough of the content's digest to distinguish two of the same name."""
    name, _, digest = identity.rpartition("-")
    return f"{name}-{digest[:6]}" if name else identity
