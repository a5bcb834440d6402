"""BettiScope's folder for results and uploads, and a safe way to write a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path


def home() -> Path:
    """The folder of all stored files: `BETTISCOPE_HOME`, else the platform's cache folder."""
    folder = os.environ.get("BETTISCOPE_HOME")
    return Path(folder) if folder else user_cache_path("bettiscope", appauthor=False)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that becomes `path` on success and is deleted on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
