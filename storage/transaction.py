"""What is done within one transaction of the journal: reading a snapshot, and writing."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final

import lmdb

from contracts.errors import InvalidInput, StoreUnavailable
from contracts.events import INT64_MAX

FOR_GOOD: Final = INT64_MAX
"""The time of an id that is never forgotten."""

_KEY_LIMIT: Final = 500
_IN_ONE: Final = 4_080
"""Longest state, in bytes, that is kept in one piece: it fits into a page of its own, which is one page to write instead of two."""

_STREAM_END: Final = b"\0"
_TIME: Final = 8


class Read:
    """A snapshot of the journal, until its `with` block ends."""

    __slots__ = ("_tables", "_transaction")

    def __init__(self, transaction: lmdb.Transaction, tables: dict[str, Any]) -> None:
        # why: its types leave open whether it gives bytes or views; it gives bytes
        self._transaction: Any = transaction
        self._tables = tables

    def __enter__(self) -> "Read":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._transaction.abort()
        if isinstance(error, lmdb.Error):
            raise StoreUnavailable("the journal", f"{type(error).__name__}: {error}") from error

    def get_id(self, kind: str, use_case: str, identifier: str) -> bytes | None:
        """What is kept under an id that was accepted, or None."""
        found: bytes | None = self._transaction.get(_key(kind, use_case, identifier), db=self._tables["ids"])
        return None if found is None else found[_TIME:]

    def get_state(self, use_case: str, entity_id: str) -> bytes | None:
        """The online state of an entity, or None."""
        key = state_key(use_case, entity_id)
        head: bytes | None = self._transaction.get(key, db=self._tables["heads"])
        if head is not None and len(head) != _head_length(head):
            return head
        tail: bytes | None = self._transaction.get(key, db=self._tables["tails"])
        if head is None:
            # why: one half alone is no state of an unknown entity but a damaged one, as its reader will find
            return None if tail is None else b""
        return head + (tail or b"")

    def get_states(self, use_case: str, entity_ids: Sequence[str]) -> list[bytes | None]:
        """The online states of entities, each or None, all as of one moment."""
        return [self.get_state(use_case, entity_id) for entity_id in entity_ids]

    def get_heads(self, use_case: str, entity_ids: Sequence[str]) -> list[bytes | None]:
        """As `get_states`, in a fraction of the time: of a long state its head alone, which is what most reads want."""
        get, table = self._transaction.get, self._tables["heads"]
        return [get(state_key(use_case, entity_id), db=table) for entity_id in entity_ids]

    def states(self, use_case: str, after: str = "", limit: int = 1_000) -> list[tuple[str, bytes]]:
        """Entities and their states in the order of their ids: at most `limit`, behind the id `after`."""
        prefix = f"{use_case}\0".encode()
        start = _key(use_case, after) if after else prefix
        cursor = self._transaction.cursor(db=self._tables["heads"])
        found = cursor.set_range(start)
        if found and after and bytes(cursor.key()) == start:
            found = cursor.next()
        states: list[tuple[str, bytes]] = []
        while found and len(states) < limit and bytes(cursor.key()).startswith(prefix):
            key, state = bytes(cursor.key()), bytes(cursor.value())
            if len(state) == _head_length(state):
                state += self._transaction.get(key, b"", db=self._tables["tails"])
            states.append((key[len(prefix) :].decode(), state))
            found = cursor.next()
        return states

    def ids(self, after: bytes = b"", limit: int = 10_000) -> list[tuple[bytes, int]]:
        """Keys of ids (kind, use case and id, apart by NUL) with their times, in order: at most `limit`, behind the key `after`."""
        cursor = self._transaction.cursor(db=self._tables["ids"])
        found = cursor.set_range(after) if after else cursor.first()
        if found and after and bytes(cursor.key()) == after:
            found = cursor.next()
        entries: list[tuple[bytes, int]] = []
        while found and len(entries) < limit:
            entries.append((bytes(cursor.key()), int.from_bytes(bytes(cursor.value())[:_TIME], "big", signed=True)))
            found = cursor.next()
        return entries

    def get_meta(self, name: str) -> bytes | None:
        """A value kept about the journal itself, or None."""
        found: bytes | None = self._transaction.get(name.encode(), db=self._tables["meta"])
        return found

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


class Write(Read):
    """One work's view of the transaction in which it commits; it reads its own writes and those of the group before it."""

    __slots__ = ("_appended", "changes")

    def __init__(self, transaction: lmdb.Transaction, tables: dict[str, Any]) -> None:
        super().__init__(transaction, tables)
        self._appended = -1
        self.changes = 0

    def put_id(self, kind: str, use_case: str, identifier: str, value: bytes, at_us: int = FOR_GOOD) -> None:
        """Keep a value under an id; `at_us` is the time by which it may be forgotten one day."""
        self._put("ids", _key(kind, use_case, identifier), at_us.to_bytes(_TIME, "big", signed=True) + value)

    def forget_ids(self, entries: Sequence[tuple[bytes, int]]) -> int:
        """Delete ids, as `ids` gave them, that still have the time they had; how many there were."""
        table = self._tables["ids"]
        gone = 0
        for key, at_us in entries:
            found = self._transaction.get(key, db=table)
            if found is not None and found[:_TIME] == at_us.to_bytes(_TIME, "big", signed=True):
                gone += self._transaction.delete(key, db=table)
                self.changes += 1
        return gone

    def put_state(self, use_case: str, entity_id: str, value: bytes) -> None:
        """Replace the online state of an entity: a long one as its head, which most reads want alone, and the rest."""
        key = state_key(use_case, entity_id)
        length = _head_length(value)
        if len(value) <= _IN_ONE or not length:
            self._put("heads", key, value)
            self._transaction.delete(key, db=self._tables["tails"])
        else:
            self._put("heads", key, value[:length])
            self._put("tails", key, value[length:])

    def put_meta(self, name: str, value: bytes) -> None:
        """Keep a value about the journal itself."""
        self._put("meta", name.encode(), value)

    def append(self, stream: str, record: bytes) -> int:
        """Append a record to a stream; its position in the whole journal."""
        position = self.last_position() + 1
        self.changes += 1
        self._transaction.put(_position(position), stream.encode() + _STREAM_END + record, append=True, db=self._tables["log"])
        self._appended = position
        return position

    def last_position(self) -> int:
        """Position of the newest record ever appended, in this work too; 0 before the first."""
        return self._appended if self._appended >= 0 else super().last_position()

    def continue_behind(self, position: int) -> None:
        """Let positions go on behind one that was given out before, when the journal was lost."""
        if position > self.last_position():
            self.changes += 1
            self._appended = position

    def finish(self) -> None:
        """Keep the newest position; called once when the work is done."""
        if self._appended >= 0:
            self.put_meta("position", _position(self._appended))

    def forget(self, upto: int, limit: int) -> int:
        """Delete at most `limit` records up to a position, oldest first; how many there were."""
        cursor = self._transaction.cursor(db=self._tables["log"])
        gone = 0
        while gone < limit and cursor.first() and int.from_bytes(cursor.key(), "big") <= upto:
            self.changes += 1
            cursor.delete()
            gone += 1
        return gone

    def _put(self, table: str, key: bytes, value: bytes) -> None:
        self.changes += 1
        self._transaction.put(key, value, db=self._tables[table])


def _key(*parts: str) -> bytes:
    key = "\0".join(parts).encode()
    if len(key) > _KEY_LIMIT:
        raise InvalidInput("id", f"is {len(parts[-1])} characters long", "at most 128 plain characters")
    return key


def state_key(use_case: str, entity_id: str) -> bytes:
    """The key of the online state of an entity."""
    key = f"{use_case}\0{entity_id}".encode()
    if len(key) > _KEY_LIMIT:
        raise InvalidInput("entity_id", f"is {len(entity_id)} characters long", "at most 128 plain characters")
    return key


def _head_length(state: bytes) -> int:
    """How long the head of a state is, which stands in its bytes 8 to 12; see `features.state`."""
    return int.from_bytes(state[8:12], "little")


def _position(number: int) -> bytes:
    return number.to_bytes(8, "big")
