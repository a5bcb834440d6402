"""What goes wrong in a thread that must go on: told to the person, and traced in the log."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Container

from analysis.errors import StoreError
from analysis.runs.database import SetAside

_STARTING = ("claim", "warm")  # what starts processes


class Faults:
    """Sentences for the person, by what they are about, each until the same thing succeeds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: dict[tuple[str, str], str] = {}

    def sentences(self) -> list[str]:
        """What a person should know, each said once; empty when all is well."""
        with self._lock:
            return list(dict.fromkeys(self._sentences.values()))

    def telling(self, about: str, run_id: str = "", *, before: str = "") -> _Telling:
        """A block whose errors are kept, with `before` in front, and go no further."""
        return _Telling(self, (about, run_id), before)

    def forget(self, about: str, *, all_but: Container[str]) -> None:
        """Drop what is told about runs that nobody looks after any more."""
        with self._lock:
            for key in list(self._sentences):
                if key[0] == about and key[1] not in all_but:
                    del self._sentences[key]

    def keep(self, about: tuple[str, str], error: Exception | None, before: str) -> None:
        """Remember an error, or that there was none."""
        with self._lock:
            if error is None:
                self._sentences.pop(about, None)
            elif isinstance(error, SetAside):
                self._sentences["set aside", ""] = str(error)  # it stays true
            elif self._sentences.get(about) != (sentence := before + _sentence(error, about[0])):
                self._sentences[about] = sentence
                if not isinstance(error, StoreError):
                    traceback.print_exception(error)  # once, however often it is tried again


class _Telling:
    def __init__(self, faults: Faults, about: tuple[str, str], before: str) -> None:
        self._faults = faults
        self._about = about
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        self._faults.keep(self._about, error, self._before)
        return error is not None


def _sentence(error: Exception, about: str) -> str:
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, OSError) and about in _STARTING:
        return f"A process could not be started ({error.strerror})."
    return (
        "Something unexpected happened while looking after the runs "
        f"({type(error).__name__}: {error}). The other runs go on."
    )
