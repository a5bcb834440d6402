"""Keep standard output for results, whatever else prints."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Send to standard error what is printed meanwhile, by native code and child processes too."""
    saved = _point_output_at_stderr()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            _flush()
            os.dup2(saved, 1)
            os.close(saved)


def close_output() -> None:
    """Send to standard error what is printed from now on, such as while the process ends."""
    saved = _point_output_at_stderr()
    if saved is not None:
        os.close(saved)
    sys.stdout = sys.stderr


def _point_output_at_stderr() -> int | None:
    """A copy of the descriptor of standard output; None if there is none."""
    _flush()
    try:
        saved = os.dup(1)
    except OSError:  # closed
        return None
    try:
        os.dup2(2, 1)
    except OSError:
        os.close(saved)
        return None
    return saved


def _flush() -> None:
    """Write what Python and C hold back, before the descriptor means something else."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(Exception):  # not on Windows
        ctypes.CDLL(None).fflush(None)
