"""The run store: every fine-tune with its metrics, in one SQLite file.

Workers write to it, pages read it, and any number of servers may share it.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from analysis.errors import StoreError
from analysis.options import RunOptions
from analysis.runs.database import Database
from analysis.runs.records import (
    ENDED,
    Bet,
    Ending,
    Lease,
    Outcome,
    Recorded,
    Run,
    RunMetrics,
    lease_from,
    memory_from,
    metrics_from,
    result_json,
    run_from,
    to_json,
)
from analysis.runs.tables import (
    BETS,
    LEASE,
    SCHEMA,
    VERSION,
    bets_of,
    delete_run,
    insert_bet,
    insert_metric,
    insert_predictions,
    mark_changed,
    newer_rows,
    predictions_of,
)
from analysis.system.home import home
from analysis.system.processes import ProcessId
from analysis.training.metrics import EpochMetrics, Predictions, Selection, StepMetrics

__all__ = ["ENDED", "Bet", "Ending", "Lease", "Run", "RunMetrics", "RunStore"]

UNDO_DAYS = 7  # for which a deleted run can be restored
_PATIENCE = 2.0  # seconds to wait for another writer
_ABANDONED = 3600.0  # seconds after which a half-written file is abandoned


class RunStore:
    """Runs on disk. Safe to share between threads, and the file between processes.

    Every method raises `StoreError`, with a sentence for the user, when the file is locked for
    longer than `patience`, damaged (it is then set aside) or of a newer version, or when the disk
    is full or read-only. A file that does not exist holds no runs; only writing creates it.

    Parameters
    ----------
    path : Path, optional
        Of the file; `runs.sqlite` beside the saved analyses by default.
    patience : float
        Seconds to wait for another writer.
    """

    def __init__(self, path: Path | None = None, *, patience: float = _PATIENCE) -> None:
        self.path = home() / "runs.sqlite" if path is None else path
        self._database = Database(self.path, SCHEMA, VERSION, patience)

    def weights_path(self, run_id: str) -> Path:
        """Where the trained weights of a run are, if they were saved."""
        return self._file(run_id, "safetensors")

    def topology_path(self, run_id: str) -> Path:
        """Where the loops of a run's layers by epoch are, if they were followed."""
        return self._file(run_id, "topology.npz")

    def _file(self, run_id: str, ending: str) -> Path:
        if not run_id.isalnum():  # it may come from a link
            raise StoreError(f"There is no run {run_id!r}.")
        return self.path.parent / "runs" / f"{run_id}.{ending}"

    def check(self) -> None:
        """Read the whole file once, so that damage is found before anything is built on it."""
        self._database.check()

    # Read by pages.

    def revision(self) -> int:
        """A number that changes with every change to any run."""
        with self._database.read() as db:
            return 0 if db is None else int(db.execute("SELECT counter FROM changes").fetchone()[0])

    def runs(self, *, deleted: bool = False) -> list[Run]:
        """All runs, the newest first; or all deleted runs that can still be restored."""
        return [run for row in self._rows(deleted) if (run := run_from(row)) is not None]

    def unreadable(self) -> list[str]:
        """The ids of runs that this version of BettiScope cannot read."""
        return [row["id"] for row in self._rows(False) if run_from(row) is None]

    def run(self, run_id: str) -> Run | None:
        """One run, deleted or not; None if it does not exist or cannot be read."""
        with self._database.read() as db:
            row = db and db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        return run_from(row) if row else None

    def metrics(self, run_id: str, *, known: RunMetrics | None = None) -> RunMetrics:
        """The metrics of a run.

        Parameters
        ----------
        run_id : str
        known : RunMetrics, optional
            The result of an earlier call: only newer metrics are read, and appended to it.
        """
        known = known or RunMetrics()
        with self._database.read() as db:
            if db is None:
                return known
            steps = newer_rows(
                db, "steps", "step", run_id, known.steps[-1].step if known.steps else 0
            )
            last = known.epochs[-1].epoch if known.epochs else 0
            epochs = newer_rows(db, "epochs", "epoch", run_id, last)
            last = known.memory[-1].step if known.memory else 0
            memory = newer_rows(db, "memory", "step", run_id, last)
        return RunMetrics(
            steps=known.steps + metrics_from(StepMetrics, steps),
            epochs=known.epochs + metrics_from(EpochMetrics, epochs),
            memory=known.memory + memory_from(memory),
        )

    def predictions(self, run_id: str) -> Predictions | None:
        """What a run took the test images for; None if it did not finish, or is older."""
        with self._database.read() as db:
            return None if db is None else predictions_of(db, run_id)

    def epochs_done(self, run_id: str) -> int:
        """How many epochs of a run are in the store."""
        with self._database.read() as db:
            query = "SELECT count(*) FROM epochs WHERE run = ?"
            return 0 if db is None else int(db.execute(query, (run_id,)).fetchone()[0])

    def bets(self) -> list[Bet]:
        """All bets, the newest first."""
        with self._database.read() as db:
            return [] if db is None else bets_of(db)

    # For the user.

    def add_bet(self, bet: Bet) -> bool:
        """Keep a bet; false if that name has bet with that share of layers before."""
        with self._database.write() as db:
            return insert_bet(db, bet)

    def forget_bets(self) -> None:
        """Remove all bets for good."""
        with self._database.write() as db:
            db.execute(BETS)
            db.execute("DELETE FROM bets")

    def add(self, options: Sequence[RunOptions], *, group: str = "") -> list[str]:
        """Queue runs as one group, a new one unless it is named; return their ids in order."""
        group, now = group or _new_id(), time.time()
        ids = [_new_id() for _ in options]
        with self._database.write() as db:
            for run_id, run in zip(ids, options, strict=True):
                db.execute(
                    'INSERT INTO runs (id, "group", created, options, state) '
                    "VALUES (?, ?, ?, ?, 'queued')",
                    (run_id, group, now, to_json(run)),
                )
            mark_changed(db, ids)
        return ids

    def keep(self, options: RunOptions, outcome: Outcome, *, group: str) -> str:
        """Add a whole run that was trained elsewhere; return its id.

        No queue ever sees it waiting or running, so none can start it or interrupt it.
        """
        run_id, ending, metrics = _new_id(), outcome.ending, outcome.metrics
        measured: list[Recorded] = [*metrics.steps, *metrics.epochs, *metrics.memory]
        values: dict[str, object] = {
            "id": run_id,
            '"group"': group,
            "created": outcome.started,
            "started": outcome.started,
            "ended": ending.at or time.time(),
            "options": to_json(options),
            "state": ending.state,
            "error": ending.error,
            "selection": to_json(outcome.selection),
            "result": result_json(ending.result),
            "versions": json.dumps(dict(outcome.versions)),
            "fingerprints": json.dumps(dict(outcome.fingerprints)),
        }
        marks = ", ".join("?" * len(values))
        with self._database.write() as db:
            db.execute(
                f"INSERT INTO runs ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
            )
            for item in measured:
                insert_metric(db, run_id, item)
            insert_predictions(db, run_id, ending.result)
            mark_changed(db, [run_id])
        return run_id

    def request_stop(self, run_id: str) -> None:
        """Stop a queued run, and ask the worker of a running one to stop."""
        now = time.time()
        with self._database.write() as db:
            db.execute(
                "UPDATE runs SET stop_requested = coalesce(stop_requested, ?), "
                "ended = CASE state WHEN 'queued' THEN ? END, "
                "state = CASE state WHEN 'queued' THEN 'stopped' ELSE state END "
                "WHERE id = ? AND state IN ('queued', 'running')",
                (now, now, run_id),
            )
            mark_changed(db, [run_id])

    def delete(self, run_ids: Sequence[str]) -> None:
        """Hide runs; a queued one is stopped. They can be restored until they are purged.

        Raises
        ------
        StoreError
            If one of them is running; then none is deleted.
        """
        now = time.time()
        with self._database.write() as db:
            for run_id in run_ids:
                row = db.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
                if row is not None and row["state"] == "running":
                    raise StoreError("A running run cannot be deleted. Stop it first.")
                db.execute(
                    "UPDATE runs SET deleted = ?, ended = coalesce(ended, ?), "
                    "state = CASE state WHEN 'queued' THEN 'stopped' ELSE state END WHERE id = ?",
                    (now, now, run_id),
                )
            mark_changed(db, run_ids)

    def restore(self, run_ids: Sequence[str]) -> None:
        """Undo `delete`."""
        with self._database.write() as db:
            for run_id in run_ids:
                db.execute("UPDATE runs SET deleted = NULL WHERE id = ?", (run_id,))
            mark_changed(db, run_ids)

    def purge(self, *, older_than: float = UNDO_DAYS * 86400.0) -> int:
        """Remove runs deleted `older_than` seconds ago, with their files; return how many."""
        self._remove_parts()
        return self._remove("deleted <= ?", [time.time() - older_than])

    def remove(self, run_ids: Sequence[str]) -> int:
        """Remove deleted runs for good, with their files; return how many."""
        return sum(self._remove("deleted NOT NULL AND id = ?", [run_id]) for run_id in run_ids)

    def _remove(self, which: str, values: Sequence[object]) -> int:
        with self._database.read() as db:
            query = f"SELECT id FROM runs WHERE {which}"
            ids = [] if db is None else [row["id"] for row in db.execute(query, values)]
        if not ids:
            return 0
        for run_id in ids:  # files first: on a full disk this frees space for the rest
            for path in (self.weights_path(run_id), self.topology_path(run_id)):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        with self._database.write() as db:
            for run_id in ids:
                delete_run(db, run_id)
            mark_changed(db, [])
        return len(ids)

    # For the queue and its workers.

    def has_queued(self) -> bool:
        """Whether a run is queued."""
        with self._database.read() as db:
            query = "SELECT 1 FROM runs WHERE state = 'queued' LIMIT 1"
            return db is not None and db.execute(query).fetchone() is not None

    def leases(self) -> list[Lease]:
        """The leases of all running runs."""
        with self._database.read() as db:
            rows = [] if db is None else db.execute(f"{LEASE} WHERE state = 'running'").fetchall()
        return [lease_from(row) for row in rows]

    def lease_of(self, run_id: str) -> Lease | None:
        """The lease of a run, even if it has ended; None if there is no such run."""
        with self._database.read() as db:
            row = db and db.execute(f"{LEASE} WHERE id = ?", (run_id,)).fetchone()
        return lease_from(row) if row else None

    def claim_next(self, owner: ProcessId, worker: ProcessId, *, limit: int) -> str | None:
        """Give the oldest queued run to a worker; None if `limit` are running or none is queued."""
        now = time.time()
        with self._database.write() as db:
            query = "SELECT count(*) FROM runs WHERE state = 'running'"
            if db.execute(query).fetchone()[0] >= limit:
                return None
            row = db.execute(
                "SELECT id FROM runs WHERE state = 'queued' ORDER BY number"
            ).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE runs SET state = 'running', started = ?, heartbeat = ?, owner_pid = ?, "
                "owner_created = ?, worker_pid = ?, worker_created = ? WHERE id = ?",
                (now, now, owner.pid, owner.created, worker.pid, worker.created, row["id"]),
            )
            mark_changed(db, [row["id"]])
            return str(row["id"])

    def record(
        self,
        run_id: str,
        worker: ProcessId | None,
        news: Iterable[Recorded | Selection] = (),
        *,
        ending: Ending | None = None,
        versions: Mapping[str, str] | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> bool:
        """Write a worker's news and a heartbeat, all or nothing.

        Returns
        -------
        bool
            False, with nothing written, if the run is no longer that worker's.
        """
        news, now = list(news), time.time()
        values: dict[str, object] = {"heartbeat": now}
        with self._database.write() as db:
            row = db.execute(f"{LEASE} WHERE id = ?", (run_id,)).fetchone()
            if row is None or row["state"] != "running" or lease_from(row).worker != worker:
                return False
            for item in news:
                if isinstance(item, Selection):
                    values["selection"] = to_json(item)
                else:
                    insert_metric(db, run_id, item)
            for name, texts in (("versions", versions), ("fingerprints", fingerprints)):
                if texts is not None:
                    values[name] = json.dumps(dict(texts))
            if ending is not None:
                values |= {"state": ending.state, "error": ending.error, "ended": ending.at or now}
                values["result"] = result_json(ending.result)
                insert_predictions(db, run_id, ending.result)
            settings = ", ".join(f"{name} = ?" for name in values)
            db.execute(f"UPDATE runs SET {settings} WHERE id = ?", (*values.values(), run_id))
            if len(values) > 1 or news:  # a heartbeat alone changes no page
                mark_changed(db, [run_id])
        return True

    def note(self, run_id: str, worker: ProcessId, words: str) -> bool:
        """Record that a worker has finished all work for a done run, with a note for the user.

        Returns
        -------
        bool
            False, with nothing written, unless that worker has done the run.
        """
        with self._database.write() as db:
            row = db.execute(f"{LEASE} WHERE id = ?", (run_id,)).fetchone()
            if row is None or row["state"] != "done" or lease_from(row).worker != worker:
                return False
            db.execute("UPDATE runs SET error = ? WHERE id = ?", (words, run_id))
            mark_changed(db, [run_id])  # without a note too: pages can now offer the weights
        return True

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._database.close()

    def _remove_parts(self) -> None:
        """Remove half-written files of workers that were killed."""
        for part in (self.path.parent / "runs").glob("*.part"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > _ABANDONED:
                    part.unlink()

    def _rows(self, deleted: bool) -> list[sqlite3.Row]:
        which = "NOT NULL" if deleted else "NULL"
        with self._database.read() as db:
            query = f"SELECT * FROM runs WHERE deleted IS {which} ORDER BY number DESC"
            return [] if db is None else db.execute(query).fetchall()


def _new_id() -> str:
    return uuid.uuid4().hex[:12]
