"""The tables of the run store, and the statements that several of its methods share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from analysis.runs.records import Bet, Recorded, columns, metric_row
from analysis.training.metrics import (
    EpochMetrics,
    FinetuneResult,
    MemorySample,
    Predictions,
    StepMetrics,
)

VERSION = 1  # of the schema; raise it when `SCHEMA` changes, and migrate older files
METRIC_TABLES: dict[type[Recorded], str] = {
    StepMetrics: "steps",
    EpochMetrics: "epochs",
    MemorySample: "memory",
}
LEASE = (
    "SELECT id, state, owner_pid, owner_created, worker_pid, worker_created, heartbeat, "
    "stop_requested FROM runs"
)

SCHEMA = (
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "group" TEXT NOT NULL,
        created REAL NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL,
        revision INTEGER NOT NULL DEFAULT 0, started REAL, ended REAL, heartbeat REAL,
        stop_requested REAL, deleted REAL, owner_pid INTEGER, owner_created REAL,
        worker_pid INTEGER, worker_created REAL, selection TEXT, result TEXT,
        error TEXT NOT NULL DEFAULT '', versions TEXT NOT NULL DEFAULT '{}',
        fingerprints TEXT NOT NULL DEFAULT '{}')""",
    "CREATE INDEX runs_by_state ON runs (state)",
    """CREATE TABLE steps (
        run TEXT, step INTEGER, epoch INTEGER, loss REAL, accuracy REAL, learning_rate REAL,
        images INTEGER, seconds REAL, tracked INTEGER, PRIMARY KEY (run, step)) WITHOUT ROWID""",
    """CREATE TABLE memory (
        run TEXT, step INTEGER, epoch INTEGER, parameters INTEGER, gradients INTEGER,
        optimizer INTEGER, activations INTEGER, other INTEGER, resident INTEGER,
        allocator_peak INTEGER, PRIMARY KEY (run, step)) WITHOUT ROWID""",
    """CREATE TABLE epochs (
        run TEXT, epoch INTEGER, train_loss REAL, train_accuracy REAL, val_loss REAL,
        val_accuracy REAL, seconds REAL, PRIMARY KEY (run, epoch)) WITHOUT ROWID""",
    "CREATE TABLE changes (counter INTEGER NOT NULL)",
    "INSERT INTO changes VALUES (0)",
)

# Not in `SCHEMA`: files of earlier versions get these when they are first needed, and the earlier
# versions still read them.
PREDICTIONS = (
    "CREATE TABLE IF NOT EXISTS predictions (run TEXT PRIMARY KEY, labels TEXT, predicted TEXT)"
)
BETS = (
    "CREATE TABLE IF NOT EXISTS bets (number INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT, "
    "strategy TEXT, rho REAL, UNIQUE (who, rho))"
)


def newer_rows(
    db: sqlite3.Connection, table: str, column: str, run_id: str, after: int
) -> list[sqlite3.Row]:
    """The rows after a step or epoch, in order."""
    query = f"SELECT * FROM {table} WHERE run = ? AND {column} > ? ORDER BY {column}"
    return db.execute(query, (run_id, after)).fetchall()


def insert_metric(db: sqlite3.Connection, run_id: str, metric: Recorded) -> None:
    """Write one metric of a run."""
    names = columns(type(metric))
    marks = ", ".join("?" * (1 + len(names)))
    # REPLACE, since a write that seemed to fail may have succeeded.
    db.execute(
        f"INSERT OR REPLACE INTO {METRIC_TABLES[type(metric)]} (run, {', '.join(names)}) "
        f"VALUES ({marks})",
        (run_id, *metric_row(metric)),
    )


def insert_predictions(db: sqlite3.Connection, run_id: str, result: FinetuneResult | None) -> None:
    """Write what a run took the test images for, if its result has that."""
    if result is None or result.predictions is None:
        return
    db.execute(PREDICTIONS)
    classes = result.predictions.labels, result.predictions.predicted
    texts = (json.dumps(numbers) for numbers in classes)
    db.execute("INSERT OR REPLACE INTO predictions VALUES (?, ?, ?)", (run_id, *texts))


def predictions_of(db: sqlite3.Connection, run_id: str) -> Predictions | None:
    """What a run took the test images for; None if it did not keep that."""
    if not _has_table(db, "predictions"):
        return None
    query = "SELECT labels, predicted FROM predictions WHERE run = ?"
    row = db.execute(query, (run_id,)).fetchone()
    return row and Predictions(*(tuple(map(int, json.loads(text))) for text in row))


def insert_bet(db: sqlite3.Connection, bet: Bet) -> bool:
    """Write a bet; false if that name has bet with that share of layers before."""
    db.execute(BETS)
    added = db.execute(
        "INSERT OR IGNORE INTO bets (who, strategy, rho) VALUES (?, ?, ?)",
        (bet.who, bet.strategy, bet.rho),
    )
    return added.rowcount > 0


def bets_of(db: sqlite3.Connection) -> list[Bet]:
    """All bets, the newest first."""
    if not _has_table(db, "bets"):
        return []
    rows = db.execute("SELECT who, strategy, rho FROM bets ORDER BY number DESC").fetchall()
    return [Bet(*row) for row in rows]


def _has_table(db: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE name = ?"
    return db.execute(query, (name,)).fetchone() is not None


def delete_run(db: sqlite3.Connection, run_id: str) -> None:
    """Remove all rows of a run."""
    db.execute(PREDICTIONS)
    for table in (*METRIC_TABLES.values(), "predictions"):
        db.execute(f"DELETE FROM {table} WHERE run = ?", (run_id,))
    db.execute("DELETE FROM runs WHERE id = ?", (run_id,))


def mark_changed(db: sqlite3.Connection, run_ids: Sequence[str]) -> None:
    """Count a change of these runs."""
    db.execute("UPDATE changes SET counter = counter + 1")
    for run_id in run_ids:
        db.execute(
            "UPDATE runs SET revision = (SELECT counter FROM changes) WHERE id = ?", (run_id,)
        )
