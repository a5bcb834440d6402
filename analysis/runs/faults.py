"""Errors in a thread that must go on: a sentence for the user, and a traceback in the log."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Container

from analysis.errors import StoreError
from analysis.runs.database import DamagedStoreError

_STARTING = ("claim", "warm")  # steps that start processes


class Faults:
    """Sentences for the user, one per failing step, each until that step succeeds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: dict[tuple[str, str], str] = {}

    def sentences(self) -> list[str]:
        """What the user should know, without repeats; empty when all is well."""
        with self._lock:
            return list(dict.fromkeys(self._sentences.values()))

    def catch(self, step: str, run_id: str = "", *, before: str = "") -> _Catch:
        """A block whose errors become sentences that start with `before`, and go no further."""
        return _Catch(self, (step, run_id), before)

    def forget(self, step: str, *, all_but: Container[str]) -> None:
        """Drop the sentences about a step of all runs but these."""
        with self._lock:
            for key in list(self._sentences):
                if key[0] == step and key[1] not in all_but:
                    del self._sentences[key]

    def keep(self, key: tuple[str, str], error: Exception | None, before: str) -> None:
        """Remember the error of a step and run, or that there was none."""
        with self._lock:
            if error is None:
                self._sentences.pop(key, None)
            elif isinstance(error, DamagedStoreError):
                self._sentences["damage", ""] = str(error)  # it stays true
            elif self._sentences.get(key) != (sentence := before + _sentence(error, key[0])):
                self._sentences[key] = sentence
                if not isinstance(error, StoreError):
                    traceback.print_exception(error)  # once, however often it is tried again


class _Catch:
    def __init__(self, faults: Faults, key: tuple[str, str], before: str) -> None:
        self._faults = faults
        self._key = key
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        self._faults.keep(self._key, error, self._before)
        return error is not None


def _sentence(error: Exception, step: str) -> str:
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, OSError) and step in _STARTING:
        return f"A process could not be started ({error.strerror}). It is tried again."
    return (
        f"An unexpected error occurred in the queue of runs ({type(error).__name__}: {error}). "
        "The other runs go on."
    )
