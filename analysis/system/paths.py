"""Paths as people paste them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.request import url2pathname

_QUOTES = ("''", '""', "“”", "\u2018\u2019", "«»", "``")


def plain_path(text: str) -> str:
    """The path that a pasted text means.

    It may be in quotes, have spaces around it or escaped within it, begin with "~", or be a
    "file://" address. A text that is the path of something stays as it is.
    """
    if "\0" in text or os.path.lexists(text):
        return text
    text = text.strip()
    if len(text) > 1 and text[0] + text[-1] in _QUOTES:
        text = text[1:-1].strip()
    if os.path.lexists(text):
        return text
    if text[:7].lower() == "file://":
        host, _, path = text[7:].partition("/")
        if host in ("", "localhost"):
            text = url2pathname(f"/{path}")
    if text.startswith("~"):
        text = os.path.expanduser(text)  # noqa: PTH111
    bare = re.sub(r"\\([^\w\\])", r"\1", text)  # as a terminal writes a dropped file
    return bare if not os.path.lexists(text) and os.path.lexists(bare) else text


def pasted_path(text: str) -> Path:
    """`plain_path` as a `Path`, for a file that may not exist yet."""
    return Path(plain_path(text))
