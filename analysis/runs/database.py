"""One SQLite file that several processes share: opened, read, written, and its faults explained."""

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

_ROOM = 1 << 20  # bytes; with less left on the disk, a failed write is for want of space
_PRIMARY = 0xFF  # SQLite's extended codes hold the primary one in their last byte
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_INDEX = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)


class SetAside(StoreError):
    """The file was damaged and has been moved away; the next write begins a new one."""


class Database:
    """A SQLite file in WAL mode, where readers wait for nobody and writers for each other.

    Parameters
    ----------
    path : Path
        Made by the first write, never by a read.
    schema : sequence of str
        The statements that make the tables.
    version : int
        Of the schema. A file with a higher one is left alone.
    patience : float
        Seconds to wait for another writer.
    """

    def __init__(self, path: Path, schema: Sequence[str], version: int, patience: float) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._patience = patience
        self._lock = threading.Lock()  # of the writing connection
        # Kept open: SQLite tidies the log up, slowly, whenever the last connection closes.
        self._writer: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file the writer has open

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """One consistent view of the file, or None if there is no file.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        identity = self._identity()
        if identity is None:
            yield None
            return
        frozen = False
        try:
            try:
                connection = self._connect("mode=ro")
                self._begin_reading(connection)
            except sqlite3.Error as error:
                if _code(error) not in _NO_INDEX or not self._is_at_rest():
                    raise
                # A log's index cannot be made, as on a full or read-only disk, and with an
                # empty log there is no need for one.
                frozen = True
                connection = self._connect("mode=ro&immutable=1")
                self._begin_reading(connection)
            with closing(connection):
                yield connection if self._check_version(connection) else None
        except sqlite3.ProgrammingError:
            raise  # a slip of ours, and nothing that another try would mend
        except sqlite3.Error as error:
            raise self._explained(error, None if frozen else identity) from error

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction, alone among all processes; undone if the block raises.

        Raises
        ------
        StoreError
            If nothing could be written; what was there before is as it was.
        """
        if not self._lock.acquire(timeout=self._patience):
            raise self._locked()
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
            raise self._explained(error, identity) from error
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of the file. A later write opens it again."""
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
            self._turn_to_wal(connection)
            # A power cut may take the last moments of a run, never what was there before.
            connection.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self._file = self._identity()
            connection.close()
            raise
        self._writer, self._file = connection, self._identity()
        return connection

    def _turn_to_wal(self, connection: sqlite3.Connection) -> None:
        """SQLite does not wait here by itself when another process is doing the same."""
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
        """Whether the tables are there; a newer schema is an error."""
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > self._version:
            raise StoreError(
                f"{self.path} was written by a newer BettiScope (its form is {found}, this one "
                f"knows {self._version}). Update BettiScope, or set BETTISCOPE_HOME to another "
                "folder; the file was left as it is."
            )
        return found > 0

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise StoreError(f"{self.path} cannot be read: {error.strerror}") from error
        return found.st_dev, found.st_ino

    def _is_at_rest(self) -> bool:
        log = self._beside("-wal")
        try:
            return not log.exists() or log.stat().st_size == 0
        except OSError:
            return False

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _explained(self, error: sqlite3.Error, identity: tuple[int, int] | None) -> StoreError:
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._locked()
        if code in _DAMAGE:
            return self._set_aside(identity)
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and self._is_full()):
            return self._full()
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return self._full() if self._is_full() else self._unwritable(error)
        return StoreError(f"The run store {self.path} failed ({error}). Earlier runs are safe.")

    def _locked(self) -> StoreError:
        return StoreError(
            f"Another program keeps the run store {self.path} locked. Close it, or try again in "
            "a moment; nothing is lost."
        )

    def _full(self) -> StoreError:
        return StoreError(
            f"There is no space left on the disk of the run store {self.path}. Free some, and "
            "try again; earlier runs are safe."
        )

    def _unwritable(self, error: Exception) -> StoreError:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return self._full()
        why = error.strerror if isinstance(error, OSError) else str(error)
        return StoreError(
            f"The run store {self.path} cannot be opened or written to ({why}). Check the "
            "folder's permissions, or set BETTISCOPE_HOME to another one; earlier runs are safe."
        )

    def _is_full(self) -> bool:
        try:
            return shutil.disk_usage(self.path.parent).free < _ROOM
        except OSError:
            return False

    def _set_aside(self, identity: tuple[int, int] | None) -> StoreError:
        aside = self.path.with_name(f"{self.path.stem}.{time.time_ns()}.damaged")
        if identity is None or self._identity() != identity:  # another process was faster
            return SetAside("The run store was damaged, and has been set aside: see beside it.")
        try:
            # The log first: SQLite would play one that is left behind into the next file.
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    self._beside(suffix).replace(aside.with_name(aside.name + suffix))
        except OSError as failure:
            return StoreError(f"{self.path} is damaged and cannot be moved: {failure}")
        return SetAside(
            f"The run store was damaged. It was set aside as {aside}, with all that is in it, "
            "and new runs go into a new one."
        )


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
