"""Questions that a worker answers, and their answers, which are kept. Asking needs no torch."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

if TYPE_CHECKING:
    from analysis.jobs.jobs import Jobs

_REMEMBERED = 512
_FORGOTTEN = 5.0  # seconds after which nobody waits any more: pages ask several times a second
_POLL = 0.02  # seconds
_FAILED_FOR = 30.0  # seconds after which a question that failed may be asked again


Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """A request of `analysis.worker` whose answer may be kept; a subclass says of what type."""

    kept_for: ClassVar[float] = math.inf  # seconds


class Estimates:
    """Answers that are there at once, or soon: a worker makes one at a time.

    Parameters
    ----------
    jobs : Jobs
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._lock = threading.Lock()
        self._known: OrderedDict[Question[Any], tuple[object, float]] = OrderedDict()  # and when
        self._failed: dict[Question[Any], tuple[str, float]] = {}  # and when; monotonic
        # When each was last asked; the newest last, and answered first.
        self._waiting: dict[Question[Any], float] = {}
        self._working = False

    def get(self, request: Question[Answer]) -> Answer | str | None:
        """The answer; a sentence if there can be none; None while it is being made."""
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
        """The same, but nothing is made."""
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
                for each in [q for q, asked in self._waiting.items() if now - asked > _FORGOTTEN]:
                    del self._waiting[each]
                if not self._waiting:
                    self._working = False
                    return
                request = next(reversed(self._waiting))
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
        """The answer, or a sentence why there is none."""
        try:
            job = self._jobs.start(request)
            while job.state == "running":
                time.sleep(_POLL)
        except Exception as error:  # such as a process that cannot be started
            return None, f"The estimate could not be made ({error})."
        if job.state == "done":
            return job.result, ""
        return None, job.error or "The estimate was stopped."
