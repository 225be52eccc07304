"""What was not taken, with the reasons; and taking in what fits by now: a field was declared, a decision came after its outcome."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import msgspec
import polars as pl

from contracts.clock import DAY_US
from contracts.digests import digest_of
from contracts.errors import Conflict, DataRefused, InvalidInput
from contracts.events import EventSchema
from contracts.records import Quarantined
from contracts.tables import QUARANTINE
from decisions.record import make_event, record_event, record_outcome
from serving.intake import EVENT, OUTCOME, attribute_types, sent_outcome
from serving.messages import EventMessage, OutcomeMessage, read, time_us
from serving.service import DecisionService
from storage.journal import Journal
from storage.tables import Tables
from storage.transaction import Read, Write

Message: TypeAlias = EventMessage | OutcomeMessage

PART = 500
"""Records that are taken in at once."""


class Entry(msgspec.Struct, frozen=True):
    """Something that was not taken; the same thing sent twice at one moment stands once, with how often."""

    id: str
    kind: str
    reason: str
    payload: str
    ingested_time: int
    times: int = 1


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of entries that were tried again. `unfit`: those that do not fit still, and stay where they are."""

    accepted: int = 0
    duplicates: int = 0
    unfit: int = 0


class _Undone(Exception):
    """Undoes what a rehearsal wrote."""


def entries(journal: Journal, tables: Tables, schema: EventSchema, reason: str = "") -> list[Entry]:
    """What is in quarantine, newest first: of the table, and of the journal what is not in the table yet; not what was taken in since.

    Args:
        journal: of the installation.
        tables: its tables.
        schema: of the use case.
        reason: only those whose reason has this text in it, in whatever case.
    """
    found: dict[str, Entry] = {}
    # why: the snapshot first, so that what a drain moves meanwhile is in at least one of both
    with journal.read() as snapshot:
        position, stored = tables.manifest().position, tables.frame(schema, QUARANTINE)
        rows = [
            Quarantined(schema.use_case, **row) for row in stored.select("kind", "reason", "payload", "ingested_time").iter_rows(named=True)
        ]
        for one in [*rows, *_waiting(snapshot, schema.use_case, position)]:
            entry = _entry(one)
            before = found.get(entry.id)
            found[entry.id] = msgspec.structs.replace(entry, times=before.times + 1) if before else entry
        left = [entry for entry in found.values() if snapshot.get_meta(_mark(schema.use_case, entry.id)) is None]
    chosen = [entry for entry in left if reason.casefold() in entry.reason.casefold()]
    return sorted(chosen, key=lambda entry: (entry.ingested_time, entry.id), reverse=True)


def counts(found: Iterable[Entry]) -> pl.DataFrame:
    """How often each reason stands, values left out of it: `kind, reason, count, newest`, the most frequent first."""
    rows = [(entry.kind, general(entry.reason), entry.times, entry.ingested_time) for entry in found]
    frame = pl.DataFrame(rows, schema={"kind": pl.String, "reason": pl.String, "count": pl.Int64, "newest": pl.Int64}, orient="row")
    grouped = frame.group_by("kind", "reason").agg(pl.col("count").sum(), pl.col("newest").max())
    return grouped.sort("count", "kind", "reason", descending=[True, False, False])


def general(reason: str) -> str:
    """A reason without the value that broke it, so that it can be counted.

    Example:
        >>> general("`fields.amount` is 'a lot'; expected an integer of 64 bits")
        '`fields.amount`: expected an integer of 64 bits'
        >>> general("event `e-7` was accepted before with other content. Send new content under a new id.")
        'event was accepted before with other content. Send new content under a new id.'
    """
    if found := re.fullmatch(r"(?P<before>.*?`[^`]+`) .*; expected (?P<expected>.*)", reason, re.DOTALL):
        return f"{found['before']}: expected {re.sub(r'[0-9]{9,}', '…', found['expected'])}"
    return re.sub(r"^(\w+) `[^`]*` (was accepted before)", r"\1 \2", reason)


def replay(service: DecisionService, use_case: str, found: Sequence[Entry]) -> Replayed:
    """Take in what fits by now, in the order it came, through the intake that everything goes through: known from now on.

    An entry that was taken in is not listed again. Doing it again changes nothing: who is interrupted starts anew.

    Raises:
        NotFound: no such use case.
        StoreUnavailable: some could not be made durable; do it again.
    """
    done = Replayed()
    in_order = sorted(found, key=lambda entry: entry.ingested_time)
    for start in range(0, len(in_order), PART):
        part = in_order[start : start + PART]
        ready = [(entry, message) for entry in part if (message := _fitting(service, use_case, entry)) is not None]
        done = Replayed(done.accepted, done.duplicates, done.unfit + len(part) - len(ready))
        for kind in (EVENT, OUTCOME):
            done = _accept(service, use_case, [pair for pair in ready if pair[0].kind == kind], done)
    return done


def _accept(service: DecisionService, use_case: str, ready: Sequence[tuple[Entry, Message]], done: Replayed) -> Replayed:
    if not ready:
        return done
    events = [message for _, message in ready if isinstance(message, EventMessage)]
    outcomes = [message for _, message in ready if isinstance(message, OutcomeMessage)]
    receipt = service.accept_events(use_case, events) if events else service.accept_outcomes(use_case, outcomes)
    # why: what was refused after all stands in quarantine anew, with its new reason, so the old entry goes all the same
    marks = [_mark(use_case, entry.id) for entry, _ in ready]

    def mark_all(write: Write) -> None:
        for mark in marks:
            write.put_meta(mark, b"")

    service.journal.write(mark_all)
    return Replayed(done.accepted + receipt.accepted, done.duplicates + receipt.duplicates, done.unfit + len(receipt.quarantined))


def _fitting(service: DecisionService, use_case: str, entry: Entry) -> Message | None:
    """The message of an entry if it can be taken in by now."""
    try:
        message = _message(entry)
        service.journal.write(lambda write: _rehearse(service, use_case, message, write))
    except _Undone:
        return message
    except (InvalidInput, Conflict):
        return None
    except DataRefused:
        # why: a damaged state is no fault of the message, and the intake makes it anew
        return message


def _message(entry: Entry) -> Message:
    content = entry.payload.encode()
    return read(_EVENT, content) if entry.kind == EVENT else read(_OUTCOME, content)


def _rehearse(service: DecisionService, use_case: str, message: Message, write: Write) -> NoReturn:
    now_us, apply_event = service.clock.now_us(), service.apply_event(use_case)
    if isinstance(message, EventMessage):
        service.use_cases[use_case].schema.check(message.type, message.fields)
        at_us = time_us(message.event_time)
        horizon_us = service.settings.store.idempotency_days * DAY_US
        if at_us < now_us - horizon_us and message.type not in attribute_types(service.use_cases[use_case]):
            raise InvalidInput("event_time", f"is {at_us}", "a time within the horizon of ids")
        event = make_event(message.event_id, message.entity_id, message.type, at_us, dict(message.fields), ingested_time=now_us)
        record_event(write, use_case, event, apply_event)
    else:
        sent_at = None if message.event_time is None else time_us(message.event_time)
        record_outcome(write, use_case, sent_outcome(message, sent_at), apply_event, ingested_time=now_us)
    raise _Undone


def _waiting(snapshot: Read, use_case: str, position: int) -> list[Quarantined]:
    waiting = []
    for _, stream, record in snapshot.records(after=position, limit=2**62):
        if stream == QUARANTINE and (one := _QUARANTINED.decode(record)).use_case == use_case:
            waiting.append(one)
    return waiting


def _entry(one: Quarantined) -> Entry:
    return Entry(digest_of([one.kind, one.payload, one.ingested_time])[:16], one.kind, one.reason, one.payload, one.ingested_time)


def _mark(use_case: str, entry_id: str) -> str:
    return f"replayed/{use_case}/{entry_id}"


_QUARANTINED = msgspec.msgpack.Decoder(Quarantined)
_EVENT = msgspec.json.Decoder(EventMessage)
_OUTCOME = msgspec.json.Decoder(OutcomeMessage)
