"""Attribute sources: rows of slowly changing tables come in as events, like everything else that is known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from math import isfinite
from typing import Any

import msgspec

from contracts.digests import digest_of
from contracts.errors import InvalidInput
from contracts.events import FieldType
from contracts.records import FieldValue
from flows.sources import PART, Address, Row, locate, rows
from serving.intake import Unfit
from serving.messages import EventMessage, is_id, time_us
from serving.service import DecisionService
from use_cases.definition import AttributeSource, UseCase

ENOUGH = 20
"""So many rows at once of which none fits mean that the source is wrong, not its rows."""

MOST_REMEMBERED = 10_000
"""Rows in quarantine that are remembered at most, so that they are not put there again."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a source's rows: new ones, those in quarantine, and those that are valid only later and are read again then."""

    accepted: int = 0
    quarantined: int = 0
    later: int = 0


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a source was read: from where to read on, which rows since then are in quarantine already, and which are valid only later."""

    since_us: int = 0
    refused: tuple[tuple[int, str], ...] = ()
    waiting: tuple[EventMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A row of a source: when it was recorded and from when it is valid (0 when it does not say), what it says, its id."""

    recorded_at: int
    valid_from: int
    message: EventMessage | Unfit
    event_id: str


def take_in(service: DecisionService, use_case: UseCase, source: AttributeSource) -> Taken:
    """Take in what a source recorded since the last time, and once more what may have come to light late.

    A row's event id is the digest of what it says, so that reading it again changes nothing. Corrections come in as known from now on,
    whatever time they are valid from: no earlier decision is said to have known them. A row that is valid only later waits until then.

    Raises:
        SettingsError: the settings do not say where the source is.
        InvalidInput: it lacks a column, a column is of a type that never fits, or no row fits.
        StoreUnavailable: it cannot be read now.
    """
    key, now_us = f"attributes/{use_case.name}/{source.name}", service.clock.now_us()
    with service.journal.read() as seen:
        mark = _mark(seen.get_meta(key), source)
    address = locate(source, service.settings.attribute_sources)
    waiting = {message.event_id: message for message in mark.waiting}
    refused = {event_id: recorded_at for recorded_at, event_id in mark.refused}
    accepted, quarantined, newest = 0, 0, mark.since_us + source.lag_us
    rows_in_order = chain(_due(mark, now_us), read(use_case, source, address, mark.since_us))
    while part := list(islice(rows_in_order, PART)):
        _check_some_fit(source, part)
        newest = max(newest, *(row.recorded_at for row in part))
        waiting |= {row.event_id: row.message for row in part if row.valid_from > now_us and isinstance(row.message, EventMessage)}
        fresh = [row for row in part if row.valid_from <= now_us and row.event_id not in refused]
        if not fresh:
            continue
        receipt = service.accept_events(use_case.name, [row.message for row in fresh])
        refused |= {fresh[one.index].event_id: fresh[one.index].recorded_at for one in receipt.quarantined}
        accepted, quarantined = accepted + receipt.accepted, quarantined + len(receipt.quarantined)
    # why: a row that was recorded in the future would otherwise hide all that come before it
    since_us = max(0, min(newest, now_us) - source.lag_us)
    later = tuple(message for message in waiting.values() if int(message.event_time) > now_us)
    kept = sorted((at_us, event_id) for event_id, at_us in refused.items() if at_us == 0 or at_us >= since_us)
    after = msgspec.json.encode(Mark(since_us, tuple(kept[-MOST_REMEMBERED:]), later))
    service.journal.write(lambda write: write.put_meta(key, after))
    return Taken(accepted, quarantined, len(later))


def read(use_case: UseCase, source: AttributeSource, address: Address, since_us: int) -> Iterator[Found]:
    """Rows recorded at `since_us` or later, in the order they were recorded, as events or with the reason why they are none.

    Raises:
        InvalidInput: the source lacks a column, or a column is of a type that never fits.
        StoreUnavailable: it cannot be read now.
    """
    fields = use_case.schema.types[source.name].fields
    for row in rows(source, fields, address, since_us):
        found = _found(use_case, source, fields, row)
        # why: SQLite cannot compare times that are texts, so rows that were read long ago come, too
        if found.recorded_at == 0 or found.recorded_at >= since_us:
            yield found


def _found(use_case: UseCase, source: AttributeSource, fields: Mapping[str, FieldType], row: Row) -> Found:
    recorded_at = 0
    try:
        recorded_at = _time(row["recorded_at"], "recorded_at")
        values = {name: _value(name, row[name], kind) for name, kind in fields.items()}
        valid_from = _time(row["valid_from"], "valid_from")
        if not isinstance(row["entity_id"], str | int) or not is_id(entity_id := str(row["entity_id"])):
            raise InvalidInput("entity_id", f"is {row['entity_id']!r}", "at most 128 plain characters")
    except InvalidInput as error:
        return _unfit(source, error, recorded_at, msgspec.json.encode({"source": source.name, "row": row}, enc_hook=str))
    event_id = "attribute-" + digest_of([source.name, entity_id, valid_from, recorded_at, values])[:32]
    message = EventMessage(event_id, entity_id, source.name, valid_from, values)
    try:
        use_case.schema.check(source.name, values)
    except InvalidInput as error:
        return _unfit(source, error, recorded_at, msgspec.json.encode(message))
    return Found(recorded_at, valid_from, message, event_id)


def _unfit(source: AttributeSource, error: InvalidInput, recorded_at: int, payload: bytes) -> Found:
    event_id = "attribute-" + digest_of(payload.decode())[:32]
    return Found(recorded_at, 0, Unfit(f"attribute source {source.name}: {error}", event_id, payload.decode()), event_id)


def _due(mark: Mark, now_us: int) -> list[Found]:
    """Rows that waited until they are valid."""
    due = [message for message in mark.waiting if int(message.event_time) <= now_us]
    return [Found(mark.since_us, int(message.event_time), message, message.event_id) for message in due]


def _time(value: Any, name: str) -> int:
    if value is None or isinstance(value, bool | float):
        raise InvalidInput(name, f"is {value!r}", "whole microseconds (UTC), or a moment with its zone")
    return time_us(value, name)


def _value(name: str, value: Any, kind: FieldType) -> FieldValue:
    """A field's value as it stands; SQLite has 0 and 1 for false and true. Whether it is of its type is for the intake to see."""
    if kind is FieldType.BOOL and value in (0, 1) and value is not None:
        return bool(value)
    if not isinstance(value, int | str | float | None) or (isinstance(value, float) and not isfinite(value)):
        raise InvalidInput(f"fields.{name}", f"is {value!r}", f"a value of type {kind}")
    return value


def _check_some_fit(source: AttributeSource, part: list[Found]) -> None:
    if len(part) >= ENOUGH and all(isinstance(row.message, Unfit) for row in part):
        reason = part[0].message.reason if isinstance(part[0].message, Unfit) else ""
        raise InvalidInput(
            f"attribute source {source.name}", f"gives no row that fits; the first: {reason}", "a query that gives what is declared"
        )


def _mark(content: bytes | None, source: AttributeSource) -> Mark:
    if content is None:
        return Mark()
    if content.isdigit():
        return Mark(max(0, int(content) - source.lag_us))
    return msgspec.json.decode(content, type=Mark)
