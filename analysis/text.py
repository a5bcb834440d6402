"""Numbers and lists in words, for sentences, tables and charts."""

from __future__ import annotations

from collections.abc import Iterable

_LISTED = 10  # names in one sentence


def first_of(names: Iterable[str], most: int = _LISTED) -> str:
    """The first names, at most so many, and how many more there are."""
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def plural(count: float, noun: str, many: str = "") -> str:
    """A count with its noun: "1 run", "1,200 runs", "2.5 loops"; `many` if not noun + s."""
    amount = f"{count:.4g}" if isinstance(count, float) else f"{count:,}"
    return f"{amount} {noun if amount == '1' else many or f'{noun}s'}"


def count_text(number: float) -> str:
    """A large count in three digits: "272 k", "25.6 M"."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign: "+1.5", "−0.2"."""
    return f"{value:+.{digits}f}".replace("-", "−")


def percent_text(part: float, whole: float) -> str:
    """A share in per cent, with a decimal below ten: "2.5 %"; "0.0 %" of nothing."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %"


def share_text(share: float) -> str:
    """A share with one decimal, so that one number reads the same everywhere: "2.5 %"."""
    return f"{100 * share:.1f} %"


def saving_text(part: float, full: float) -> str:
    """How much smaller or larger one number is than the other: "30 % less"."""
    percent = 100 * (1 - part / full)
    return f"{abs(percent):.0f} % {'less' if percent >= 0 else 'more'}"


def p_value_text(value: float) -> str:
    """A p-value with its relation: "< 0.001", "= 0.004", "= 0.25"."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.01 else f"= {value:.2f}"


def duration_text(seconds: float) -> str:
    """An estimated time in the unit that suits it: "89 s", "2 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size_unit(size: float) -> tuple[str, float]:
    """The name and the bytes of the unit that suits a size in bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return unit, scale
    return "bytes", 1.0


def size_text(size: float) -> str:
    """Bytes in four digits: "11.54 MB"."""
    unit, scale = size_unit(size)
    return f"{size / scale:.4g} {unit}"


def gigabytes(size: float) -> str:
    """Bytes in two digits, for limits and estimates: "1.5 GB", "12 GB", "350 MB"."""
    if size >= 1e9:
        return f"{size / 1e9:.{1 if size < 1e10 else 0}f} GB"
    return f"{max(1, round(size / 1e6))} MB" if size > 0 else "0 MB"


def megabytes(size: float) -> str:
    """Bytes as megabytes without the unit, for a table whose heading has it."""
    return f"{size / 1e6:,.1f}" if size < 1e9 else f"{size / 1e6:,.0f}"
