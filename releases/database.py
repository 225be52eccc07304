"""The SQLite file of the ledger, stages, traffic plans and inbox: several threads and processes, synced at each commit."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contracts.errors import InvalidInput, StateRefused, StoreUnavailable

FORMAT = 1
BUSY_S = 10.0
LATER_S = 1.0
"""How long an opening that may be done later waits, where SQLite lets it choose: for the index of its log it waits ten seconds."""

AGAIN_S = 5.0
"""How long such an opening is not tried again, once it has failed: who starts meanwhile asks several times, and waits once."""

SCHEMA = """
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, use_case TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    release_id TEXT, reason TEXT NOT NULL, details TEXT NOT NULL, plan TEXT
) STRICT;
CREATE INDEX ledger_by_use_case ON ledger (use_case, id);
CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_no_replace BEFORE INSERT ON ledger WHEN EXISTS (SELECT 1 FROM ledger WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE stages (
    release_id TEXT PRIMARY KEY, use_case TEXT NOT NULL, stage TEXT NOT NULL, digest TEXT NOT NULL,
    registered_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, ledger_id INTEGER NOT NULL REFERENCES ledger (id)
) STRICT;
CREATE TABLE plans (
    use_case TEXT PRIMARY KEY, version INTEGER NOT NULL, plan TEXT NOT NULL, ledger_id INTEGER NOT NULL REFERENCES ledger (id)
) STRICT;
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, source TEXT NOT NULL, dedupe_key TEXT NOT NULL, payload TEXT NOT NULL,
    at INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, run_id TEXT, repeats INTEGER NOT NULL, attempts INTEGER NOT NULL,
    claimed_by TEXT, lease_until REAL, ended_at INTEGER, UNIQUE (name, dedupe_key)
) STRICT;
CREATE INDEX inbox_open ON inbox (id) WHERE status IN ('waiting', 'claimed');
CREATE TABLE seen_hooks (hook_id TEXT PRIMARY KEY, seen_s REAL NOT NULL) STRICT;
"""


class Database:
    """One connection to the file, made with its tables when it is not there yet.

    Raises:
        StateRefused: the file is no database, or of another format.
        StoreUnavailable: the file stayed locked, or the disk is full or gone.

    Args:
        path: of the file.
        later: where it is unavailable now, open it at its first use that finds it available.
    """

    def __init__(self, path: Path, *, later: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._opened = False
        self._again_s, self._failure = 0.0, ""
        """The moment of the monotonic clock before which opening is not tried again, and what failed last."""
        # why: who can do without it must not wait for it again at each use
        self._patience_s = min(BUSY_S, LATER_S) if later else BUSY_S
        try:
            self._connect()
        except StoreUnavailable:
            if not later:
                raise

    def _connect_again(self) -> None:
        if time.monotonic() < self._again_s:
            raise StoreUnavailable(self.path.name, self._failure)
        self._connect()

    def _connect(self) -> None:
        path = self.path
        try:
            self._connection = sqlite3.connect(path, timeout=self._patience_s, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(str(path), str(error)) from error
        try:
            self._open()
        except sqlite3.OperationalError as error:
            self._connection.close()
            self._again_s, self._failure = time.monotonic() + AGAIN_S, str(error)
            raise StoreUnavailable(str(path), str(error)) from error
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise StateRefused(str(path.parent), f"{path.name} is damaged ({error})", "Put back a copy of it.") from error
        except StateRefused:
            self._connection.close()
            raise
        self._connection.execute(f"PRAGMA busy_timeout = {round(1_000 * BUSY_S)}")
        self._opened = True

    def _open(self) -> None:
        self._keep_a_log()
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                for statement in _statements(SCHEMA):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {FORMAT}")
            elif found != FORMAT:
                what = f"{self.path.name} has format {found}, this Offerloop knows {FORMAT}"
                raise StateRefused(str(self.path.parent), what, "Use the Offerloop that wrote it.")
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.rollback()
            raise

    def _keep_a_log(self) -> None:
        until = time.monotonic() + self._patience_s
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # why: of several that open a new file at once, one changes it, and SQLite lets the others wait for that no moment
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other writer can come between; durable when the block has ended, undone when it raised."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One snapshot."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if not self._opened:
                self._connect_again()
            try:
                self._connection.execute(begin)
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._connection.rollback()
                    raise
            except UnicodeEncodeError as error:
                raise InvalidInput("text", f"is {error.object[:40]!r}", "Unicode, without halves of a character") from error
            except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
                raise StoreUnavailable(self.path.name, str(error)) from error

    def close(self) -> None:
        """Close the connection; the object is of no use afterwards."""
        with self._lock:
            if self._opened:
                self._connection.close()


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
