"""The feature state of one entity as bytes: a head, the rows of the feature sets that are kept ready, and the events they follow from.

    head      checksum of head and rows, format, number of rows, their length, `seq`, newest ingestion
    rows      see `features.ready`
    events    checksum, then the kept events by type, in columns sorted by `(event_time, event_id)`

Each part has a checksum of its own, so that a ready row is read without touching the events: a store may keep head and rows apart from
them, by the length that stands in bytes 8 to 12. Whole numbers are packed 64-bit little-endian integers, texts are one-byte codes beside
the words they stand for, everything else is a msgpack list. The bytes name their own types and fields, so a state that was written before
a field was declared is read with that field absent.
"""

import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from contracts.errors import DataRefused
from contracts.events import FieldType
from contracts.records import Event, FieldValue
from features.definitions import window_start

STATE_FORMAT = 2

HEAD: Final = struct.Struct("<IHHIIqq")
"""Checksum, format, number of rows, length of head and rows, nothing, `seq`, newest ingestion in microseconds."""

NEVER: Final = -(2**62)
"""The newest ingestion of an entity without events."""

_CHECKSUM: Final = 4
_WORDS: Final = 255
_SLACK: Final = 4

Column: TypeAlias = Sequence[FieldValue] | memoryview


class Texts(msgspec.Struct, frozen=True, array_like=True):
    """A column of texts: `codes` are one byte each, 0 for absent, else one more than the place in `words`."""

    words: list[str]
    codes: memoryview


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """Kept events of one type, oldest first.

    Attributes:
        times: event times, packed. `ids`: their event ids as msgpack texts one behind the other, which order equal times.
        numbers: packed columns without an absent value, truth values as 0 and 1.
        texts: columns of texts with at most 255 different ones.
        others: msgpack lists, of any other column.
    """

    times: memoryview
    ids: memoryview
    numbers: dict[str, memoryview]
    texts: dict[str, Texts]
    others: dict[str, memoryview]

    def event_times(self) -> memoryview:
        """Event times as 64-bit integers, ascending."""
        return self.times.cast("q")

    def event_ids(self) -> list[str]:
        """Event ids, in order."""
        return _decode_ids(_list_head(len(self.times) // 8) + self.ids)

    def column(self, field: str) -> Column | None:
        """Values of a field, in order; none if no kept event has the field."""
        packed = self.numbers.get(field)
        if packed is not None:
            return packed.cast("q")
        texts = self.texts.get(field)
        if texts is not None:
            words = [None, *texts.words]
            return [words[code] for code in texts.codes]
        other = self.others.get(field)
        return None if other is None else _decode_list(other)


class EntityState(msgspec.Struct, frozen=True):
    """All kept events of an entity.

    Attributes:
        seq: the newest it was given.
        ingested_us: the newest ingestion it has seen, `NEVER` before the first.
        types: kept events by type.
        rows: encoded rows of feature sets, one behind the other in as many parts as there are; see `features.ready`.
    """

    seq: int
    ingested_us: int
    types: dict[str, Rows]
    rows: tuple[bytes, ...] = ()


EMPTY: Final = EntityState(0, NEVER, {})
_NO_ROWS: Final = Rows(memoryview(b""), memoryview(b""), {}, {}, {})
_DECODER = msgspec.msgpack.Decoder(dict[str, Rows])
_ENCODER = msgspec.msgpack.Encoder()
_decode_list = msgspec.msgpack.Decoder(list[int | str | bool | float | None]).decode
_decode_ids = msgspec.msgpack.Decoder(list[str]).decode


def head(content: bytes) -> tuple[int, int, int, int]:
    """Number of rows, length of head and rows, `seq` and newest ingestion, without a look at the events.

    Raises:
        DataRefused: head or rows are damaged or of another format.
    """
    try:
        checksum, version, count, length, _, seq, ingested_us = HEAD.unpack_from(content)
    except struct.error as error:
        raise damaged() from error
    if zlib.crc32(memoryview(content)[_CHECKSUM:length]) != checksum or length < HEAD.size:
        raise damaged()
    if version != STATE_FORMAT:
        raise DataRefused("feature state", [f"it has format {version}; expected {STATE_FORMAT}. Rebuild it from the tables"])
    return count, length, seq, ingested_us


def decode(content: bytes | None) -> EntityState:
    """The events of the state that `encode` wrote, as views of its bytes; an empty one for an unknown entity. Its rows are not decoded.

    Raises:
        DataRefused: the bytes are damaged or of another format.
    """
    if content is None:
        return EMPTY
    _, length, seq, ingested_us = head(content)
    return EntityState(seq, ingested_us, events(content, length))


def events(content: bytes, length: int) -> dict[str, Rows]:
    """The kept events of a state whose head and rows are `length` bytes long and were checked, by type.

    Raises:
        DataRefused: the events' bytes are damaged or of another format.
    """
    body = memoryview(content)[length + _CHECKSUM :]
    if zlib.crc32(body).to_bytes(_CHECKSUM, "little") != content[length : length + _CHECKSUM]:
        raise damaged()
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise DataRefused("feature state", [f"it is of another format: {error}"]) from error


def encode(state: EntityState) -> bytes:
    """The state as bytes."""
    rows = b"".join(state.rows)
    length = HEAD.size + len(rows)
    packed = HEAD.pack(0, STATE_FORMAT, len(state.rows), length, 0, state.seq, state.ingested_us)
    checksum = zlib.crc32(rows, zlib.crc32(packed[_CHECKSUM:]))
    body = _ENCODER.encode(state.types)
    return b"".join((checksum.to_bytes(4, "little"), packed[_CHECKSUM:], rows, zlib.crc32(body).to_bytes(4, "little"), body))


def with_seq(content: bytes, seq: int) -> bytes:
    """The same state with another `seq`."""
    count, length, _, ingested_us = head(content)
    packed = HEAD.pack(0, STATE_FORMAT, count, length, 0, seq, ingested_us)
    checksum = zlib.crc32(content[HEAD.size : length], zlib.crc32(packed[_CHECKSUM:]))
    return b"".join((checksum.to_bytes(_CHECKSUM, "little"), packed[_CHECKSUM:], content[HEAD.size :]))


def damaged() -> DataRefused:
    """The error of a state whose bytes are not those that were written."""
    return DataRefused("feature state", ["its bytes are damaged: the checksum differs"])


def insert(state: EntityState, event: Event, fields: Mapping[str, FieldType], retention_us: int, grace_us: int) -> EntityState:
    """The state with one more event and the next `seq`, without rows, and now and then without what no later moment can need.

    Kept are the events of the type that a window of `retention_us` covers at any moment from `grace_us` before the newest ingestion on, and
    the latest before, which is an attribute's value until the next.

    Args:
        state: before; it stays as it is.
        event: its `seq` is not looked at.
        fields: the type's declared fields.
        retention_us: of the type.
        grace_us: see above.
    """
    rows = state.types.get(event.type, _NO_ROWS)
    times = rows.event_times()
    count = len(times)
    if not count or event.event_time > times[count - 1]:
        at = count
        ids = b"".join((rows.ids, _ENCODER.encode(event.event_id)))
    else:
        names = rows.event_ids()
        at = bisect_left(times, event.event_time)
        while at < count and times[at] == event.event_time and names[at] < event.event_id:
            at += 1
        names.insert(at, event.event_id)
        ids = b"".join(map(_ENCODER.encode, names))
    numbers: dict[str, memoryview] = {}
    texts: dict[str, Texts] = {}
    others: dict[str, memoryview] = {}
    known = (*rows.numbers, *rows.texts, *rows.others)
    for field in fields if all(map(fields.__contains__, known)) else dict.fromkeys((*fields, *known)):
        value = event.fields.get(field) if field in fields else None
        packed = rows.numbers.get(field)
        if isinstance(value, int) and (packed is not None or not count):
            numbers[field] = _spliced(packed or b"", at * 8, value.to_bytes(8, "little", signed=True))
        elif (text := _text_column(rows, field, fields.get(field), count)) is not None and (code := _code(text, value)) is not None:
            words, number = code
            texts[field] = Texts(words, _spliced(text.codes, at, bytes((number,))))
        else:
            values = list(rows.column(field) or [None] * count)
            values.insert(at, value)
            others[field] = memoryview(_ENCODER.encode(values))
    moment = _spliced(rows.times, at * 8, event.event_time.to_bytes(8, "little", signed=True))
    ingested_us = max(state.ingested_us, event.ingested_time)
    kept = _pruned(Rows(moment, memoryview(ids), numbers, texts, others), retention_us, ingested_us - grace_us, _SLACK)
    return EntityState(state.seq + 1, ingested_us, {**state.types, event.type: kept})


def prune(state: EntityState, retention_us: Mapping[str, int], settled_us: int) -> EntityState:
    """The state without rows, and without any event that no moment ≥ `settled_us` can need; of types not named the latest."""
    return EntityState(
        state.seq,
        state.ingested_us,
        {name: _pruned(rows, retention_us.get(name, 0), settled_us, 0) for name, rows in state.types.items()},
    )


def build(events: Iterable[Event], fields: Mapping[str, Mapping[str, FieldType]]) -> EntityState:
    """The state of all given events, which are in the order of their `seq`; what `insert` one by one would come to without pruning."""
    seq, ingested_us = 0, NEVER
    by_type: dict[str, list[Event]] = {}
    for event in events:
        seq, ingested_us = max(seq, event.seq), max(ingested_us, event.ingested_time)
        if event.type in fields:
            by_type.setdefault(event.type, []).append(event)
    types = {}
    for name, found in by_type.items():
        found.sort(key=lambda event: (event.event_time, event.event_id))
        types[name] = _columns(
            array("q", [event.event_time for event in found]),
            [event.event_id for event in found],
            {field: [event.fields.get(field) for event in found] for field in fields[name]},
            fields[name],
        )
    return EntityState(seq, ingested_us, types)


def content(state: EntityState) -> dict[str, dict[str, list[FieldValue]]]:
    """What is kept, decoded: for each type its columns, `event_time` and `event_id` among them. Columns without any value are left out."""
    found: dict[str, dict[str, list[FieldValue]]] = {}
    for name, rows in sorted(state.types.items()):
        columns: dict[str, list[FieldValue]] = {"event_time": list(rows.event_times()), "event_id": list(rows.event_ids())}
        for field in sorted({*rows.numbers, *rows.texts, *rows.others}):
            values = [int(value) if isinstance(value, bool) else value for value in rows.column(field) or ()]
            if any(value is not None for value in values):
                columns[field] = values
        found[name] = columns
    return found


def times_of(rows: Rows, field: str, at_us: int) -> Mapping[str, list[int]]:
    """For each text of a field, the times of the kept events that have it, ascending, up to and with a moment."""
    times = rows.event_times()
    end = bisect_right(times, at_us)
    found: dict[str, list[int]] = {}
    text = rows.texts.get(field)
    if text is not None:
        # why: every decision that has limits asks this, of all decisions that are kept
        by_code: list[list[int]] = [[] for _ in range(len(text.words) + 1)]
        for code, time_us in zip(bytes(text.codes[:end]), times[:end].tolist(), strict=True):
            by_code[code].append(time_us)
        return {word: own for word, own in zip(text.words, by_code[1:], strict=True) if own}
    for position, value in enumerate((rows.column(field) or ())[:end]):
        if isinstance(value, str):
            found.setdefault(value, []).append(times[position])
    return found


def _pruned(rows: Rows, retention_us: int, settled_us: int, slack: int) -> Rows:
    times = rows.event_times()
    count = len(times)
    start_us = window_start(settled_us, retention_us)
    if not count or times[0] >= start_us:
        return rows
    latest = max(bisect_right(times, settled_us) - 1, 0)
    first = min(bisect_left(times, start_us), latest)
    # why: dropping costs as much as writing all anew, so it waits until an eighth may go
    if first <= (max(slack, count >> 3) if slack else 0):
        return rows
    kinds = dict.fromkeys(rows.numbers, FieldType.INT) | dict.fromkeys(rows.texts, FieldType.STR)
    columns: dict[str, list[FieldValue]] = {
        field: list((rows.column(field) or ())[first:]) for field in (*rows.numbers, *rows.texts, *rows.others)
    }
    return _columns(array("q", times[first:]), rows.event_ids()[first:], columns, kinds)


def _columns(times: "array[int]", ids: Sequence[str], columns: Mapping[str, Sequence[FieldValue]], kinds: Mapping[str, FieldType]) -> Rows:
    numbers: dict[str, memoryview] = {}
    texts: dict[str, Texts] = {}
    others: dict[str, memoryview] = {}
    for field, values in columns.items():
        whole = [value for value in values if isinstance(value, int)]
        if len(whole) == len(values):
            numbers[field] = memoryview(array("q", whole).tobytes())
            continue
        words = list(dict.fromkeys(value for value in values if isinstance(value, str)))
        if kinds.get(field) is FieldType.STR and len(words) <= _WORDS and all(value is None or isinstance(value, str) for value in values):
            places: dict[FieldValue, int] = {word: place for place, word in enumerate(words, start=1)} | {None: 0}
            texts[field] = Texts(words, memoryview(bytes([places[value] for value in values])))
        else:
            others[field] = memoryview(_ENCODER.encode(list(values)))
    return Rows(memoryview(times.tobytes()), memoryview(b"".join(map(_ENCODER.encode, ids))), numbers, texts, others)


def _text_column(rows: Rows, field: str, kind: FieldType | None, count: int) -> Texts | None:
    known = rows.texts.get(field)
    if known is None and kind is FieldType.STR and field not in rows.others:
        return Texts([], memoryview(bytes(count)))
    return known


def _code(text: Texts, value: FieldValue) -> tuple[list[str], int] | None:
    if value is None:
        return text.words, 0
    if not isinstance(value, str):
        return None
    if value in text.words:
        return text.words, text.words.index(value) + 1
    return ([*text.words, value], len(text.words) + 1) if len(text.words) < _WORDS else None


def _spliced(packed: memoryview | bytes, at: int, item: bytes) -> memoryview:
    return memoryview(b"".join((packed[:at], item, packed[at:])))


def _list_head(count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big")
