"""What inputs on a page show of an option: its help text and its range."""

from __future__ import annotations

from typing import Any

from analysis.options import option_of


def help_of(owner: type, name: str, more: str = "") -> str:
    """The help text of a field of an options class, and perhaps more sentences."""
    return f"{option_of(owner, name).help} {more}".strip()


def number_settings(owner: type, name: str, more: str = "", *, scale: float = 1) -> dict[str, Any]:
    """The range, step and help text of a field, as `st.number_input` and `st.slider` take them.

    Parameters
    ----------
    owner : type
        `AnalysisOptions`, `RunOptions` or `Recipe`.
    name : str
        Of the field.
    more : str
        Sentences after the help text.
    scale : float
        Units of the field in one unit of the input; if not 1, the numbers are floats.
    """
    known = option_of(owner, name)
    values = {
        "min_value": known.low if known.least is None else known.least,
        "max_value": known.high if known.most is None else known.most,
        "step": known.step,
    }
    settings = {
        key: value if value is None or scale == 1 else value / scale
        for key, value in values.items()
    }
    return {**settings, "help": help_of(owner, name, more)}
