"""The journal: one LMDB environment a machine, shared by its processes, where an answer becomes durable.

A record, the index of its id and its effect on the entity's state commit in one transaction. Each process has one writer
thread that takes all work waiting and commits it as a group: one sync to disk for many callers.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import lmdb

from contracts.errors import InvalidInput, StateRefused, StoreUnavailable

T = TypeVar("T")

FORMAT: Final = b"1"
GROUP: Final = 256
"""Most works in one commit: bounds what a failing commit takes with it."""

_KEY_LIMIT: Final = 500
_STREAM_END: Final = b"\0"


class Read:
    """A snapshot of the journal."""

    def __init__(self, transaction: lmdb.Transaction, tables: dict[str, Any]) -> None:
        self._transaction = transaction
        self._tables = tables

    def get_id(self, kind: str, use_case: str, identifier: str) -> bytes | None:
        """What is kept under an id that was accepted, or None."""
        return self._get("ids", _key(kind, use_case, identifier))

    def get_state(self, use_case: str, entity_id: str) -> bytes | None:
        """The online state of an entity, or None."""
        return self._get("state", _key(use_case, entity_id))

    def get_meta(self, name: str) -> bytes | None:
        """A value kept about the journal itself, or None."""
        return self._get("meta", name.encode())

    def records(self, after: int = 0, limit: int = 100_000) -> Iterator[tuple[int, str, bytes]]:
        """Records in the order they became visible: position, stream, bytes; from the first position behind `after`."""
        cursor = self._transaction.cursor(db=self._tables["log"])
        found = cursor.set_range(_position(after + 1))
        while found and limit > 0:
            stream, _, record = bytes(cursor.value()).partition(_STREAM_END)
            yield int.from_bytes(cursor.key(), "big"), stream.decode(), record
            found, limit = cursor.next(), limit - 1

    def last_position(self) -> int:
        """Position of the newest record ever appended; 0 before the first."""
        return int.from_bytes(self.get_meta("position") or b"", "big")

    def _get(self, table: str, key: bytes) -> bytes | None:
        found = self._transaction.get(key, db=self._tables[table])
        return None if found is None else bytes(found)


class Write(Read):
    """One work's view of the transaction in which it commits; it reads its own writes and those of the group before it."""

    def put_id(self, kind: str, use_case: str, identifier: str, value: bytes) -> None:
        """Keep a value under an id."""
        self._put("ids", _key(kind, use_case, identifier), value)

    def put_state(self, use_case: str, entity_id: str, value: bytes) -> None:
        """Replace the online state of an entity."""
        self._put("state", _key(use_case, entity_id), value)

    def put_meta(self, name: str, value: bytes) -> None:
        """Keep a value about the journal itself."""
        self._put("meta", name.encode(), value)

    def append(self, stream: str, record: bytes) -> int:
        """Append a record to a stream; its position in the whole journal."""
        position = self.last_position() + 1
        self._put("log", _position(position), stream.encode() + _STREAM_END + record)
        self.put_meta("position", position.to_bytes(8, "big"))
        return position

    def forget(self, upto: int, limit: int) -> int:
        """Delete at most `limit` records up to a position, oldest first; how many there were."""
        cursor = self._transaction.cursor(db=self._tables["log"])
        gone = 0
        while gone < limit and cursor.first() and int.from_bytes(cursor.key(), "big") <= upto:
            cursor.delete()
            gone += 1
        return gone

    def _put(self, table: str, key: bytes, value: bytes) -> None:
        self._transaction.put(key, value, db=self._tables[table])


class Journal:
    """The journal of an installation, opened by this process. Open it once a process; close it to end its writer thread.

    Raises:
        StateRefused: the folder holds a journal of another format.
        StoreUnavailable: it cannot be opened at all.
    """

    def __init__(self, path: Path, map_size: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._environment = lmdb.open(str(path), map_size=map_size, max_dbs=4, max_readers=512)
            self._tables = {name: self._environment.open_db(name.encode()) for name in ("log", "ids", "state", "meta")}
        except lmdb.Error as error:
            raise StoreUnavailable(f"the journal {path}", str(error)) from error
        self._path = path
        self._waiting: queue.SimpleQueue[tuple[Callable[[Write], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._commit_groups, name="journal-writer", daemon=True)
        self._thread.start()
        try:
            self.write(self._check_format)
        except BaseException:
            self.close()
            raise

    def submit(self, work: Callable[[Write], T]) -> "Future[T]":
        """Queue work for the next group. The future resolves once the group is on disk.

        What `work` raises undoes its own writes alone and is raised by its future.
        """
        future: Future[T] = Future()
        if self._closed:
            future.set_exception(StoreUnavailable("the journal", "it is closed"))
        else:
            self._waiting.put((work, future))
        return future

    def write(self, work: Callable[[Write], T]) -> T:
        """Do work and wait until it is on disk."""
        return self.submit(work).result()

    @contextmanager
    def read(self) -> Iterator[Read]:
        """A snapshot to read from, as of now."""
        try:
            transaction = self._environment.begin()
        except lmdb.Error as error:
            raise StoreUnavailable("the journal", str(error)) from error
        try:
            yield Read(transaction, self._tables)
        finally:
            transaction.abort()

    def trim(self, upto: int) -> int:
        """Forget records up to a position, which must be durable elsewhere; how many there were. Ids and state stay."""
        gone = 0
        while step := self.write(lambda write: write.forget(upto, 5_000)):
            gone += step
        return gone

    def close(self) -> None:
        """Commit what waits, end the writer thread and close the environment."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            self._thread.join()
            self._environment.close()

    def _check_format(self, write: Write) -> None:
        found = write.get_meta("format")
        if found is None:
            write.put_meta("format", FORMAT)
        elif found != FORMAT:
            raise StateRefused(str(self._path), f"journal has format {found!r}, this code reads {FORMAT!r}", "Use the code that made it.")

    def _commit_groups(self) -> None:
        last = False
        while not last:
            group = [self._waiting.get()]
            while len(group) < GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            last = None in group
            works = [entry for entry in group if entry is not None and entry[1].set_running_or_notify_cancel()]
            if works:
                self._commit(works)

    def _commit(self, works: list[tuple[Callable[[Write], Any], "Future[Any]"]]) -> None:
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with self._environment.begin(write=True) as transaction:
                for work, future in works:
                    outcomes.append((future, *self._run(transaction, work)))
        except (lmdb.Error, OSError) as error:
            for _, future in works:
                future.set_exception(StoreUnavailable("the journal", f"{type(error).__name__}: {error}"))
            return
        for future, value, failure in outcomes:
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)

    def _run(self, parent: lmdb.Transaction, work: Callable[[Write], T]) -> tuple[T | None, BaseException | None]:
        child = self._environment.begin(parent=parent, write=True)
        try:
            value = work(Write(child, self._tables))
        except (lmdb.MapFullError, lmdb.DiskError, lmdb.TxnFullError):
            child.abort()
            raise
        except Exception as error:  # noqa: BLE001 - why: it is the caller's, and is raised to him by his future
            child.abort()
            return None, error
        child.commit()
        return value, None


def _key(*parts: str) -> bytes:
    key = "\0".join(parts).encode()
    if len(key) > _KEY_LIMIT:
        raise InvalidInput("id", f"is {len(parts[-1])} characters long", "at most 128 plain characters")
    return key


def _position(number: int) -> bytes:
    return number.to_bytes(8, "big")
