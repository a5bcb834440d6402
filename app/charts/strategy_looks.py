"""The colour and the symbol of each strategy, the same on every page.

The colour is that of its family, and the symbol its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from analysis.selection.strategies import REVERSED, STRATEGIES, Strategy
from app.theme import Palette

# In the order of a palette's colours; the first of `SYMBOLS` that each has. They differ for readers
# who cannot distinguish the colours.
FAMILIES = {
    "loops": 0,
    "nothing": 1,
    "reference": 2,
    "images": 2,
    "weights": 4,
    "labels": 0,
    "gradients": 3,
}
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "pentagon")
REVERSED_SYMBOLS = ("x", "hourglass", "bowtie", "triangle-down", "star", "hexagram")
UNKNOWN_SYMBOL = "octagon"  # of a strategy that only another version has
FORMS = ("", "-open", "-dot", "-open-dot")
DASHES = (None, "longdash", "dashdot", "dash")


class Look(NamedTuple):
    """The marks and the line of a series."""

    color: str
    symbol: str
    form: str = ""  # of the symbol: see `FORMS`
    dash: str | None = None  # solid

    @property
    def mark(self) -> str:
        """The symbol in its form, as Plotly names it."""
        return self.symbol + self.form


def strategy_look(palette: Palette, strategy: str, variant: int = 0) -> Look:
    """Return how a strategy looks.

    Parameters
    ----------
    palette : Palette
    strategy : str
        A name of `ALL_STRATEGIES`. One that is not known is grey.
    variant : int
        Counts the series of this strategy, such as one for each normalisation. The first four
        differ in the form of the symbol and in the dash.
    """
    name = strategy.removesuffix(REVERSED)
    form, dash = FORMS[variant % len(FORMS)], DASHES[variant % len(DASHES)]
    if name not in STRATEGIES:
        return Look(palette.noise, UNKNOWN_SYMBOL, form, dash)
    place, first, member = _places()[name]
    symbols = SYMBOLS if name == strategy else REVERSED_SYMBOLS
    return Look(
        palette.clusters[place],
        symbols[(first + member) % len(symbols)],
        form,
        # Lines of one family differ too, where their symbols are small.
        DASHES[(member + variant) % len(DASHES)],
    )


@lru_cache
def _places() -> dict[str, tuple[int, int, int]]:
    """The place of each strategy's family, its first symbol, and the strategy's place in it."""
    families = {name: _family(strategy) for name, strategy in STRATEGIES.items()}
    return {
        name: (
            list(FAMILIES).index(family),
            FAMILIES[family],
            [other for other in families if families[other] == family].index(name),
        )
        for name, family in families.items()
    }


def _family(strategy: Strategy) -> str:
    """What it ranks by: loops, or what else it needs; those that rank nothing are references."""
    if strategy.counts_loops:
        return "loops"
    return strategy.needs if strategy.equal_budget else "reference"
