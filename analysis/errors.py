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


NOT_ENOUGH_MEMORY = (
    "There is not enough memory for this: use fewer samples, a smaller batch or a smaller model, "
    "or end what else takes memory on this device."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error tells that memory ran out: the words differ between CPU, CUDA and MPS."""
    words = str(error).lower()
    told = (
        "out of memory", "not enough memory", "allocate memory", "alloc_failed",
        "invalid buffer size",
    )  # fmt: skip
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(each in words for each in told)
    )


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
