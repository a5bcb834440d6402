"""The errors a user may see. Each says what is wrong and what to do."""

from __future__ import annotations

import errno


class AnalysisError(Exception):
    """Base of every error whose message is meant for the user."""


class OptionError(AnalysisError, ValueError):
    """An option is unknown or out of range."""


class AssetError(AnalysisError):
    """A bundled or downloaded file is missing, is damaged or cannot be reached."""


class ModelError(AnalysisError):
    """The model cannot be run, or has no layer to analyse."""


class StoreError(AnalysisError):
    """Saved analyses or runs cannot be read or written."""


class TrainingError(AnalysisError):
    """A fine-tune cannot start or continue."""


class AnalysisStopped(AnalysisError):
    """The user stopped the analysis."""


NOT_ENOUGH_MEMORY = (
    "There is not enough memory for this: use fewer samples, a smaller batch or a smaller model, "
    "or close other programs that use this device."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: CPU, CUDA and MPS word it differently."""
    message = str(error).lower()
    phrases = (
        "out of memory", "not enough memory", "allocate memory", "alloc_failed",
        "invalid buffer size",
    )  # fmt: skip
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in message for phrase in phrases)
    )


def is_out_of_space(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, means that a disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def raise_problems(problems: list[str]) -> None:
    """Raise one `OptionError` that names every problem, if there is any."""
    if problems:
        raise OptionError("; ".join(problems))


def choice_problem(parameter: str, value: object, known: object) -> list[str]:
    """A sentence if `value` is not one of `known`, an iterable of names; else nothing."""
    names = list(known)  # type: ignore[call-overload]
    if value in names:
        return []
    return [f"`{parameter}` must be one of {', '.join(map(str, names))}; got {value!r}"]
