"""What a selection comes to."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Totals:
    """The names and sums that a ranking's selection comes to."""

    chosen: tuple[str, ...]  # layers, best first; equal ones in execution order
    heads: tuple[str, ...]  # layers that train without being ranked
    ranked: int  # layers that could be chosen
    countable: int  # layers that ρ is a share of
    trained: int  # parameters of the chosen layers and heads
    parameters: int  # of the model's layers

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Totals:
        """Read them off a `ranking`."""
        chosen = rows.loc[rows["selected"]].sort_values("rank", kind="stable")
        return cls(
            chosen=tuple(chosen["layer"]),
            heads=tuple(rows.loc[rows["head"], "layer"]),
            ranked=int(rows["rank"].notna().sum()),
            countable=int((~rows["head"]).sum()),
            trained=int(rows.loc[rows["selected"] | rows["head"], "parameters"].sum()),
            parameters=int(rows["parameters"].sum()),
        )
