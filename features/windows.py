"""Windows over events in memory: the one kernel by which DuckDB's and Spark's jobs compute features, with NumPy.

Events of one type lie in order of `(entity, event_time, event_id)`. A window is then a range of events, found by bisection; counts and
sums are differences of prefix sums, so a row costs the same however many events it covers.

A row that some event of its past was hidden from, since it came late, is disturbed: the events it did see are laid out for it alone, as if
it were an entity of its own, and computed in the same way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from contracts.events import INT64_MAX
from features.definitions import UNKNOWN_CATEGORY, Aggregate, Attribute, Where, hop_us

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

_UNFOLDED = 4_000_000
"""Events laid out for disturbed rows at once."""

_HIDDEN_BITS = 62


@dataclass(frozen=True, slots=True)
class Field:
    """Values of one field of events.

    Attributes:
        values: (n,) numbers, truth values as 0 and 1, texts as positions in `texts`; 0 where absent.
        present: (n,) where there is a value; none when all are there.
        texts: each text once; none for numbers and truth values.
    """

    values: Ints
    present: Mask | None = None
    texts: Sequence[str] | None = None

    def take(self, at: Ints) -> "Field":
        """The values at some positions."""
        return Field(self.values[at], None if self.present is None else self.present[at], self.texts)


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one type, ordered by `(entity, time, event_id)`; all columns (n,), entities as codes from 0.

    Attributes:
        ingested: none if no row is judged by it, as for `seq`.
    """

    entity: Ints
    time: Ints
    fields: Mapping[str, Field]
    ingested: Ints | None = None
    seq: Ints | None = None

    def take(self, at: Ints) -> "Events":
        """The events at some positions."""
        fields = {name: field.take(at) for name, field in self.fields.items()}
        ingested, seq = (None if stamps is None else stamps[at] for stamps in (self.ingested, self.seq))
        return Events(self.entity[at], self.time[at], fields, ingested, seq)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to compute; all columns (m,).

    Attributes:
        seen: the newest `seq` that was seen; −1 where what was ingested by the moment was.
        order: positions in order of `(entity, moment)`, in which looking things up is quick.
    """

    entity: Ints
    moment: Ints
    seen: Ints
    order: Ints

    @classmethod
    def build(cls, entity: Ints, moment: Ints, seen: Ints) -> "Rows":
        """Rows, with their order found."""
        return cls(entity, moment, seen, ordered(entity, moment))

    def take(self, at: Ints) -> "Rows":
        """The rows at some positions."""
        return Rows.build(self.entity[at], self.moment[at], self.seen[at])


@dataclass(frozen=True, slots=True)
class Values:
    """A feature of all rows.

    Attributes:
        numbers: (m,) meaningless where there is no value.
        present: (m,) whether there is one.
        newest: (m,) time of the newest event or row used.
    """

    numbers: Floats
    present: Mask
    newest: Ints

    @classmethod
    def blank(cls, rows: int) -> "Values":
        """No value in any row."""
        return cls(np.zeros(rows), np.zeros(rows, bool), np.zeros(rows, np.int64))


def ordered(entity: Ints, time: Ints) -> Ints:
    """Positions in order of `(entity, time)`; equal pairs in any order."""
    order: Ints = np.argsort(_Keys(entity, time).keys)
    return order


def evaluate(events: Events, rows: Rows, features: Sequence[Aggregate | Attribute]) -> dict[str, Values]:
    """Features that read one type of events, for all rows, each from what it had seen.

    Args:
        events: of the type.
        rows: entities' codes are those of the events.
        features: all of that one source.
    """
    past = _Past(events)
    disturbed = _disturbed(past, rows, features)
    if not disturbed.any():
        return _evaluate(past, rows, features)
    found = _evaluate(past, rows.take(np.flatnonzero(~disturbed)), features)
    whole = {name: Values.blank(len(disturbed)) for name in found}
    put(whole, np.flatnonzero(~disturbed), found)
    for at in _chunks(past, rows, np.flatnonzero(disturbed), features):
        own, alone = _unfold(past, rows.take(at), features)
        put(whole, at, _evaluate(_Past(own), alone, features))
    return whole


def put(whole: Mapping[str, Values], at: Ints, part: Mapping[str, Values]) -> None:
    """Put the features of some rows, by their positions, into those of all."""
    for name, values in part.items():
        whole[name].numbers[at] = values.numbers
        whole[name].present[at] = values.present
        whole[name].newest[at] = values.newest


class _Keys:
    """Pairs of entity and number as one integer that orders like them."""

    def __init__(self, entity: Ints, numbers: Ints) -> None:
        self._lowest = int(numbers.min()) if len(numbers) else 0
        self._span = (int(numbers.max()) - self._lowest + 1) if len(numbers) else 1
        self._bits = self._span.bit_length()
        self._ranks: Ints | None = None
        if self._bits + int(entity.max(initial=0)).bit_length() > _HIDDEN_BITS:
            self._ranks = np.unique(numbers)
            self._bits = len(self._ranks).bit_length()
        self.keys = self.pack(entity, numbers)

    def pack(self, entity: Ints, numbers: Ints) -> Ints:
        """The keys of pairs; numbers outside of those known count as just outside."""
        if self._ranks is not None:
            inner = np.searchsorted(self._ranks, numbers)
        else:
            inner = np.clip(numbers, self._lowest, self._lowest + self._span) - self._lowest
        keys: Ints = (entity.astype(np.int64) << self._bits) + inner
        return keys


class _Past:
    """Events made ready to find what lies before a moment."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self._times = _Keys(events.entity, events.time)

    def before(self, rows: Rows, moment: Ints) -> Ints:
        """For each row, the position behind its entity's last event with a time below a moment."""
        found = np.empty(len(moment), np.int64)
        found[rows.order] = np.searchsorted(self._times.keys, self._times.pack(rows.entity[rows.order], moment[rows.order]))
        return found

    def first(self, rows: Rows) -> Ints:
        """For each row, the position of its entity's first event."""
        return self.before(rows, np.full(len(rows.moment), np.iinfo(np.int64).min))


class _Chosen:
    """The events that pass a filter and have a value of a field; ranges of all events become ranges of these."""

    def __init__(self, past: _Past, where: Sequence[Where], name: str | None) -> None:
        events = past.events
        self._events = events
        self._field = None if name is None else events.fields[name]
        mask = None if self._field is None else self._field.present
        for condition in where:
            passes = _passes(events.fields[condition.field], condition)
            mask = passes if mask is None else mask & passes
        self._mask = None if mask is None or mask.all() else mask

    def narrow(self, ends: Ints) -> Ints:
        """How many of the chosen lie before each position of all events."""
        return ends if self._mask is None else self._counts[ends]

    @cached_property
    def _counts(self) -> Ints:
        return _prefix(np.asarray(self._mask, dtype=np.int64))

    @cached_property
    def times(self) -> Ints:
        """Their times."""
        return self._events.time if self._mask is None else self._events.time[self._mask]

    @cached_property
    def values(self) -> Ints:
        """Their values of the field."""
        assert self._field is not None
        return self._field.values if self._mask is None else self._field.values[self._mask]

    @cached_property
    def texts(self) -> Sequence[str] | None:
        """What the values stand for, if for texts."""
        return None if self._field is None else self._field.texts

    @cached_property
    def _halves(self) -> tuple[Ints, Ints] | None:
        """Prefix sums of the upper and the lower halves of the values, where whole sums might not fit 64 bits."""
        largest = max(int(self.values.max()), -int(self.values.min())) if len(self.values) else 0
        return None if largest * len(self.values) <= INT64_MAX else (_prefix(self.values >> 32), _prefix(self.values & 0xFFFFFFFF))

    @cached_property
    def _sums(self) -> Ints:
        return _prefix(self.values)

    def total(self, start: Ints, end: Ints) -> Ints:
        """Exact sums of ranges, saturating at ±(2⁶³ − 1)."""
        if self._halves is None:
            return self._sums[end] - self._sums[start]
        upper, lower = (sums[end] - sums[start] for sums in self._halves)
        upper, lower = upper + (lower >> 32), lower & 0xFFFFFFFF
        whole = (np.clip(upper, -(2**31), 2**31 - 1) << 32) + lower
        whole = np.where(upper > 2**31 - 1, INT64_MAX, np.where(upper < -(2**31), -INT64_MAX, whole))
        return np.maximum(whole, -INT64_MAX)

    @cached_property
    def _previous(self) -> Ints:
        """For each value the position of the one before it that is equal, of whatever entity; −1 for the first."""
        order = np.argsort(self.values, kind="stable")
        ordered = self.values[order]
        previous = np.full(len(order), -1, np.int64)
        previous[order[1:]] = np.where(ordered[1:] == ordered[:-1], order[:-1], -1)
        return previous

    def distinct(self, start: Ints, end: Ints) -> Ints:
        """How many different values ranges hold: those that have no equal one before them in the range."""
        found = np.zeros(len(start), np.int64)
        for at in _batches(end - start):
            positions, owner = _spread(start[at], end[at])
            found[at] = np.bincount(owner, self._previous[positions] < start[at][owner], minlength=len(at)).astype(np.int64)
        return found


def _evaluate(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> dict[str, Values]:
    chosen: dict[tuple[tuple[Where, ...], str | None], _Chosen] = {}
    starts: dict[int, Ints] = {}
    end = past.before(rows, rows.moment)
    found = {}
    for feature in features:
        if isinstance(feature, Attribute):
            found[feature.name] = _latest(past, rows, feature)
            continue
        if feature.window_us not in starts:
            starts[feature.window_us] = past.before(rows, _window_starts(rows.moment, feature.window_us))
        key = (feature.where, feature.field)
        if key not in chosen:
            chosen[key] = _Chosen(past, *key)
        found[feature.name] = _aggregate(chosen[key], feature, rows.moment, starts[feature.window_us], end)
    return found


def _window_starts(moment: Ints, window_us: int) -> Ints:
    hop = hop_us(window_us)
    starts: Ints = (moment - window_us) // hop * hop
    return starts


def _latest(past: _Past, rows: Rows, feature: Attribute) -> Values:
    field = past.events.fields[feature.field]
    first, end = past.first(rows), past.before(rows, rows.moment + 1)
    there = np.flatnonzero(end > first)
    at = end[there] - 1
    found = Values.blank(len(end))
    found.numbers[there] = _coded(field.values[at], field.texts, feature.categories)
    found.present[there] = True if field.present is None else field.present[at]
    found.newest[there] = past.events.time[at]
    return found


def _aggregate(chosen: _Chosen, feature: Aggregate, moment: Ints, start: Ints, end: Ints) -> Values:
    first, last = chosen.narrow(start), chosen.narrow(end)
    count = last - first
    present = count > 0
    at = slice(None) if present.all() else np.flatnonzero(present)
    first, last, count = first[at], last[at], count[at]
    newest = chosen.times[last - 1]
    numbers = _number(chosen, feature, moment[at], first, last, count, newest)
    if isinstance(at, slice):
        return Values(numbers, present, newest)
    whole = Values(np.zeros(len(present)), present, np.zeros(len(present), np.int64))
    whole.numbers[at], whole.newest[at] = numbers, newest
    return whole


def _number(chosen: _Chosen, feature: Aggregate, moment: Ints, first: Ints, last: Ints, count: Ints, newest: Ints) -> Floats:
    match feature.aggregate:
        case "count":
            return count.astype(np.float64)
        case "sum":
            return chosen.total(first, last).astype(np.float64)
        case "mean":
            return chosen.total(first, last).astype(np.float64) / count.astype(np.float64)
        case "min":
            return _extreme(chosen.values, first, last, np.minimum).astype(np.float64)
        case "max":
            return _extreme(chosen.values, first, last, np.maximum).astype(np.float64)
        case "first":
            return _coded(chosen.values[first], chosen.texts, feature.categories)
        case "last":
            return _coded(chosen.values[last - 1], chosen.texts, feature.categories)
        case "distinct":
            return chosen.distinct(first, last).astype(np.float64)
        case "seconds_since_last":
            return (moment - newest).astype(np.float64) / 1e6


def _extreme(values: Ints, first: Ints, last: Ints, pick: "np.ufunc") -> Ints:
    """Least or greatest of each range, which two overlapping stretches of the same power of two cover."""
    found = np.zeros(len(first), np.int64)
    level = np.frexp((last - first).astype(np.float64))[1] - 1
    stretch = values
    for power in range(int(level.max(initial=-1)) + 1):
        at = np.flatnonzero(level == power)
        found[at] = pick(stretch[first[at]], stretch[last[at] - (1 << power)])
        stretch = pick(stretch[: -(1 << power)], stretch[1 << power :])
    return found


def _coded(values: Ints, texts: Sequence[str] | None, categories: Sequence[str]) -> Floats:
    if texts is None:
        return values.astype(np.float64)
    code = {category: float(number) for number, category in enumerate(categories)}
    # why: a place of its own for the position of absent values, where there are no texts at all
    return np.array([code.get(text, UNKNOWN_CATEGORY) for text in texts] or [UNKNOWN_CATEGORY])[values]


_COMPARE: Mapping[str, Callable[[Ints, int], Mask]] = {
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
    "!=": np.not_equal,
    ">=": np.greater_equal,
    ">": np.greater,
}


def _passes(field: Field, condition: Where) -> Mask:
    given = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if field.texts is None:
        wanted = [int(value) for value in given]
    else:
        place = {text: number for number, text in enumerate(field.texts)}
        wanted = [place.get(str(value), -1) for value in given]
    if isinstance(condition.value, tuple):
        passes: Mask = np.isin(field.values, np.array(wanted, np.int64), invert=condition.op == "not in")
    else:
        passes = _COMPARE[condition.op](field.values, wanted[0])
    return passes if field.present is None else passes & field.present


def _prefix(values: Ints) -> Ints:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _disturbed(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> Mask:
    """Which rows was some event of their entity's past hidden from."""
    hidden = np.zeros(len(rows.moment), bool)
    end = _end(past, rows, features)
    for stamps, rows_of, limit in _judged(past.events, rows):
        if stamps is past.events.ingested and not (stamps > past.events.time).any():
            continue
        keys = _Keys(past.events.entity, stamps)
        newest = np.maximum.accumulate(keys.keys)
        at = np.flatnonzero(rows_of & (end > 0))
        hidden[at] = newest[end[at] - 1] >= keys.pack(rows.entity[at], limit[at] + 1)
    return hidden


def _unfold(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> tuple[Events, Rows]:
    """The events that each row saw, and the rows as entities of their own."""
    positions, owner = _spread(_start(past, rows, features), _end(past, rows, features))
    visible = np.zeros(len(owner), bool)
    for stamps, rows_of, limit in _judged(past.events, rows):
        mine = np.flatnonzero(rows_of[owner])
        visible[mine] = stamps[positions[mine]] <= limit[owner[mine]]
    events = past.events.take(positions[visible])
    alone = Events(owner[visible], events.time, events.fields, events.ingested, events.seq)
    own = np.arange(len(rows.moment))
    return alone, Rows(own, rows.moment, rows.seen, own)


def _judged(events: Events, rows: Rows) -> Iterator[tuple[Ints, Mask, Ints]]:
    """The stamps by which rows see events: the stamps, which rows, and the greatest stamp that each sees."""
    for stamps, rows_of, limit in ((events.ingested, rows.seen < 0, rows.moment), (events.seq, rows.seen >= 0, rows.seen)):
        if rows_of.any():
            assert stamps is not None
            yield stamps, rows_of, limit


def _start(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> Ints:
    """Position of the first event that any of the features may look at, for each row."""
    if _reads_latest(features):
        return past.first(rows)
    windows = {feature.window_us for feature in features if isinstance(feature, Aggregate)}
    return past.before(rows, np.min([_window_starts(rows.moment, window_us) for window_us in windows], axis=0))


def _end(past: _Past, rows: Rows, features: Sequence[Aggregate | Attribute]) -> Ints:
    """Position behind the last event that any of the features may look at, for each row."""
    return past.before(rows, rows.moment + 1 if _reads_latest(features) else rows.moment)


def _reads_latest(features: Sequence[Aggregate | Attribute]) -> bool:
    return any(isinstance(feature, Attribute) for feature in features)


def _chunks(past: _Past, rows: Rows, at: Ints, features: Sequence[Aggregate | Attribute]) -> Iterator[Ints]:
    asked = rows.take(at)
    for batch in _batches(_end(past, asked, features) - _start(past, asked, features)):
        yield at[batch]


def _batches(lengths: Ints) -> Iterator[Ints]:
    """Positions in order, in groups whose lengths together stay bounded."""
    if len(lengths):
        group = np.cumsum(lengths) // _UNFOLDED
        yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(group)) + 1)


def _spread(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """All positions of ranges one after the other, and which range each is of."""
    lengths = end - start
    owner = np.repeat(np.arange(len(start)), lengths)
    return np.arange(len(owner)) - np.repeat(_prefix(lengths)[:-1] - start, lengths), owner
