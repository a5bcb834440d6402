"""The table of a grid: one row per model and dataset, one column per strategy.

Measured numbers are upright, predicted ones in grey italics, the paper's claims in a badge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import streamlit as st

from analysis.options import RunOptions
from analysis.runs.store import Run
from analysis.selection.strategies import ALL_STRATEGIES
from analysis.sweeps.grid import DataChoice, Grid
from analysis.sweeps.paper_claims import MEMORY_MODEL, average_claims
from analysis.sweeps.table import NUMBERS, Cell, Row
from analysis.text import megabytes, signed
from app.components.shared.subject_names import dataset_name
from app.literal import literal

MEMORY = "peak memory"
NBSP = "\N{NO-BREAK SPACE}"  # where a narrow screen must not break a line
AGAINST_FULL = "AdaBet against full"
_STATES = {
    "running": f":gray[running{NBSP}…]",
    "queued": ":gray[waiting]",
    "failed": ":red[failed]",
    "stopped": ":gray[stopped]",
    "interrupted": ":orange[interrupted]",
}


def with_shown_name(data: DataChoice) -> DataChoice:
    """The same choice with its dataset's name as the page shows it."""
    return replace(data, dataset=dataset_name(data.dataset))


def render_matrix(
    grid: Grid, rows: Sequence[Row], cells: Sequence[RunOptions], run_of: Mapping[RunOptions, Run]
) -> None:
    """Draw the table of the chosen number, and explain its signs."""
    shown = st.segmented_control(
        "The table shows", list(NUMBERS), default="accuracy", required=True, key="grid_number",
        bind="query-params",
        help="\n".join(f"- **{number.title}**: {number.help}" for number in NUMBERS.values()),
    )  # fmt: skip
    with st.container(key="grid_table", horizontal=True):
        st.table(
            matrix(grid, rows, cells, run_of, shown), border="horizontal", width="content",
            hide_index=True, alt=f"{NUMBERS[shown].title} by model, dataset and strategy",
        )  # fmt: skip
    st.caption(_legend(shown, rows, len(grid.seeds)))
    averages = average_claims((row.model, row.data.dataset) for row in rows)
    if averages:
        claims = "; ".join(averages)
        st.caption(f":gray-badge[claim] The paper reports {claims}.")


def _legend(shown: str, rows: Sequence[Row], seeds: int) -> str:
    if shown == "accuracy":
        spread = " ± is the standard deviation over the seeds." if seeds > 1 else ""
        return f"In %, measured on the test images after the last epoch.{spread}"
    if shown == "time":
        return "In seconds, measured: choosing the layers, training and validation."
    legend = "In MB. Upright: measured. *Italics after ≈*: predicted before the run."
    if any(row.claim for row in rows):
        legend += (
            " :gray-badge[claim] The paper's number, for its own settings "
            f"({MEMORY_MODEL}); not measured here."
        )
    return legend


def matrix(
    grid: Grid,
    rows: Sequence[Row],
    cells: Sequence[RunOptions],
    run_of: Mapping[RunOptions, Run],
    shown: str,
) -> pd.DataFrame:
    """The texts of the table, in Markdown."""
    state_texts = _state_texts(cells, run_of)
    table = []
    for row in rows:
        line = {
            "Model": literal(row.model),
            "Dataset": literal(with_shown_name(row.data)),
        }
        for name in grid.strategies:
            texts = [state_texts.get((row.model, row.data, name), "")]
            if name in row.cells:
                texts.insert(0, _text(row.cells[name], shown, len(grid.seeds)))
            line[ALL_STRATEGIES[name].title] = " ".join(texts).strip() or "–"
        if shown == MEMORY and {"adabet", "full"} <= set(grid.strategies):
            saving = "–" if math.isnan(row.saving) else f"{signed(-row.saving)} %"
            claim = f" :gray-badge[claim {row.claim.short}]" if row.claim else ""
            line[AGAINST_FULL] = saving + claim
        table.append(line)
    return pd.DataFrame(table)


def _state_texts(
    cells: Sequence[RunOptions], run_of: Mapping[RunOptions, Run]
) -> dict[tuple[str, DataChoice, str], str]:
    """The state of runs that are not done, by cell of the table."""
    return {
        (cell.analysis.model, DataChoice.of_options(cell.analysis), cell.strategy): _STATES[state]
        for state in reversed(_STATES)  # of several seeds the first state wins
        for cell in cells
        if cell in run_of and run_of[cell].state == state
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
