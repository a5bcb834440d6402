"""Where BettiScope keeps what it makes and is given, and how a file there is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path


def home() -> Path:
    """The folder of all that is kept: `BETTISCOPE_HOME`, else the platform's cache folder."""
    chosen = os.environ.get("BETTISCOPE_HOME")
    return Path(chosen) if chosen else user_cache_path("bettiscope", appauthor=False)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that becomes `path` when all went well, and nothing when it did not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
