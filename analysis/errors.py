"""The errors a user may see. Their text names what was wrong and what to do."""

from __future__ import annotations


class AnalysisError(Exception):
    """Base of every error whose message is meant for the user."""


class OptionError(AnalysisError, ValueError):
    """An option is unknown or out of range."""


class AssetError(AnalysisError):
    """A bundled or downloaded file is missing, damaged or out of reach."""


class ModelError(AnalysisError):
    """The model cannot be run, or has no layer to analyse."""


class StoreError(AnalysisError):
    """What is saved, analyses or runs, cannot be read or written."""


class TrainingError(AnalysisError):
    """A fine-tune cannot start, or cannot go on."""


class AnalysisStopped(AnalysisError):
    """The person stopped the analysis."""


def raise_problems(problems: list[str]) -> None:
    """Raise one `OptionError` that tells every problem found, if there is any."""
    if problems:
        raise OptionError("; ".join(problems))


def choice_problem(parameter: str, value: object, known: object) -> list[str]:
    """Say that `value` is not one of `known` (an iterable of names), or nothing."""
    names = list(known)  # type: ignore[call-overload]
    if value in names:
        return []
    return [f"`{parameter}` must be one of {', '.join(map(str, names))}; got {value!r}"]
