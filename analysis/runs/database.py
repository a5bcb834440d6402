"""One SQLite file that several processes share, and what its errors mean."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from analysis.errors import StoreError

_MIN_FREE = 1 << 20  # bytes; a write that fails with less left on the disk needs more space
_PRIMARY = 0xFF  # SQLite's extended codes hold the primary one in their last byte
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_INDEX = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)


class DamagedStoreError(StoreError):
    """The file was damaged and has been moved away; the next write starts a new one."""


class Database:
    """A SQLite file in WAL mode: readers never wait, writers wait for each other.

    Parameters
    ----------
    path : Path
        Created by the first write, never by a read.
    schema : sequence of str
        The statements that create the tables.
    version : int
        Of the schema. A file with a higher version is not touched.
    patience : float
        Seconds to wait for another writer.
    """

    def __init__(self, path: Path, schema: Sequence[str], version: int, patience: float) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._patience = patience
        self._lock = threading.Lock()  # of the writing connection
        # Kept open: closing the last connection makes SQLite tidy up the log, which is slow.
        self._writer: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # the file that the writer has open

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """One consistent view of the file, or None if there is no file.

        Raises
        ------
        StoreError
            If the file cannot be read.
        """
        identity = self._identity()
        if identity is None:
            yield None
            return
        immutable = False
        try:
            try:
                connection = self._connect("mode=ro")
                self._begin_reading(connection)
            except sqlite3.Error as error:
                if _code(error) not in _NO_INDEX or not self._log_is_empty():
                    raise
                # The log's index cannot be created, as on a full or read-only disk. An empty
                # log needs none.
                immutable = True
                connection = self._connect("mode=ro&immutable=1")
                self._begin_reading(connection)
            with closing(connection):
                yield connection if self._check_version(connection) else None
        except sqlite3.ProgrammingError:
            raise  # a bug of ours, which no other try would mend
        except sqlite3.Error as error:
            raise self._store_error(error, None if immutable else identity) from error

    def check(self) -> None:
        """Read every page once, and set the file aside if one is damaged.

        Raises
        ------
        StoreError
            If the file is damaged, or cannot be read.
        """
        with self.read() as connection:
            answer = connection and connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if answer not in (None, "ok"):
                error = sqlite3.DatabaseError(answer)
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that excludes all other writers; undone if the block raises.

        Raises
        ------
        StoreError
            If nothing could be written; the file is unchanged.
        """
        if not self._lock.acquire(timeout=self._patience):
            raise self._locked_error()
        try:
            try:
                connection = self._open()
                connection.execute("BEGIN IMMEDIATE")
                if not self._check_version(connection):
                    for statement in self._schema:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {self._version}")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            identity = self._file
            self._close()
            raise self._store_error(error, identity) from error
        except OSError as error:
            raise self._write_error(error) from error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the file. A later write opens it again."""
        with self._lock:
            self._close()

    def _connect(self, how: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{how}",
            uri=True,
            timeout=self._patience,
            isolation_level=None,  # transactions are begun and ended here
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.text_factory = _text
        return connection

    def _begin_reading(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            connection.close()
            raise

    def _open(self) -> sqlite3.Connection:
        if self._writer is not None and self._file == self._identity() is not None:
            return self._writer
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect("mode=rwc")
        try:
            self._switch_to_wal(connection)
            # A power cut may lose the last moments of a run, never what was there before.
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self._file = self._identity()
            connection.close()
            raise
        self._writer, self._file = connection, self._identity()
        return connection

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Try until it works: SQLite itself does not wait for a process that does the same."""
        end = time.monotonic() + self._patience
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _close(self) -> None:
        if self._writer is not None:
            with suppress(sqlite3.Error):
                self._writer.close()
        self._writer = self._file = None

    def _roll_back(self) -> None:
        if self._writer is not None and self._writer.in_transaction:
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")

    def _check_version(self, connection: sqlite3.Connection) -> bool:
        """Whether the tables exist; a newer schema is an error."""
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > self._version:
            raise StoreError(
                f"A newer BettiScope wrote {self.path} (version {version} of the file; this one "
                f"reads up to {self._version}). Update BettiScope, or set BETTISCOPE_HOME to "
                "another folder; the file is unchanged."
            )
        return version > 0

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise StoreError(
                f"The run store {self.path} cannot be read ({error.strerror})."
            ) from error
        return status.st_dev, status.st_ino

    def _log_is_empty(self) -> bool:
        log = self._sibling("-wal")
        try:
            return not log.exists() or log.stat().st_size == 0
        except OSError:
            return False

    def _sibling(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _store_error(self, error: sqlite3.Error, identity: tuple[int, int] | None) -> StoreError:
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._locked_error()
        if code in _DAMAGE:
            return self._set_damage_aside(identity)
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._is_full()):
            return self._full_error()
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return self._full_error() if self._is_full() else self._write_error(error)
        return StoreError(f"The run store {self.path} failed ({error}). Earlier runs are safe.")

    def _locked_error(self) -> StoreError:
        return StoreError(
            f"Another program has locked the run store {self.path}. Close that program, or try "
            "again in a moment; nothing is lost."
        )

    def _full_error(self) -> StoreError:
        return StoreError(
            f"There is no space left on the disk of the run store {self.path}. Free some space "
            "and try again; earlier runs are safe."
        )

    def _write_error(self, error: Exception) -> StoreError:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return self._full_error()
        why = error.strerror if isinstance(error, OSError) else str(error)
        return StoreError(
            f"The run store {self.path} cannot be opened or written ({why}). Check the folder's "
            "permissions, or set BETTISCOPE_HOME to another folder; earlier runs are safe."
        )

    def _is_full(self) -> bool:
        try:
            return shutil.disk_usage(self.path.parent).free < _MIN_FREE
        except OSError:
            return False

    def _set_damage_aside(self, identity: tuple[int, int] | None) -> StoreError:
        aside = self.path.with_name(f"{self.path.stem}.{time.time_ns()}.damaged")
        if identity is None or self._identity() != identity:  # another process was faster
            return DamagedStoreError(
                "The run store was damaged. It was set aside as a file that ends in .damaged, in "
                f"{self.path.parent}."
            )
        try:
            # The log first: SQLite would play a log left behind into the next file.
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    self._sibling(suffix).replace(aside.with_name(aside.name + suffix))
        except OSError as failure:
            return StoreError(
                f"The run store {self.path} is damaged and cannot be moved ({failure})."
            )
        return DamagedStoreError(
            f"The run store was damaged. It was set aside as {aside} with everything in it; new "
            "runs go into a new store."
        )


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
