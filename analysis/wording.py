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
