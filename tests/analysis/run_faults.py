"""Helpers for the tests of runs: waiting, a full disk, a program that locks a file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.options import Recipe, RunOptions

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("stand_in")
PATIENCE = 60.0  # seconds; a machine may be busy
# What the stand-in training can do. A run's `train_samples` is the index of its kind here, since
# the store cannot read a name that is in no registry.
KINDS = (
    "", "quick", "long", "waits", "ignores stop", "diverges", "training error",
    "unexpected error", "out of memory", "cannot save", "no memory to save", "slow to save",
    "killed", "starts a process", "no space to save",
)  # fmt: skip

_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def run_of_kind(kind: str, *, seed: int = 0, epochs: int = 2) -> RunOptions:
    """A run for the stand-in training."""
    return RunOptions(train_samples=KINDS.index(kind), recipe=Recipe(seed=seed, epochs=epochs))


def wait_until(condition: Callable[[], object], patience: float = PATIENCE) -> float:
    """Wait until a condition holds; return the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < patience, "the condition never held"
        time.sleep(0.02)
    return time.monotonic() - started


@contextmanager
def lock_file(file: Path) -> Iterator[None]:
    """Another process locks a SQLite file."""
    other = subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == b"locked\n"
    try:
        yield
    finally:
        other.stdin.close()
        other.wait()
        other.stdout.close()


def mount(folder: Path, how: str) -> bool:
    """Mount a small disk in memory, or remount it; whether the system allows it."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to the last byte; return the file that does."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    if not file.write(b"x" * size):
                        break
            except OSError:
                pass
    return filler
