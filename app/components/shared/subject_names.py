"""What a person reads of a dataset or of weights that are their own."""

from __future__ import annotations

from pathlib import PurePath

from analysis.options import AnalysisOptions


def dataset_name(name: str) -> str:
    """A dataset as the person knows it."""
    kind, _, rest = name.partition(":")
    if kind == "own":
        return f"{_short(rest)} (yours)"
    return f"{PurePath(rest).name} (folder {rest})" if kind == "folder" else name


def shift_text(options: AnalysisOptions) -> str:
    """How the images are altered; nothing if they are not."""
    return "" if options.shift == "none" else f"{options.shift} {options.severity}"


def data_text(options: AnalysisOptions) -> str:
    """The images, as they are or altered."""
    shift = shift_text(options)
    return dataset_name(options.dataset) + (f" with {shift}" if shift else "")


def computed_text(options: AnalysisOptions) -> str:
    """How the numbers are computed, as far as it is not as usual and changes them."""
    side = f", {options.input_side} pixels a side" if options.input_side else ""
    return side + (f", in {options.precision}" if options.precision != "float32" else "")


def weights_name(weights: str) -> str:
    """Weights as the person knows them."""
    kind, _, path = weights.partition(":")
    return f"{_short(PurePath(path).stem)} (yours)" if kind == "file" else weights


def _short(identity: str) -> str:
    """A name with as much of the content's digest as tells two of the same name apart."""
    name, _, digest = identity.rpartition("-")
    return f"{name}-{digest[:6]}" if name else identity
