"""The table of a grid: a row a model and dataset, a column a strategy.

Measured numbers stand upright, predicted ones in grey italics, the paper's claims in a badge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.options import RunOptions
from analysis.runs.store import Run
from analysis.selection.strategies import STRATEGIES
from analysis.sweeps.grid import DataChoice, Grid
from analysis.sweeps.paper_claims import MEMORY_MODEL, average_claims
from analysis.sweeps.table import NUMBERS, Cell, Row
from analysis.text import megabytes, signed
from app.components.shared.subject_names import dataset_name

MEMORY = "peak memory"
NBSP = "\N{NO-BREAK SPACE}"  # in what a narrow screen is not to break
AGAINST_FULL = "AdaBet against full"
_STATES = {
    "running": f":gray[running{NBSP}…]",
    "queued": ":gray[waiting]",
    "failed": ":red[failed]",
    "stopped": ":gray[stopped]",
    "interrupted": ":orange[interrupted]",
}


def named(data: DataChoice) -> DataChoice:
    """Under the name that the person knows it by."""
    return replace(data, dataset=dataset_name(data.dataset))


def render_matrix(
    grid: Grid, rows: Sequence[Row], cells: Sequence[RunOptions], found: Mapping[RunOptions, Run]
) -> None:
    """Draw the table with the number that is chosen, and say what its signs mean."""
    shown = st.segmented_control(
        "The table shows", list(NUMBERS), default="accuracy", required=True, key="grid_number",
        bind="query-params",
        help="\n".join(f"- **{each.title}**: {each.help}" for each in NUMBERS.values()),
    )  # fmt: skip
    with st.container(key="grid_table", horizontal=True):
        st.table(
            matrix(grid, rows, cells, found, shown), border="horizontal", width="content",
            hide_index=True, alt=f"{NUMBERS[shown].title} by model, dataset and strategy",
        )  # fmt: skip
    st.caption(_legend(shown, rows, len(grid.seeds)))
    told = average_claims((row.model, row.data.dataset) for row in rows)
    if told:
        claims = "; ".join(told)
        st.caption(f":gray-badge[claim] The paper, over its sixteen pairs: {claims}.")


def _legend(shown: str, rows: Sequence[Row], seeds: int) -> str:
    if shown == "accuracy":
        spread = " After ±: the standard deviation over the seeds." if seeds > 1 else ""
        return f"In %, measured once on the test images, with the last weights.{spread}"
    if shown == "time":
        return "In seconds, measured: choosing the layers, training and validation."
    legend = "In MB. Upright: measured. *Italics after ≈*: predicted before the run."
    if any(row.claim for row in rows):
        legend += (
            " :gray-badge[claim] What the paper says, of settings of its own "
            f"({MEMORY_MODEL}); not measured here."
        )
    return legend


def matrix(
    grid: Grid,
    rows: Sequence[Row],
    cells: Sequence[RunOptions],
    found: Mapping[RunOptions, Run],
    shown: str,
) -> pd.DataFrame:
    """The table's texts, in Markdown."""
    unfinished = _unfinished(cells, found)
    table = []
    for row in rows:
        line = {"Model": row.model, "Dataset": str(named(row.data))}
        for name in grid.strategies:
            texts = [unfinished.get((row.model, row.data, name), "")]
            if name in row.cells:
                texts.insert(0, _text(row.cells[name], shown, len(grid.seeds)))
            line[STRATEGIES[name].title] = " ".join(texts).strip() or "–"
        if shown == MEMORY and {"adabet", "full"} <= set(grid.strategies):
            saving = "–" if math.isnan(row.saving) else f"{signed(-row.saving)} %"
            claim = f" :gray-badge[claim {row.claim.short}]" if row.claim else ""
            line[AGAINST_FULL] = saving + claim
        table.append(line)
    return pd.DataFrame(table)


def _unfinished(
    cells: Sequence[RunOptions], found: Mapping[RunOptions, Run]
) -> dict[tuple[str, DataChoice, str], str]:
    """What to say of a table's cell beside its numbers: the state of a run that is not done."""
    return {
        (cell.analysis.model, DataChoice.of_options(cell.analysis), cell.strategy): _STATES[state]
        for state in reversed(_STATES)  # of several seeds the state that stands first is told
        for cell in cells
        if cell in found and found[cell].state == state
    }


def _text(cell: Cell, shown: str, seeds: int) -> str:
    ran = len(cell.accuracies)
    done = f" :gray[{ran}{NBSP}of{NBSP}{seeds}]" if ran < seeds else ""
    if shown == "accuracy":
        spread = f"{NBSP}±{NBSP}{100 * cell.spread:.1f}" if ran > 1 else ""
        return f"{100 * cell.accuracy:.1f}{spread}{done}"
    if shown == MEMORY:
        if math.isnan(cell.peak):
            return "–"
        predicted = f"{NBSP}:gray[*≈{NBSP}{megabytes(cell.predicted)}*]"
        return megabytes(cell.peak) + ("" if math.isnan(cell.predicted) else predicted) + done
    return NUMBERS[shown].text(cell) + done
