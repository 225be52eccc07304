"""Rows kept ready in an entity's state: the features of a set as of its last change, and until when a read is nothing but a look at them.

A row holds for each feature its value, the time of the newest event behind it and flags. Between two changes of an entity only ages, the
feature `seconds_since_last` and what is derived from it or from the request move: those are filled in at the read. Everything else stays as
it is until the oldest event of a window leaves it or a value gets too old, whichever comes first: `until`.

    row = key of the feature set, as of, until, number of features and of parts, length;
          until for each part, which is a window or a row of attributes; values; times; flags
"""

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import compress
from operator import and_
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contracts.clock import DAY_US
from contracts.events import INT64_MAX
from contracts.records import Event, FieldValue
from features.definitions import UNKNOWN_CATEGORY, FeatureRow
from features.plan import LONG, Condition, LatestPlan, Output, Pattern, Plan, WindowPlan, request_value
from features.state import HEAD, EntityState, Rows

ROW: Final = struct.Struct("<8sqqHHI")
MISSING, AGELESS, STALE, REPLACED = 1, 2, 4, 8
"""Flags of a feature: no value; no event behind it; older than it may be; its default stands in for it."""

_LONG: Final = struct.Struct("<q")
_UNTIL: Final = 16
_NEVER: Final = -INT64_MAX
_NOTHING: Final = MISSING | AGELESS
_PATTERNS: Final = 4_096
_FLOAT, _INT = np.dtype("<f8"), np.dtype("<i8")

Bytes: TypeAlias = bytes | memoryview
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


class _Draft:
    """A row while it is made."""

    __slots__ = ("at_us", "flags", "times", "until_us", "values")

    def __init__(self, at_us: int, values: list[float], times: list[int], flags: bytearray) -> None:
        self.at_us = at_us
        self.values = values
        self.times = times
        self.flags = flags
        self.until_us = INT64_MAX

    def put(self, output: Output, value: float, time_us: int) -> None:
        position = output.position
        self.times[position] = time_us
        if output.max_age_us is None:
            self.flags[position] = 0
            self.values[position] = value
        elif self.at_us - time_us <= output.max_age_us:
            self.flags[position] = 0
            self.values[position] = value
            self.until_us = min(self.until_us, time_us + output.max_age_us + 1)
        elif output.replaced:
            self.flags[position] = STALE | REPLACED
        else:
            self.flags[position] = STALE
            self.values[position] = value

    def put_value(self, output: Output, value: Any, time_us: int) -> None:
        self.put(output, output.codes.get(value, UNKNOWN_CATEGORY) if output.codes else float(value), time_us)


def make(plan: Plan, state: EntityState, at_us: int, before: Bytes | None = None, event: Event | None = None) -> bytes:
    """The row of an entity as of a moment.

    Args:
        plan: of the feature set.
        state: of the entity.
        at_us: the moment, after which no kept event lies if the row is to be used for later ones.
        before: its row as of an earlier moment, if there is one; only what the event and moved windows touch is made anew.
        event: all that came in since `before`.
    """
    count, parts = len(plan.names), plan.parts
    layout = _layout(count, parts)
    sources = plan.sources
    if before is None:
        draft = _Draft(at_us, list(plan.defaults), [0] * count, bytearray((_NOTHING,)) * count)
        untils = [INT64_MAX] * parts
    else:
        if event is not None and _LONG.unpack_from(before, _UNTIL)[0] > at_us:
            # why: no window has moved, and most events touch few features
            sources = [source for source in plan.by_type.get(event.type, ()) if source.passes(event)]
            if not sources:
                return bytes(before)
        found = layout.unpack(before)
        values = 6 + parts
        untils = list(found[6:values])
        draft = _Draft(at_us, list(found[values : values + count]), list(found[values + count : values + 2 * count]), bytearray(found[-1]))
    touched: set[int] = set()
    columns: dict[str, _Columns] = {}
    for source in sources:
        windows, latest = source.windows, source.latest
        if before is not None:
            if event is None or not source.passes(event):
                windows = [window for window in windows if untils[window.number] <= at_us]
                latest = latest if latest is not None and untils[latest.number] <= at_us else None
            for part in windows if latest is None else (latest,):
                touched.add(part.number)
                untils[part.number] = INT64_MAX
                for position in part.positions:
                    draft.values[position], draft.times[position], draft.flags[position] = plan.defaults[position], 0, _NOTHING
        rows = state.types.get(source.type)
        if rows is not None and (windows or latest is not None):
            own = columns.get(source.type) or columns.setdefault(source.type, _Columns(rows))
            if latest is not None:
                untils[latest.number] = _read_latest(draft, latest, own)
            if windows:
                _read_windows(draft, source.conditions, windows, own, untils)
    for derived in plan.settled:
        if before is None or not touched.isdisjoint(derived.parts):
            position = derived.position
            value = derived.function(draft.values)
            known = [draft.times[place] for place in derived.inputs if not draft.flags[place] & AGELESS]
            finite = math.isfinite(value)
            draft.values[position] = value + 0.0 if finite else plan.defaults[position]
            draft.times[position] = min(known, default=0)
            draft.flags[position] = (0 if finite else MISSING) | (0 if known else AGELESS)
    until_us = min(untils, default=INT64_MAX)
    return layout.pack(plan.key, at_us, until_us, count, parts, layout.size, *untils, *draft.values, *draft.times, bytes(draft.flags))


def expire(plan: Plan, row: Bytes, event: Event) -> bytes:
    """A row behind which an event came in: whatever the event can change holds no longer, and is made anew by whoever reads it next."""
    touched = [source for source in plan.sources if source.passes(event)]
    if not touched:
        return bytes(row)
    changed = bytearray(row)
    _LONG.pack_into(changed, _UNTIL, _NEVER)
    for source in touched:
        for number in source.numbers:
            _LONG.pack_into(changed, ROW.size + 8 * number, _NEVER)
    return bytes(changed)


def split(content: bytes) -> dict[bytes, memoryview]:
    """The rows of a state, whose head was checked, by the key of their feature set."""
    rows = {}
    start = HEAD.size
    for _ in range(HEAD.unpack_from(content)[2]):
        key, *_, length = ROW.unpack_from(content, start)
        rows[key] = memoryview(content)[start : start + length]
        start += length
    return rows


def finish(plan: Plan, content: bytes, start: int, at_us: int, context: Mapping[str, FieldValue], seq: int) -> FeatureRow:
    """The features at a moment for which the row that stands at byte `start` holds."""
    count = len(plan.names)
    start += ROW.size + 8 * plan.parts
    middle, end = start + 8 * count, start + 16 * count
    # why: of the ways to say this, the two that NumPy is fastest with
    values: Floats = np.ndarray((count,), _FLOAT, content, start)
    ages: Integers = np.array(at_us) - np.ndarray((count,), _INT, content, middle)
    flags = content[end : end + count]
    pattern = plan.patterns.get(flags) or _pattern(plan, flags)
    if pattern.ageless is not None:
        ages[pattern.ageless] = -1
    if pattern.recencies:
        values = values.copy()
        for position in pattern.recencies:
            values[position] = ages.item(position) / 1e6
    if plan.requests or plan.live:
        values, ages, pattern = _live(plan, values, ages, flags, context)
    return FeatureRow(values, pattern.missing, ages, pattern.stale, seq)


def _pattern(plan: Plan, flags: bytes) -> Pattern:
    if len(plan.patterns) >= _PATTERNS:
        plan.patterns.clear()
    ageless = np.array([position for position, flag in enumerate(flags) if flag & AGELESS], dtype=np.intp)
    pattern = plan.patterns[flags] = Pattern(
        ageless if len(ageless) else None,
        [position for position in plan.recencies if not flags[position] & (MISSING | REPLACED)],
        tuple(name for name, flag in zip(plan.names, flags, strict=True) if flag & MISSING),
        tuple(name for name, flag in zip(plan.names, flags, strict=True) if flag & STALE),
    )
    return pattern


def _live(plan: Plan, values: Floats, ages: Integers, flags: bytes, context: Mapping[str, FieldValue]) -> tuple[Floats, Integers, Pattern]:
    row, aged, marks = values.tolist(), ages.tolist(), bytearray(flags)
    for position, request in plan.requests:
        value = request_value(request, context.get(request.field))
        if value is not None:
            row[position], aged[position], marks[position] = value, 0, 0
    for derived in plan.live:
        position = derived.position
        value = derived.function(row)
        aged[position] = max([aged[place] for place in derived.inputs], default=-1)
        if math.isfinite(value):
            row[position] = value + 0.0
            marks[position] = AGELESS
    final = bytes(marks)
    return np.array(row), np.array(aged), plan.patterns.get(final) or _pattern(plan, final)


class _Columns:
    """The columns of a type as they are read; `complete` ones have no absent value. Short ones are lists, which Python is faster with."""

    __slots__ = ("_found", "rows", "times")

    def __init__(self, rows: Rows) -> None:
        times = rows.event_times()
        self.rows = rows
        self.times: Sequence[int] = times.tolist() if len(times) < LONG else times
        self._found: dict[str, tuple[Any, bool]] = {}

    def of(self, field: str) -> tuple[Any, bool]:
        """The values of a field in order, or None, and whether they are complete."""
        found = self._found.get(field)
        if found is None:
            column = self.rows.column(field)
            complete = isinstance(column, memoryview)
            if isinstance(column, memoryview) and len(column) < LONG:
                column = column.tolist()
            found = self._found[field] = (column, complete)
        return found


def _read_latest(draft: _Draft, part: LatestPlan, columns: _Columns) -> int:
    times, at_us = columns.times, draft.at_us
    latest = bisect_right(times, at_us) - 1
    draft.until_us = times[latest + 1] if latest + 1 < len(times) else INT64_MAX
    if latest >= 0:
        for output in part.outputs:
            column, _ = columns.of(output.field)
            if column is not None and (value := column[latest]) is not None:
                draft.put_value(output, value, times[latest])
    return draft.until_us


def _read_windows(
    draft: _Draft, conditions: Sequence[Condition], windows: Sequence[WindowPlan], columns: _Columns, untils: list[int]
) -> None:
    times, at_us = columns.times, draft.at_us
    end = bisect_left(times, at_us)
    next_us = times[end] + 1 if end < len(times) else INT64_MAX
    chosen: Sequence[int] | None = None
    if conditions and end:
        longest_us = max([window.window_us for window in windows])
        chosen = _chosen(conditions, columns, bisect_left(times, at_us - longest_us - DAY_US), end)
        end = chosen[-1] + 1 if chosen else 0
    for window in windows:
        hop_us = window.hop_us
        start = bisect_left(times, (at_us - window.window_us) // hop_us * hop_us, 0, end)
        draft.until_us = next_us
        if start < end:
            place = 0 if chosen is None else bisect_left(chosen, start)
            oldest = times[start if chosen is None else chosen[place]]
            draft.until_us = min(next_us, (oldest // hop_us + 1) * hop_us + window.window_us)
            _read_window(draft, window, columns, chosen, start, place, end)
        untils[window.number] = draft.until_us


def _read_window(
    draft: _Draft, window: WindowPlan, columns: _Columns, chosen: Sequence[int] | None, start: int, place: int, end: int
) -> None:
    times = columns.times
    newest = times[end - 1]
    for output in window.counts:
        draft.put(output, float(end - start if chosen is None else len(chosen) - place), newest)
    for output in window.recencies:
        draft.put(output, 0.0, newest)
    for field, outputs in window.values.items():
        column, complete = columns.of(field)
        if column is None:
            continue
        found: Any = column[start:end] if chosen is None else _picked(column, chosen[place:])
        time_us = newest
        if not complete:
            present = [index for index, value in enumerate(found) if value is not None]
            if not present:
                continue
            time_us = times[start + present[-1] if chosen is None else chosen[place + present[-1]]]
            if len(present) < len(found):
                found = [found[index] for index in present]
        for output, reduce in outputs:
            draft.put_value(output, reduce(found), time_us)


def _chosen(conditions: Sequence[Condition], columns: _Columns, first: int, end: int) -> Sequence[int]:
    """Places of the events that pass all conditions, ascending."""
    mask: Sequence[int] | None = None
    for condition in conditions:
        texts = columns.rows.texts.get(condition.field)
        if texts is not None:
            passing = bytes([False, *map(condition.test, texts.words)]).ljust(256, b"\0")
            passed: Sequence[int] = bytes(texts.codes[first:end]).translate(passing)
        else:
            column, _ = columns.of(condition.field)
            if column is None:
                return ()
            found = column[first:end]
            passed = condition.passing(np.asarray(found)).tobytes() if isinstance(found, memoryview) else bytes(map(condition.test, found))
        mask = passed if mask is None else bytes(map(and_, mask, passed))
    return list(compress(range(first, end), mask or b""))


def _picked(column: Any, chosen: Sequence[int]) -> Any:
    if isinstance(column, memoryview) and len(chosen) >= LONG:
        return np.asarray(column)[np.array(chosen)]
    return [column[index] for index in chosen]


@cache
def _layout(count: int, parts: int) -> struct.Struct:
    return struct.Struct(f"<8sqqHHI{parts}q{count}d{count}q{count}s{-count % 8}x")
