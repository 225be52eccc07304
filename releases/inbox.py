"""The inbox: everything that asks for a flow to run. Each row ends as a run, or as a stated reason why not."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from contracts.clock import to_datetime
from contracts.errors import InvalidInput, NotFound, SignatureRefused, StepRefused
from releases.database import Database
from releases.signature import TOLERANCE_S, SignedHook

Status: TypeAlias = Literal["waiting", "claimed", "run", "skipped", "failed"]

MAX_ATTEMPTS = 5
_MAX_KEY = 200
_MAX_PAYLOAD_BYTES = 65_536


class InboxRow(msgspec.Struct, frozen=True):
    """One trigger.

    Attributes:
        name: the flow that is asked for. `source`: what asks: `webhook`, `schedule`, `drift`, a person.
        dedupe_key: of the same name and key there is one row; `repeats` counts how often it came again.
        payload: what came with it.
        at: logical time when it first came; `ended_at` when it ended.
        status: `waiting` and `claimed` are open; `run` ended as the run `run_id`; `skipped` and `failed` say why in `reason`.
        attempts: how often it was claimed. `lease_until`: real seconds since 1970 until when the claim holds.
    """

    id: int
    name: str
    source: str
    dedupe_key: str
    payload: dict[str, Any]
    at: int
    status: Status
    reason: str
    run_id: str | None
    repeats: int
    attempts: int
    claimed_by: str | None
    lease_until: float | None
    ended_at: int | None


class Inbox:
    """The inbox of an installation, in the same SQLite file as the ledger. Several processes may use it.

    Raises:
        StateRefused: the file is of another format.
        StoreUnavailable: the file is locked for too long, or the disk is full.

    Args:
        path: of the file.
        later: see `releases.ledger.Ledger`.
    """

    def __init__(self, path: Path, *, later: bool = False) -> None:
        self._database = Database(path, later=later)

    def trigger(self, name: str, source: str, dedupe_key: str, payload: Mapping[str, Any], at: int, cooldown_us: int = 0) -> InboxRow:
        """Ask for a flow to run. Durable when it returns.

        Of the same name and key the first row is returned. Within `cooldown_us` of the last row of that name which was not skipped, the new
        row is skipped, with that reason.

        Raises:
            InvalidInput: name or key is empty or long, or the payload is larger than 64 KiB or not JSON-like.
        """
        text = _payload(name, dedupe_key, payload)
        with self._database.write() as connection:
            return _trigger(connection, name, source, dedupe_key, text, at, cooldown_us)

    def trigger_hook(
        self, hook: SignedHook, name: str, payload: Mapping[str, Any], at: int, now_s: float, cooldown_us: int = 0
    ) -> InboxRow:
        """Ask for a flow to run on behalf of a webhook whose signature holds. Its id is remembered in the same transaction.

        Args:
            hook: what `releases.signature.verify` returned.
            name: of the flow.
            payload: of the hook.
            at: logical time.
            now_s: real seconds since 1970.
            cooldown_us: as for `trigger`.

        Raises:
            SignatureRefused: the id was seen before: the hook is replayed.
            InvalidInput: as for `trigger`.
        """
        text = _payload(name, hook.hook_id, payload)
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM seen_hooks WHERE hook_id = ?", (hook.hook_id,)).fetchone():
                raise SignatureRefused(f"whose id `{hook.hook_id}` was seen before")
            # why: an older id cannot come again with a time that `verify` lets through
            connection.execute("DELETE FROM seen_hooks WHERE seen_s < ?", (now_s - 3 * TOLERANCE_S,))
            connection.execute("INSERT INTO seen_hooks VALUES (?, ?)", (hook.hook_id, max(now_s, float(hook.timestamp_s))))
            return _trigger(connection, name, "webhook", hook.hook_id, text, at, cooldown_us)

    def claim(self, claimant: str, now_s: float, lease_s: float, at: int) -> InboxRow | None:
        """Take the oldest open row that nobody holds, for `lease_s` real seconds; None when there is none.

        A claim whose lease has run out is given to the next who asks; after five claims that came to nothing the row fails.

        Args:
            claimant: names the process that asks; no two may share a name.
            now_s: real seconds since 1970.
            lease_s: how long the claim holds.
            at: logical time, noted on rows that fail here.
        """
        takeable = "(status = 'waiting' OR status = 'claimed' AND lease_until <= ?)"
        with self._database.write() as connection:
            connection.execute(
                f"UPDATE inbox SET status = 'failed', reason = ?, ended_at = ? WHERE {takeable} AND attempts >= ?",
                (f"claimed {MAX_ATTEMPTS} times, and each claim ran out before the run was started", at, now_s, MAX_ATTEMPTS),
            )
            row = connection.execute(
                "UPDATE inbox SET status = 'claimed', claimed_by = ?, lease_until = ?, attempts = attempts + 1 "
                f"WHERE id = (SELECT min(id) FROM inbox WHERE {takeable}) RETURNING *",
                (claimant, now_s + lease_s, now_s),
            ).fetchone()
        return _row(row) if row else None

    def finish(self, row_id: int, claimant: str, run_id: str, at: int) -> InboxRow:
        """End a claimed row as a run. Saying the same twice is no error.

        Raises:
            StepRefused: the claim is not `claimant`'s (any more), or the row ended otherwise.
            NotFound: there is no such row.
        """
        return self._end(row_id, claimant, "run", "", run_id, at)

    def fail(self, row_id: int, claimant: str, reason: str, at: int) -> InboxRow:
        """End a claimed row without a run, with the reason.

        Raises:
            StepRefused: the claim is not `claimant`'s (any more), or the row ended otherwise.
            NotFound: there is no such row.
        """
        return self._end(row_id, claimant, "failed", reason, None, at)

    def give_back(self, row_id: int, claimant: str) -> InboxRow:
        """Return a claim unused, because the orchestrator cannot be reached now; it does not count as an attempt.

        Raises:
            StepRefused: the claim is not `claimant`'s (any more).
            NotFound: there is no such row.
        """
        with self._database.write() as connection:
            row = _get(connection, row_id)
            if row.status != "claimed" or row.claimed_by != claimant:
                raise StepRefused(f"inbox {row_id}", "be given back", f"it is {row.status}, held by {row.claimed_by}")
            connection.execute(
                "UPDATE inbox SET status = 'waiting', claimed_by = NULL, lease_until = NULL, attempts = attempts - 1 WHERE id = ?",
                (row_id,),
            )
            return _get(connection, row_id)

    def unfinished(self) -> list[InboxRow]:
        """The open rows, oldest first."""
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute("SELECT * FROM inbox WHERE status IN ('waiting', 'claimed') ORDER BY id")]

    def rows(self, limit: int = 100, name: str | None = None) -> list[InboxRow]:
        """The newest rows, newest first."""
        query = "SELECT * FROM inbox WHERE ?1 IS NULL OR name = ?1 ORDER BY id DESC LIMIT ?2"
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(query, (name, limit))]

    def counts(self) -> dict[Status, int]:
        """How many rows there are of each status, none left out."""
        with self._database.read() as connection:
            found = dict(connection.execute("SELECT status, count(*) FROM inbox GROUP BY status"))
        return {status: found.get(status, 0) for status in get_args(Status)}

    def row(self, row_id: int) -> InboxRow:
        """One row.

        Raises:
            NotFound: there is no such row.
        """
        with self._database.read() as connection:
            return _get(connection, row_id)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _end(self, row_id: int, claimant: str, status: Status, reason: str, run_id: str | None, at: int) -> InboxRow:
        with self._database.write() as connection:
            row = _get(connection, row_id)
            if row.claimed_by != claimant or row.status not in ("claimed", status) or (row.status == status and row.run_id != run_id):
                raise StepRefused(f"inbox {row_id}", f"end as {status}", f"it is {row.status}, held by {row.claimed_by}")
            if row.status == "claimed":
                connection.execute(
                    "UPDATE inbox SET status = ?, reason = ?, run_id = ?, ended_at = ?, lease_until = NULL WHERE id = ?",
                    (status, reason, run_id, at, row_id),
                )
            return _get(connection, row_id)


def _payload(name: str, key: str, payload: Mapping[str, Any]) -> str:
    for field, value in (("name", name), ("dedupe_key", key)):
        if not 0 < len(value) <= _MAX_KEY or not value.isprintable():
            raise InvalidInput(field, f"is {value[:20]!r}", f"1 to {_MAX_KEY} printable characters")
    try:
        text = msgspec.json.encode(payload)
    except (TypeError, ValueError) as error:
        raise InvalidInput("payload", f"cannot be kept ({error})", "a JSON object") from error
    if len(text) > _MAX_PAYLOAD_BYTES:
        raise InvalidInput("payload", f"has {len(text)} bytes", f"at most {_MAX_PAYLOAD_BYTES}")
    return text.decode()


def _trigger(connection: sqlite3.Connection, name: str, source: str, key: str, payload: str, at: int, cooldown_us: int) -> InboxRow:
    again = connection.execute(
        "UPDATE inbox SET repeats = repeats + 1 WHERE name = ? AND dedupe_key = ? RETURNING *", (name, key)
    ).fetchone()
    if again:
        return _row(again)
    query = "SELECT id, at FROM inbox WHERE name = ? AND status <> 'skipped' AND at > ? ORDER BY id DESC LIMIT 1"
    recent = connection.execute(query, (name, at - cooldown_us)).fetchone() if cooldown_us else None
    reason = f"cool-down until {to_datetime(recent[1] + cooldown_us).isoformat()} after inbox row {recent[0]}" if recent else ""
    return _row(
        connection.execute(
            "INSERT INTO inbox (name, source, dedupe_key, payload, at, status, reason, repeats, attempts, ended_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?) RETURNING *",
            (name, source, key, payload, at, "skipped" if recent else "waiting", reason, at if recent else None),
        ).fetchone()
    )


def _get(connection: sqlite3.Connection, row_id: int) -> InboxRow:
    row = connection.execute("SELECT * FROM inbox WHERE id = ?", (row_id,)).fetchone()
    if row is None:
        raise NotFound("inbox row", str(row_id))
    return _row(row)


def _row(row: tuple[Any, ...]) -> InboxRow:
    number, name, source, key, payload, *rest = row
    return InboxRow(number, name, source, key, msgspec.json.decode(payload), *rest)
