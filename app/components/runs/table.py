"""All runs as a table: filter, choose, save, run again, delete and restore."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial

import pandas as pd
import streamlit as st

from analysis.runs.store import UNDO_DAYS, Run, RunStore
from analysis.selection.export import file_stem
from analysis.text import plural
from app.cache import run_queue
from app.components.shared.run_actions import attempt, stop_runs
from app.components.shared.run_names import (
    ALSO,
    NORMALIZATION,
    PRESET,
    RHO,
    SHORTEST,
    STATES,
    SUMMARY,
    Setting,
    metrics_of,
    peak_use,
    strategy_title,
    training_seconds,
)
from app.components.shared.saving import (
    render_figures_popover,
    settings_of_run,
    settings_of_runs,
)
from app.components.shared.subject_names import dataset_name, shift_text, weights_name
from app.literal import literal
from app.state import session

NO_PART = "–"  # a setting that plays no part in a run


def _text(setting: Setting, run: Run) -> str:
    value = setting.value(run)
    return NO_PART if value is None else f"{value:g}" if isinstance(value, float) else str(value)


CHOSEN_BY = (RHO, PRESET, NORMALIZATION, SUMMARY, SHORTEST)  # None where it plays no part
_FILTERS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "run_model": ("Model", lambda run: run.options.analysis.model),
    "run_dataset": ("Dataset", lambda run: dataset_name(run.options.analysis.dataset)),
    "run_strategy": ("Strategy", lambda run: run.options.strategy),
    "run_state": ("State", lambda run: STATES[run.state]),
}
_KEYS = ("run_rho", "run_preset", "run_normalization", "run_summary", "run_shortest")
# Offered only where runs differ.
_MORE_FILTERS: dict[str, tuple[str, Callable[[Run], str]]] = {
    key: (setting.title, partial(_text, setting))
    for key, setting in zip(_KEYS, CHOSEN_BY, strict=True)
}
MB = 1e6
RECENT = 3600.0  # seconds for which a deletion offers Undo


def render_filters(runs: Sequence[Run]) -> list[Run]:
    """Draw the filters, and return the runs that pass them."""
    passing = list(runs)
    with st.container(horizontal=True, key="run_filters"):
        for key, (title, read) in (_FILTERS | _MORE_FILTERS).items():
            options = sorted({read(run) for run in runs})
            if key in _MORE_FILTERS and len(set(options) - {NO_PART}) < 2:
                continue
            values = st.session_state.get(key)
            if values and not set(values) <= set(options):
                st.session_state[key] = [value for value in values if value in options]
            chosen = st.multiselect(
                title, options, key=key, bind="query-params", placeholder="all", width=168,
                help=f"Show only runs with the chosen {title.lower()}. Choose none to show all.",
            )  # fmt: skip
            if chosen:
                passing = [run for run in passing if read(run) in chosen]
    return passing


def keep_compared(runs: Sequence[Run]) -> list[Run]:
    """Return which of these runs are compared, and drop all others from the comparison."""
    comparison = session().comparison
    chosen = [run for run in runs if run.id in comparison.run_ids]
    comparison.run_ids = [run.id for run in chosen]
    return chosen


def render_table(runs: Sequence[Run]) -> None:
    """Draw one row per run; ticked runs are compared."""
    comparison = session().comparison
    ids = [run.id for run in runs]
    # Streamlit selects rows by position, so other rows or another selection need a new table.
    key = f"runs_{hash((tuple(ids), comparison.table_version))}"

    def tick() -> None:
        comparison.run_ids = [ids[row] for row in st.session_state[key]["selection"]["rows"]]

    st.dataframe(
        run_frame(runs),
        key=key,
        hide_index=True,
        placeholder="–",
        on_select=tick,
        selection_mode="multi-row",
        selection_default={
            "selection": {"rows": [ids.index(run_id) for run_id in comparison.run_ids]}
        },
        height=min(420, 38 + 35 * max(1, len(runs))),
        column_config={
            "#": st.column_config.NumberColumn(width=50, help="Runs are numbered as they start."),
            "Test accuracy (%)": st.column_config.NumberColumn(
                format="%.1f", help="Measured once, with the last weights."
            ),
            "Validation (%)": st.column_config.NumberColumn(
                format="%.1f", help="Validation accuracy after the last epoch."
            ),
            "Best (%)": st.column_config.NumberColumn(
                format="%.1f", help="The best validation accuracy of any epoch."
            ),
            "Peak memory (MB)": st.column_config.NumberColumn(
                format="%.1f", help="Measured: the most that tensors took in the sampled steps."
            ),
            "Predicted (MB)": st.column_config.NumberColumn(
                format="%.1f", help="Peak memory as predicted before the run."
            ),
            "Kept (MB)": st.column_config.NumberColumn(
                format="%.1f",
                help="Results of frozen layers that are kept in memory. Not in the peak, as they "
                "can be switched off.",
            ),
            "Time (s)": st.column_config.NumberColumn(
                format="%.1f", help="Training and validation."
            ),
            "Choice (s)": st.column_config.NumberColumn(
                format="%.2f", help="Time to choose the layers."
            ),
            "Choice (MB)": st.column_config.NumberColumn(
                format="%.1f", help="Tensor memory at the peak of choosing the layers."
            ),
            "Process (MB)": st.column_config.NumberColumn(
                format="%.0f", help="Peak of the whole process (RSS), libraries included."
            ),
            "ρ": st.column_config.NumberColumn(format="%.2f", help="Share of layers to train."),
            "Trained": st.column_config.NumberColumn(
                format="percent", help="Share of the parameters that trained."
            ),
        },
        alt="All runs",
    )


def run_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run; accuracies in percent, memory in MB, times in seconds."""
    rows = []
    for run in runs:
        options, result = run.options, run.result
        metrics, peak = metrics_of(run), peak_use(run)
        predicted = run.selection.predicted if run.selection else None
        validation = [epoch.val_accuracy for epoch in metrics.epochs]
        selection = run.selection
        rows.append(
            {
                "#": run.number,
                "Strategy": strategy_title(run),
                "Seed": options.recipe.seed,
                "State": STATES[run.state],
                "Test accuracy (%)": 100 * result.test_accuracy if result else math.nan,
                "Validation (%)": 100 * validation[-1] if validation else math.nan,
                "Best (%)": 100 * max(validation, default=math.nan),
                "Peak memory (MB)": peak.total / MB if peak else math.nan,
                "Predicted (MB)": predicted.total / MB if predicted else math.nan,
                "Kept (MB)": predicted.cache / MB if predicted else math.nan,
                "Time (s)": training_seconds(run),
                "Model": options.analysis.model,
                "Weights": weights_name(options.analysis.weights),
                "Dataset": dataset_name(options.analysis.dataset),
                "Shift": shift_text(options.analysis) or None,
                "Image side": options.analysis.input_side or None,
                "Precision": options.analysis.precision,
                **{setting.title: setting.value(run) for setting in (*CHOSEN_BY, ALSO)},
                "Epochs": options.recipe.epochs,
                "Images": options.train_samples,
                "Batch": options.recipe.batch_size,
                "Learning rate": metrics.steps[0].learning_rate if metrics.steps else math.nan,
                "Trained": selection.trainable_parameters / selection.total_parameters
                if selection
                else math.nan,
                "Choice (s)": selection.seconds if selection else math.nan,
                "Choice (MB)": selection.peak_bytes / MB if selection else math.nan,
                "Process (MB)": max((m.resident for m in metrics.memory), default=math.nan) / MB,
                "Started": datetime.fromtimestamp(run.created).strftime("%Y-%m-%d %H:%M"),
                "Id": run.id,
            }
        )
    return pd.DataFrame(rows)


def render_actions(runs: Sequence[Run], chosen: Sequence[Run]) -> None:
    """Draw the buttons that save, repeat, stop and delete runs."""
    store = run_queue().store  # bound here, as downloads are written outside of any session
    subject, which = (chosen, f"{len(chosen)} chosen") if chosen else (runs, f"all {len(runs)}")
    with st.container(horizontal=True, key="run_actions"):
        table, (common, _) = run_frame(subject), settings_of_runs(subject)
        for label, file, ending, mime, write, what in (
            (
                "CSV", "runs", "csv", "text/csv", lambda: runs_csv(table, subject),
                "one row per run",
            ),
            (
                "Epochs", "epochs", "csv", "text/csv", lambda: epochs_csv(store, subject),
                "one row per epoch, as CSV",
            ),
            (
                "JSON", "runs", "json", "application/json", lambda: runs_json(store, subject),
                "settings, layers and every metric",
            ),
        ):  # fmt: skip
            st.download_button(
                label, data=write, file_name=f"{file_stem(file, common)}.{ending}", mime=mime,
                icon=":material/download:", key=f"save_runs_{label}", on_click="ignore",
                disabled=not subject, help=f"Save {which}: {what}.",
            )  # fmt: skip
        render_figures_popover()
        st.button(
            "Run again", key="again", icon=":material/replay:", disabled=not chosen,
            help="Queue the chosen runs again with the same settings and seeds.",
            on_click=attempt, args=(run_queue().start, [run.options for run in chosen]),
        )  # fmt: skip
        active = [run for run in chosen if run.active]
        if active:
            st.button(
                "Stop", key="stop_chosen", icon=":material/stop_circle:",
                help="Stop the chosen runs that are waiting or running. Their results so far are "
                "kept.",
                on_click=attempt, args=(stop_runs, active),
            )  # fmt: skip
        st.button(
            "Delete", key="delete", icon=":material/delete:", disabled=not chosen,
            help=f"Remove the chosen runs. You can restore them for {UNDO_DAYS} days.",
            on_click=attempt, args=(store.delete, [run.id for run in chosen]),
        )  # fmt: skip


def render_stop_all(runs: Sequence[Run]) -> None:
    """Draw a button that stops everything, if anything waits or runs."""
    active = [run for run in runs if run.active]
    if active:
        st.button(
            f"Stop all ({len(active)})", key="stop_all", icon=":material/stop_circle:",
            help="Stop the run that trains, and remove all that wait. Results so far are kept.",
            on_click=attempt, args=(stop_runs, active),
        )  # fmt: skip


def render_undo() -> None:
    """Offer to restore deleted runs, or to delete them for good."""
    store = run_queue().store
    # A grid that continues replaces runs that were stopped before they began.
    deleted = [
        run for run in store.runs(deleted=True) if not (run.is_grid_cell and run.started is None)
    ]
    if not deleted:
        return
    last = max(run.deleted or 0.0 for run in deleted)
    latest = [run.id for run in deleted if run.deleted == last]  # deleted together
    if time.time() - last < RECENT:
        text, button = st.columns([5, 1], vertical_alignment="center")
        text.info(f"{plural(len(latest), 'run')} deleted.")
        button.button(
            "Undo", key="undo", icon=":material/undo:", width="stretch",
            on_click=attempt, args=(store.restore, latest),
        )  # fmt: skip
    with st.expander(f"{plural(len(deleted), 'deleted run')}, kept for {UNDO_DAYS} days"):
        st.write(", ".join(literal(f"#{run.number} {strategy_title(run)}") for run in deleted))
        ids = [run.id for run in deleted]
        with st.container(horizontal=True, key="deleted_runs"):
            st.button(
                "Restore", key="restore", icon=":material/undo:",
                on_click=attempt, args=(store.restore, ids),
            )  # fmt: skip
            with st.popover("Delete for good", icon=":material/delete_forever:"):
                st.write("The runs, their numbers and their weights are then lost.")
                st.button(
                    f"Delete {plural(len(ids), 'run')} for good", key="delete_for_good",
                    on_click=attempt, args=(store.remove, ids),
                )  # fmt: skip


def runs_csv(table: pd.DataFrame, runs: Sequence[Run]) -> str:
    """The table of these runs, with a column for each setting."""
    settings = pd.DataFrame([settings_of_run(run) for run in runs], dtype=object)
    return table.join(settings).to_csv(index=False)


def runs_json(store: RunStore, runs: Sequence[Run]) -> str:
    """Everything stored about runs, metrics included."""
    records = [
        asdict(run)
        | {"metrics": asdict(store.metrics(run.id)), "version": settings_of_run(run)["version"]}
        for run in runs
    ]
    return json.dumps(records, indent=1, ensure_ascii=False)


def epochs_csv(store: RunStore, runs: Sequence[Run]) -> str:
    """One row per run and epoch."""
    rows = [
        {"run": run.number, "strategy": run.options.strategy, "seed": run.options.recipe.seed}
        | asdict(epoch)
        | {name: v for name, v in settings_of_run(run).items() if name not in ("strategy", "seed")}
        for run in runs
        for epoch in store.metrics(run.id).epochs
    ]
    return pd.DataFrame(rows).to_csv(index=False)
