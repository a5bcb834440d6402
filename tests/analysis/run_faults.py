"""What the tests of runs share: patience, a disk that is full, a program that locks a file."""

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
# What the stand-in of the training can do. A run's `train_samples` is the number of its kind here,
# as a name that no registry has could not be read again.
KINDS = (
    "", "quick", "long", "waits", "stubborn", "diverges", "wrong", "broken", "memory",
    "unsavable", "bursting", "slow to save", "deadly", "kin",
)  # fmt: skip

_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def doing(kind: str, *, seed: int = 0, epochs: int = 2) -> RunOptions:
    """A run for the stand-in."""
    return RunOptions(train_samples=KINDS.index(kind), recipe=Recipe(seed=seed, epochs=epochs))


def wait_until(condition: Callable[[], object], patience: float = PATIENCE) -> float:
    """Wait for something to come true; the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < patience, "it never came to that"
        time.sleep(0.02)
    return time.monotonic() - begun


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process holds a SQLite file for itself."""
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
    """Mount a small disk of memory, or mount it anew, where the system allows it."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use up a disk, to the last byte; the file that does."""
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
