"""Questions that a worker answers, and a cache of the answers. Asking needs no torch."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

if TYPE_CHECKING:
    from analysis.jobs.jobs import Jobs

_REMEMBERED = 512
_FORGOTTEN = 5.0  # seconds; a question not asked again for so long is dropped: pages ask often
_POLL = 0.02  # seconds
_FAILED_FOR = 30.0  # seconds before a question that failed may be asked again


Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """A request to `analysis.worker` with a cached answer; a subclass names the answer's type."""

    kept_for: ClassVar[float] = math.inf  # seconds


class Estimates:
    """Cached answers; a worker computes the missing ones, one at a time.

    Parameters
    ----------
    jobs : Jobs
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._known: OrderedDict[Question[Any], tuple[object, float]] = (
            OrderedDict()
        )  # with the time
        self._failed: dict[Question[Any], tuple[str, float]] = {}  # with the time, monotonic
        # When each question was last asked. The newest is last, and is answered first.
        self._waiting: dict[Question[Any], float] = {}
        self._working = False

    def get(self, request: Question[Answer]) -> Answer | str | None:
        """The answer; a sentence if it failed; None while it is being computed."""
        with self._lock:
            known = self._look_up(request)
            if known is not None:
                return known
            self._waiting.pop(request, None)
            self._waiting[request] = time.monotonic()
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, daemon=True).start()
        return None

    def known(self, request: Question[Answer]) -> Answer | str | None:
        """Like `get`, but start no computation."""
        with self._lock:
            return self._look_up(request)

    def _look_up(self, request: Question[Answer]) -> Answer | str | None:
        now = time.monotonic()
        answer, when = self._known.get(request, (None, -math.inf))
        if now - when < request.kept_for:
            self._known.move_to_end(request)
            return cast("Answer", answer)
        sentence, when = self._failed.get(request, ("", 0.0))
        return sentence if sentence and now - when < _FAILED_FOR else None

    def _work(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                recent = {q: at for q, at in self._waiting.items() if now - at <= _FORGOTTEN}
                self._waiting = recent
                if not self._waiting:
                    self._working = False
                    return
                request = next(reversed(self._waiting))
            if self._jobs.warms_later:  # a browser draws a page; its question may be dropped
                time.sleep(_POLL)
                continue
            answer, sentence = self._ask(request)
            with self._lock:
                if sentence:
                    self._failed[request] = (sentence, time.monotonic())
                else:
                    self._known[request] = answer, time.monotonic()
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
                self._waiting.pop(request, None)

    def _ask(self, request: Question[Any]) -> tuple[object, str]:
        """The answer, or a sentence that says why it failed."""
        try:
            job = self._jobs.start(request)
            while job.state == "running":
                time.sleep(_POLL)
        except Exception as error:  # such as a process that cannot be started
            return None, f"The estimate could not be computed ({error})."
        if job.state == "done":
            return job.result, ""
        return None, job.error or "The estimate was stopped."
