"""A process that computes analyses for another: `python -m analysis.worker`.

It reads pickled `AnalysisOptions` on standard input and writes messages on standard output.
When the input ends, because the other process closed it or died, it ends at once.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import BinaryIO

from analysis.errors import AnalysisError
from analysis.options import AnalysisOptions
from analysis.results import Progress, TopologyReport

_TELL_EVERY = 0.05  # seconds between two progress messages


Message = Progress | TopologyReport | str  # a string says why the analysis failed


def end_group(leader: int) -> None:
    """Kill a worker with the processes that Ripser runs in, where the system has groups."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


class _Sender:
    def __init__(self, channel: BinaryIO) -> None:
        self._channel = channel

    def __call__(self, message: Message) -> None:
        pickle.dump(message, self._channel, protocol=pickle.HIGHEST_PROTOCOL)
        self._channel.flush()


def _read(requests: SimpleQueue[AnalysisOptions]) -> None:
    while True:
        try:
            requests.put(pickle.load(sys.stdin.buffer))
        except (EOFError, OSError, pickle.UnpicklingError):
            end_group(os.getpid())
            os._exit(0)


def _answer(options: AnalysisOptions, send: _Sender) -> Message:
    from analysis.pipeline import run

    told = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_EVERY:
            told = time.monotonic()
            send(progress)

    try:
        return run(options, progress=tell)
    except AnalysisError as error:
        return str(error)
    except Exception as error:  # the person gets a sentence, the log the traceback
        import traceback

        traceback.print_exc()
        return f"The analysis failed unexpectedly ({type(error).__name__}: {error})."


def main() -> None:
    # What a library prints must not end up among the messages.
    send = _Sender(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: SimpleQueue[AnalysisOptions] = SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    import analysis.pipeline  # noqa: F401  (takes seconds: done before it is needed)

    while True:
        send(_answer(requests.get(), send))


if __name__ == "__main__":
    main()
