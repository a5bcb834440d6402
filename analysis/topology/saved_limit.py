"""How much room saved analyses may take, and which are removed first."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from analysis.errors import StoreError
from analysis.text import gigabytes

LIMIT_VARIABLE = "BETTISCOPE_ANALYSES_GB"
DEFAULT_LIMIT = 2.0  # GB


def saved_limit() -> int:
    """The bytes that saved analyses may take: `BETTISCOPE_ANALYSES_GB`, else 2 GB.

    Raises
    ------
    StoreError
        If the variable holds no number from 0.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise StoreError(
            f"{LIMIT_VARIABLE} must be a number of gigabytes from 0, got {text!r}. "
            "No saved analysis was removed."
        )
    return round(1e9 * limit)


def saved_bytes(folder: Path) -> int:
    """The bytes that the analyses in a folder take."""
    return sum(size for _, size, _ in _files(folder))


def saved_text(folder: Path) -> str:
    """What the analyses in a folder take, and may take, in one sentence.

    Raises
    ------
    StoreError
        If the limit is none.
    """
    return f"Saved analyses take {gigabytes(saved_bytes(folder))} of {gigabytes(saved_limit())}."


def mark_used(path: Path) -> None:
    """Let a file count as used now. Where that is not allowed, it counts as used when written."""
    with suppress(OSError):
        os.utime(path)


def remove_least_recent(latest: Path) -> None:
    """Remove the analyses beside `latest` that were used longest ago, until the rest fits.

    `latest` itself stays, even if it alone takes more.
    """
    limit = saved_limit()
    files = _files(latest.parent)
    excess = sum(size for _, size, _ in files) - limit
    for _, size, path in sorted(files):
        if excess <= 0:
            return
        if path != latest:
            with suppress(OSError):  # another process reads it, or was faster
                path.unlink()
                excess -= size


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """When each analysis was last used, its bytes and its file; damaged ones count too."""
    files = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            if path.suffix in (".npz", ".damaged"):
                with suppress(OSError):  # just removed
                    facts = path.stat()
                    files.append((facts.st_mtime, facts.st_size, path))
    return files
