"""The feature state of one entity as bytes: its kept events, by type, in columns sorted by `(event_time, event_id)`.

Columns are read without decoding the others: whole numbers are packed 64-bit little-endian integers, everything else is a msgpack list.
The bytes name their own types and fields, so a state that was written before a field was declared is read with that field absent.
"""

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from contracts.errors import DataRefused
from contracts.records import Event, FieldValue
from features.definitions import window_start

STATE_FORMAT = 1
_CHECKSUM = 4

Column: TypeAlias = Sequence[FieldValue] | memoryview


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """Kept events of one type, oldest first.

    Attributes:
        times: event times, packed. `ids`: a msgpack list of their event ids, which order equal times.
        numbers: packed columns without an absent value, truth values as 0 and 1.
        others: msgpack lists, of texts and of columns with absent values.
    """

    times: memoryview
    ids: memoryview
    numbers: dict[str, memoryview]
    others: dict[str, memoryview]

    def event_times(self) -> memoryview:
        """Event times as 64-bit integers, ascending."""
        return self.times.cast("q")

    def column(self, field: str) -> Column | None:
        """Values of a field, in order; none if no kept event has the field."""
        packed = self.numbers.get(field)
        if packed is not None:
            return packed.cast("q")
        other = self.others.get(field)
        return None if other is None else _decode_list(other)


class EntityState(msgspec.Struct, frozen=True, array_like=True):
    """All kept events of an entity; `seq` is the newest it was given."""

    format: int
    seq: int
    types: dict[str, Rows]


_EMPTY = EntityState(STATE_FORMAT, 0, {})
_DECODER = msgspec.msgpack.Decoder(EntityState)
_ENCODER = msgspec.msgpack.Encoder()
_decode_list = msgspec.msgpack.Decoder(list[int | str | bool | float | None]).decode


def decode(content: bytes | None) -> EntityState:
    """The state that `encode` wrote, as views of its bytes; an empty one for an unknown entity.

    Raises:
        DataRefused: the bytes are damaged or of another format.
    """
    if content is None:
        return _EMPTY
    body = memoryview(content)[_CHECKSUM:]
    if zlib.crc32(body).to_bytes(_CHECKSUM, "little") != content[:_CHECKSUM]:
        raise DataRefused("feature state", ["its bytes are damaged: the checksum differs"])
    try:
        state = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise DataRefused("feature state", [f"it is of another format: {error}"]) from error
    if state.format != STATE_FORMAT:
        raise DataRefused("feature state", [f"it has format {state.format}; expected {STATE_FORMAT}"])
    return state


def encode(state: EntityState) -> bytes:
    """The state as bytes, behind their CRC-32."""
    body = _ENCODER.encode(state)
    return zlib.crc32(body).to_bytes(_CHECKSUM, "little") + body


def insert(state: EntityState, event: Event, fields: Sequence[str], retention_us: int, settled_us: int) -> EntityState:
    """The state with one more event and the next `seq`, without those that no later moment can need.

    Kept are the events of the type that a window of `retention_us` covers at any moment ≥ `settled_us`, and the latest before, which is an
    attribute's value until the next.

    Args:
        state: before; it stays as it is.
        event: its `seq` is not looked at.
        fields: names of the type's declared fields.
        retention_us: of the type.
        settled_us: no moment before this will be asked for.
    """
    rows = state.types.get(event.type) or Rows(memoryview(b""), _pack([]), {}, {})
    times = array("q", rows.event_times())
    ids = _decode_list(rows.ids)
    at = bisect_left(times, event.event_time)
    while at < len(times) and times[at] == event.event_time and str(ids[at]) < event.event_id:
        at += 1
    count = len(times)
    times.insert(at, event.event_time)
    ids.insert(at, event.event_id)
    first = _first_kept(times, retention_us, settled_us)
    del times[:first], ids[:first]
    numbers: dict[str, memoryview] = {}
    others: dict[str, memoryview] = {}
    for field in dict.fromkeys((*rows.numbers, *rows.others, *fields)):
        value = event.fields.get(field) if field in fields else None
        packed = rows.numbers.get(field, None if count else memoryview(b""))
        if packed is not None and isinstance(value, int):
            column = array("q", packed.cast("q"))
            column.insert(at, value)
            numbers[field] = memoryview(column[first:].tobytes())
        else:
            values = list(rows.column(field) or [None] * count)
            values.insert(at, value)
            others[field] = _pack(values[first:])
    kept = Rows(memoryview(times.tobytes()), _pack(ids), numbers, others)
    return EntityState(STATE_FORMAT, state.seq + 1, {**state.types, event.type: kept})


def last_times(rows: Rows, field: str, at_us: int) -> Mapping[str, int]:
    """For each text of a field, the time of the latest event that has it, up to and with a moment."""
    times = rows.event_times()
    end = bisect_right(times, at_us)
    values = rows.column(field) or ()
    return {value: times[position] for position, value in enumerate(values[:end]) if isinstance(value, str)}


def _first_kept(times: Sequence[int], retention_us: int, settled_us: int) -> int:
    latest = max(bisect_right(times, settled_us) - 1, 0)
    return min(bisect_left(times, window_start(settled_us, retention_us)), latest)


def _pack(values: Sequence[FieldValue]) -> memoryview:
    return memoryview(_ENCODER.encode(values))
