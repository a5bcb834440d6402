"""The command line: `python -m analysis models | datasets | strategies | analyze | …`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from analysis.commands import analyze, finetune, listing, profile, sweep
from analysis.commands.supervision import supervise
from analysis.errors import NOT_ENOUGH_MEMORY, AnalysisError, is_out_of_memory
from analysis.version import __version__


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 if cells failed, 2 for bad input and 130 if stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not what a console lacks, but a substitute
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    with _watched_ctrl_c() as stopped:
        try:
            code: int | None = options.command(options)
            sys.stdout.flush()
        except AnalysisError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except BrokenPipeError:  # the reader of our output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            print(f"error: {place}{error.strerror or error}", file=sys.stderr)
            return 2
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            print(f"error: {NOT_ENOUGH_MEMORY}", file=sys.stderr)
            return 2
        except (KeyboardInterrupt, SystemExit) as error:
            if isinstance(error, KeyboardInterrupt) and stopped():
                print("stopped", file=sys.stderr)
                return 130
            print(f"error: {_ended_by(error)}", file=sys.stderr)
            return 2
    return code or 0


@contextmanager
def _watched_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl+C was pressed: a network may raise the same error by itself."""
    pressed: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        if pressed and time.monotonic() - pressed[-1] < 1:
            return  # the same one, sent by the terminal and by the parent
        pressed.append(time.monotonic())
        signal.default_int_handler(number, frame)

    if (
        signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        or threading.current_thread() is not threading.main_thread()
    ):
        yield lambda: True  # somebody else's handler raises it
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _ended_by(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    return (
        f"The network's own code ended the command with {type(error).__name__}{where}. Remove "
        "that, or let it raise another error."
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m analysis",
        description="Measure the topology of a network's layers, and fine-tune the best of them.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing.add_to(commands)
    analyze.add_to(commands)
    finetune.add_to(commands)
    sweep.add_to(commands)
    profile.add_to(commands)
    return parser


if __name__ == "__main__":
    sys.exit(supervise(main, sys.argv[1:]))
