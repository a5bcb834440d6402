"""Run a network of the user's own in a child process, so that it may end only that one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from analysis.system.output import close_output
from analysis.system.processes import why_it_died

_ENDING = "BETTISCOPE_ENDING"  # the file in which the child leaves its exit code


def supervise(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run the command line; return its exit code.

    A command with a network of the user's own runs in a child process. If that ends before the
    command does, one sentence is printed and the code is 2.
    """
    ending = os.environ.pop(_ENDING, "")
    if not ending and any(".py:" in argument for argument in arguments):
        return _run_child(arguments)
    code = 1
    try:
        code = main(arguments)
    except SystemExit as error:  # of the parser, which has printed why
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        close_output()
        if ending:
            Path(ending).write_text(str(code))
    return code


def _run_child(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        ending = Path(folder) / "code"
        environment = os.environ | {_ENDING: str(ending)}
        was_stopped = False

        def pass_on(number: int, _: FrameType | None) -> None:
            nonlocal was_stopped
            was_stopped = True
            if child is not None and child.poll() is None:
                child.send_signal(number)

        child: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, pass_on)
        child = subprocess.Popen([sys.executable, "-m", "analysis", *arguments], env=environment)
        died = child.wait()
        try:
            return int(ending.read_text())
        except (OSError, ValueError):  # it did not get there
            pass
    if was_stopped:
        return 130
    print(
        f"error: The network's own code ended the process ({why_it_died(died)}). Run its file by "
        "itself to see why.",
        file=sys.stderr,
    )
    return 2
