"""Phrases of sentences that several parts tell a person."""

from __future__ import annotations

from collections.abc import Iterable

_LISTED = 10  # names in one sentence


def first_of(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def duration_text(seconds: float) -> str:
    """A time that was judged, in the unit that suits it."""
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def gigabytes(size: float) -> str:
    """Bytes for a person."""
    if size >= 1e9:
        return f"{size / 1e9:.{1 if size < 1e10 else 0}f} GB"
    return f"{max(1, round(size / 1e6))} MB" if size > 0 else "0 MB"


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.1f}".replace("-", "−")


def megabytes(size: float) -> str:
    """Bytes as megabytes, without the unit."""
    return f"{size / 1e6:,.1f}" if size < 1e9 else f"{size / 1e6:,.0f}"
